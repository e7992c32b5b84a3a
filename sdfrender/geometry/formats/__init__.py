"""Mesh formats to vertices and polygons: one module a format, and how polygons become triangles.

Each reader takes the bytes of a file and gives `Polygons`, in the file's frame and units. What is
wrong raises `ValueError` with the rule and the value, which `load_mesh` turns into an `InputError`
with the file's name. What a file has beyond its triangles is told through `Polygons.notes`.
"""
