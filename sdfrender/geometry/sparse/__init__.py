"""Lattices that are kept near their surface only.

`blocked` has an array in blocks and how kernels read and write it, `blocks` makes such arrays,
`lattice` is the `SparseLattice` made of one. Kernels are those of dense lattices: they read either
by `blocked.read`.
"""
