"""Triangle meshes: out of lattices and fields (`mise`), refined, unwrapped, coloured, measured.

Meshes are `trimesh.Trimesh`, counter-clockwise from outside, in the frame of what they came from.
It imports `geometry`, `files` and the rasteriser of `rendering`.
"""
