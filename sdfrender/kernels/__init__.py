"""Compiled formulas of one cell, one ray, one hit, and what all kernels share.

`cell_root` finds the hit in a cell, `ray_walk` the dips of a ray, `surface_point` a hit's normal;
`reattach` moves it with the lattice, `coverage` says how much of a pixel it covers, `adjoint` has
the derivatives of all of it. It imports numba and numpy only; every engine, and
every compiled kernel elsewhere, may import it.
"""
