"""A lattice in bricks: only the blocks of cells near the surface are kept, each with a margin.

A *brick* is a block of 8³ cells with one more vertex on every side: 11³ values, so that all that is
read for a cell, 4×4×4 values, lies in one brick. What bricks have in common each of them holds. At
a face of the lattice's box the margin continues the outermost two vertices linearly, so that a
central difference there is the one-sided one; its edges and corners are never read.

Kernels name a cell by the *flat index* `(i + 1)·sx + (j + 1)·sy + k + 1` of its first vertex, with
`sx` and `sy` those of the grid. Where its values are says `stored`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import int64, uint64
from numba.extending import overload

from sdfrender.kernels.arrays import Doubles, Floats, Ints
from sdfrender.kernels.compiled import EXACT, inlined
from sdfrender.kernels.trilinear_cell import Corners, Grid, Index, corners, grid_of

BLOCK = 8  # cells along each side of a block
SIDE = BLOCK + 3  # vertices of its brick
VOLUME = SIDE**3
STEP_X, STEP_Y = SIDE * SIDE, SIDE  # from one x to the next in a brick, from one y to the next
FLAT_X, FLAT_Y = 1 << 32, 1 << 16  # the same for flat indices: a field of bits for each axis
LONGEST = FLAT_Y - 8  # samples that a lattice may have along an axis
# What stands for the bricks of all blocks that are not kept: far outside, or deep inside.
OUTSIDE, INSIDE = 0, 1
FAR = 1e30


class BrickGrid(NamedTuple):
    """Size and place of a lattice in bricks: the fields of `Grid`, and where the bricks are.

    Args:
        X: samples along x; Y and Z likewise.
        sx: `FLAT_X`; `sy` is `FLAT_Y`.
        lo: `(x, y, z)` world position of the first vertex.
        h: `(x, y, z)` spacing.
        ih: `1 / h`.
        h_min: the smallest spacing.
        table: `[BX, BY, BZ]` which brick each block is; `OUTSIDE` or `INSIDE` if it is not kept.
    """

    X: int
    Y: int
    Z: int
    sx: int
    sy: int
    lo: tuple[float, float, float]
    h: tuple[float, float, float]
    ih: tuple[float, float, float]
    h_min: float
    table: Ints


@inlined
def brick_grid_of(n: Doubles, table: Ints) -> Any:
    """The `BrickGrid` of the numbers of its `Grid` `[15]` and its table."""
    g = grid_of(n)
    return BrickGrid(g.X, g.Y, g.Z, g.sx, g.sy, g.lo, g.h, g.ih, g.h_min, table)


@inlined
def place_in_bricks(table: Ints, p: Index) -> Index:
    """Where the value of the first vertex of the cell `p`, a flat index, is among all bricks'."""
    i, j, k = (p >> 32) - 1, ((p >> 16) & 0xFFFF) - 1, (p & 0xFFFF) - 1
    brick = table[uint64(i >> 3), uint64(j >> 3), uint64(k >> 3)]
    inside = ((i & 7) + 1) * STEP_X + ((j & 7) + 1) * STEP_Y + (k & 7) + 1
    return int64(brick) * VOLUME + inside


def stored(grid: Grid | BrickGrid, p: Index) -> tuple[Index, int, int]:
    """Where the value of the first vertex of the cell `p` is, and the steps along x and y there.

    The step along z is 1. In a lattice with a margin a flat index is the place itself.
    """
    if isinstance(grid, BrickGrid):
        return place_in_bricks(grid.table, p), STEP_X, STEP_Y
    return p, grid.sx, grid.sy


@overload(stored, jit_options={"fastmath": EXACT, "forceinline": True, "error_model": "numpy"})
def _stored(grid: Any, p: Any) -> Any:
    def in_bricks(grid: Any, p: Any) -> Any:
        return place_in_bricks(grid.table, p), STEP_X, STEP_Y

    def in_lattice(grid: Any, p: Any) -> Any:
        return p, grid.sx, grid.sy

    in_a_brick = getattr(grid, "instance_class", None) is BrickGrid
    return in_bricks if in_a_brick else in_lattice


@inlined
def cell_corners(v: Floats, grid: Grid, p: Index) -> Corners:
    """Values at the corners of the cell `p`, a flat index; `v` as `stored` has them."""
    q, sx, sy = stored(grid, p)
    return corners(v, q, sx, sy)
