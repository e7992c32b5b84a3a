"""Which cells can a ray meet something in? Lists them with all that a view needs of each.

A list is made once per lattice and serves all views. Cells whose smallest corner is ≤ 0 and whose
largest is > 0 hold surface; cells with `0 < low < reach` are near enough to graze.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdfrender.kernels.arrays import Doubles, Floats, Ints, Singles
from sdfrender.kernels.compiled import kernel, lane_kernel, scalar
from sdfrender.kernels.padding import pad, slabs
from sdfrender.kernels.ray_walk import BLOCK
from sdfrender.kernels.threads import run_all
from sdfrender.kernels.trilinear_cell import Corners, Grid, corners, grid_of, numbers

# Columns of a cell's record, float32.
CELL = 0  # 3: i, j, k
LOW = 3  # smallest corner
BOX = 4  # 6: the part of the cell, 0 … 1 per axis, that can hold φ = 0: from x, y, z to x, y, z
SLOPES = 10  # 6: least ∂φ/∂x, ∂y, ∂z, then largest, per cell
CUBIC = 16  # 8: φ = c0 + c1 x + c2 y + c3 z + c4 xy + c5 xz + c6 yz + c7 xyz
COLUMNS = 24
MARGIN = np.float32(1e-4)  # of BOX, for rounding
HUGE = np.float32(1e30)
TOUCH = np.float32(1e-5)  # of the smallest corner: a cell this little below zero may hold surface


@dataclass(frozen=True, eq=False)
class NearCells:
    """One lattice, made ready for its views.

    Args:
        padded: `[(X+2)(Y+2)(Z+2)]` the lattice with one more vertex on every side.
        block_low: smallest value in each block of cells.
        records: `[C, COLUMNS]` the surface cells, then those that are only near.
        surface: how many hold surface.
        caps: the solid reaches the faces of the box.
    """

    padded: Floats
    block_low: Floats
    records: Singles
    surface: int
    caps: bool


def find_near_cells(values: Floats, grid: Grid, reach: float, threads: int) -> NearCells:
    """Prepare a lattice.

    Args:
        values: `[X, Y, Z]`.
        grid: its size and place.
        reach: cells with a corner below it are near.
        threads: at most.
    """
    padded = pad(values, threads)
    X, Y, Z = grid.X, grid.Y, grid.Z
    block_low = np.full([-(-(n - 1) // BLOCK) for n in (X, Y, Z)], np.inf, values.dtype)
    # only what is written takes memory
    found = np.zeros((X - 1, (Y - 1) * (Z - 1)), np.int32)
    counts = np.zeros((X - 1, 3), np.int64)
    work = slabs(block_low.shape[0], 4 * threads)

    def scan(part: slice) -> None:
        layers = range(part.start * BLOCK, min(part.stop * BLOCK, X - 1))
        list_cells(padded, layers.start, layers.stop, reach, found, counts, block_low)

    run_all(scan, work, threads)
    ends = np.cumsum(counts[:, :2].T.ravel())
    starts = (ends - counts[:, :2].T.ravel()).reshape(2, -1)
    records = np.zeros((int(ends[-1]), COLUMNS), np.float32)

    def describe(part: slice) -> None:
        describe_cells(
            padded.ravel(), numbers(grid), part.start, part.stop, found, counts, starts, records
        )

    run_all(describe, slabs(X - 1, 4 * threads), threads)
    return NearCells(
        padded.ravel(), block_low, records, int(counts[:, 0].sum()), bool(counts[:, 2].any())
    )


@lane_kernel
def list_cells(
    padded: Floats, begin: int, end: int, reach: float, found: Ints, counts: Ints, block_low: Floats
) -> None:
    """Scan layers `begin … end` along x: surface cells from the front of `found[i]`, near ones
    from its back, and how many of each in `counts[i]`."""
    X, Y, Z = padded.shape[0] - 2, padded.shape[1] - 2, padded.shape[2] - 2
    low = np.zeros(Z, padded.dtype)
    high = np.zeros(Z, padded.dtype)
    limit = padded.dtype.type(max(reach, 0.0))
    for i in range(begin, end):
        near, surface, solid = 0, 0, 0
        for j in range(Y - 1):
            a, b = padded[i + 1, j + 1, 1:-1], padded[i + 1, j + 2, 1:-1]
            c, d = padded[i + 2, j + 1, 1:-1], padded[i + 2, j + 2, 1:-1]
            least = a[0]
            for k in range(Z):
                lo = min(min(a[k], b[k]), min(c[k], d[k]))
                low[k] = lo
                high[k] = max(max(a[k], b[k]), max(c[k], d[k]))
                least = min(least, lo)
            row = block_low[i // BLOCK, j // BLOCK]
            for bk in range(len(row)):
                lo = row[bk]
                for k in range(bk * BLOCK, min(bk * BLOCK + BLOCK + 1, Z)):
                    lo = min(lo, low[k])
                row[bk] = lo
            if least > limit:
                continue
            edge = i == 0 or i == X - 2 or j == 0 or j == Y - 2
            for k in range(Z - 1):
                lo = min(low[k], low[k + 1])
                if lo > limit:
                    continue
                border = edge or k == 0 or k == Z - 2
                if lo <= 0 and (max(high[k], high[k + 1]) >= TOUCH * lo or border):
                    found[i, surface] = j * (Z - 1) + k
                    surface += 1
                    solid += border
                elif lo > 0:
                    near += 1
                    found[i, (Y - 1) * (Z - 1) - near] = j * (Z - 1) + k
        counts[i, 0], counts[i, 1], counts[i, 2] = surface, near, solid


@kernel
def describe_cells(
    v: Floats, grid_numbers: Doubles, begin: int, end: int,
    found: Ints, counts: Ints, starts: Ints, records: Singles,
) -> None:  # fmt: skip
    """Fill the records of the cells that `list_cells` found in some layers.

    Args:
        v: `[(X+2)(Y+2)(Z+2)]` the padded lattice.
        grid_numbers: its size and place, see `grid_of`.
        begin: first layer along x.
        end: one past the last.
        found: `[X−1, (Y−1)(Z−1)]` as `list_cells` leaves it.
        counts: `[X−1, 3]` likewise.
        starts: `[2, X−1]` where the records of each layer begin: surface cells, near ones.
        records: `[C, COLUMNS]` filled.
    """
    grid = grid_of(grid_numbers)
    for i in range(begin, end):
        for kind in range(2):
            for n in range(counts[i, kind]):
                cell = found[i, n if kind == 0 else found.shape[1] - 1 - n]
                j, k = cell // (grid.Z - 1), cell % (grid.Z - 1)
                c = corners(v, (i + 1) * grid.sx + (j + 1) * grid.sy + k + 1, grid.sx, grid.sy)
                _describe(records[starts[kind, i] + n], grid, i, j, k, c)


@scalar
def _describe(record: Singles, grid: Grid, i: int, j: int, k: int, c: Corners) -> None:
    """Fill one record."""
    record[CELL], record[CELL + 1], record[CELL + 2] = i, j, k
    record[LOW] = min(min(min(c[0], c[1]), min(c[2], c[3])), min(min(c[4], c[5]), min(c[6], c[7])))
    # φ(x, ·, ·) lies between the blends of the two faces' smallest and largest corners
    faces = (
        (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]),
        (c[0], c[1], c[4], c[5], c[2], c[3], c[6], c[7]),
        (c[0], c[2], c[4], c[6], c[1], c[3], c[5], c[7]),
    )
    edge = i == 0 or j == 0 or k == 0 or i == grid.X - 2 or j == grid.Y - 2 or k == grid.Z - 2
    border = edge and record[LOW] <= 0
    for axis in range(3):
        f = faces[axis]
        low0, low1 = min(f[0], f[1], f[2], f[3]), min(f[4], f[5], f[6], f[7])
        high0, high1 = max(f[0], f[1], f[2], f[3]), max(f[4], f[5], f[6], f[7])
        lo, hi = 0.0, 1.0
        if not border:
            if low0 > 0 and low1 < low0:
                lo = max(lo, low0 / (low0 - low1))
            elif high0 < 0 and high1 > 0:
                lo = max(lo, high0 / (high0 - high1))
            if low1 > 0 and low0 < low1:
                hi = min(hi, 1 - low1 / (low1 - low0))
            elif high1 < 0 and high0 > 0:
                hi = min(hi, 1 - high1 / (high1 - high0))
        record[BOX + axis] = max(lo - float(MARGIN), 0.0)
        record[BOX + 3 + axis] = min(hi + float(MARGIN), 1.0)
        d0, d1, d2, d3 = f[4] - f[0], f[5] - f[1], f[6] - f[2], f[7] - f[3]
        # a cell at the edge of the box is never turned away: a ray may begin or end in it
        record[SLOPES + axis] = -HUGE if edge else min(min(d0, d1), min(d2, d3))
        record[SLOPES + 3 + axis] = HUGE if edge else max(max(d0, d1), max(d2, d3))
    kx, ky, kz = c[4] - c[0], c[2] - c[0], c[1] - c[0]
    kxy, kxz, kyz = c[6] - c[4] - ky, c[5] - c[4] - kz, c[3] - c[2] - kz
    record[CUBIC], record[CUBIC + 1], record[CUBIC + 2], record[CUBIC + 3] = c[0], kx, ky, kz
    record[CUBIC + 4], record[CUBIC + 5], record[CUBIC + 6] = kxy, kxz, kyz
    record[CUBIC + 7] = (c[7] - c[6] - c[5] + c[4]) - kyz
