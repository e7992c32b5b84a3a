"""A first surface where nothing says what the object is: dense stereo in a box.

For each view `sources` chooses others to compare it with; `sweep` moves planes through the box and
scores each pixel on each plane by ZNCC; `aggregation` makes one depth map of it (semi-global
matching); `consistency` keeps depths that other views confirm; `fusion` merges them into a lattice;
`start` is all of that. `depth_steps` refines it where photographs agree, in the steps of
`schedule`. It imports `photo`, `stereo`, `optimize` and `sdfrender`; fits, results and
`segmentation` import it.
"""
