"""Where the object is: masks that are given, from a background, from a matte, from other views.

It imports `scenes.frames` and `sdfrender.hull`; only `scenes` imports it.
"""
