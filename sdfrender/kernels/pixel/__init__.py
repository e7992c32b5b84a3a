"""All that one pixel shows, and the way back from it: what kernels of every target loop over.

`shade` composites the events of a ray, `pull` goes back from its colour, depth and normal to the
lattice, the light and the camera, `terms` writes down what it depends on. Imports `kernels` only.
"""
