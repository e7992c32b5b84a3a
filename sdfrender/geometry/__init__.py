"""The lattice of signed distances: its samples, its interpolant, what is computed on it.

Positions are world units, `values[i, j, k]` is the sample at `bounds[0] + (i, j, k) * spacing`.
`sparse` has lattices that are kept near their surface only. Nothing here knows a camera or an
image. It imports `sdfrender.files`, for meshes on disk, and single kernels of `sdfrender.kernels`;
every other room may import it.
"""
