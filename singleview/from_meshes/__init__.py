"""Data sets made from meshes: posed images, points inside and outside, signed distances.

The commands `render-dataset` and `sample-points`. It imports `data`, `pictures` and `augment`;
only the commands and `evaluate` import it.
"""
