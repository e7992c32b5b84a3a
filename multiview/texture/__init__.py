"""The photographs on the mesh, as an image or as colours of vertices.

It imports `scenes` and `sdfrender`; `results` imports it.
"""
