"""Trained networks at work: from a picture, a cloud, a grid, a depth image to a shape.

It imports `data`, `models`, `measures`, `pictures`, `training`, and of `from_meshes` the points
around a mesh; `evaluate`, `report` and the commands import it.
"""
