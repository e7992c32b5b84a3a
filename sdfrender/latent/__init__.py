"""Families of shapes in a network's latent space: the field of a code, and the code of a shape.

It imports `geometry` and `meshes`.
"""
