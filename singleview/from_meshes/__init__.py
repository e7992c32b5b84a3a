"""Data sets made from meshes: posed images, points inside and outside, signed distances.

The commands `render-dataset` and `sample-points`. It imports `data`, `pictures` and `augment`; the
commands import it, `predict`, which finds the code of a mesh from points around it, and `evaluate`,
which looks for copies.
"""
