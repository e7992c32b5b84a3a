"""Which cells can a ray meet something in? Lists them with all that a view needs of each.

A list is made once per lattice, from its bricks, and serves all views. Cells whose smallest corner
is ≤ 0 and whose largest is > 0 hold surface; cells with `0 < low < reach` are near enough to graze.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdfrender.engines.cpu.bricks import BrickMap, keep_blocks, with_absent
from sdfrender.geometry.sparse.blocked import Stored
from sdfrender.kernels.arrays import Doubles, Floats, Ints, Singles
from sdfrender.kernels.bricks import BLOCK, STEP_X, STEP_Y, VOLUME
from sdfrender.kernels.compiled import kernel, lane_kernel, scalar
from sdfrender.kernels.threads import run_all, slabs
from sdfrender.kernels.trilinear_cell import Corners, corners

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


CELLS = BLOCK**3  # of a block


@dataclass(frozen=True, eq=False)
class NearCells:
    """One lattice, made ready for its views.

    Args:
        bricks: which blocks of it are kept.
        values: `[n 11³]` theirs.
        block_low: smallest value in each block of cells.
        records: `[C, COLUMNS]` the surface cells, then those that are only near.
        surface: how many hold surface.
        caps: the solid reaches the faces of the box.
    """

    bricks: BrickMap
    values: Floats
    block_low: Floats
    records: Singles
    surface: int
    caps: bool


def find_near_cells(values: Stored, reach: float, eyes: Doubles, threads: int) -> NearCells:
    """Prepare a lattice.

    Args:
        values: `[X, Y, Z]`, whole or in blocks.
        reach: cells with a corner below it are near: half a pixel where it is largest.
        eyes: `[N, 3]` of the views, in vertex indices.
        threads: at most.
    """
    reach = max(reach, 0.0)
    bricks, block_low = keep_blocks(values, 2 * reach, eyes, threads)
    kept = with_absent(bricks.cut(values, threads))
    found, counts = np.zeros((len(bricks), CELLS), np.int16), np.zeros((len(bricks), 3), np.int64)
    sizes, work = np.array(values.shape), slabs(len(bricks), 4 * threads)

    def scan(part: slice) -> None:
        list_cells(kept, bricks.blocks, sizes, part.start, part.stop, reach, found, counts)

    run_all(scan, work, threads)
    ends = np.cumsum(counts[:, :2].T.ravel())
    starts = (ends - counts[:, :2].T.ravel()).reshape(2, -1)
    records = np.zeros((int(ends[-1]), COLUMNS), np.float32)

    def describe(part: slice) -> None:
        describe_cells(
            kept, bricks.blocks, sizes, part.start, part.stop, found, counts, starts, records
        )

    run_all(describe, work, threads)
    return NearCells(
        bricks, kept, block_low, records, int(counts[:, 0].sum()), bool(counts[:, 2].any())
    )


@lane_kernel
def list_cells(
    v: Floats, blocks: Ints, sizes: Ints, begin: int, end: int, reach: float,
    found: Ints, counts: Ints,
) -> None:  # fmt: skip
    """Scan bricks `begin … end`: surface cells from the front of `found[n]`, near ones from its
    back, and in `counts[n]` how many of each, and of surface cells with solid at a face of the box.

    A cell is named by its place in the block, `64 i + 8 j + k`.
    """
    limit = v.dtype.type(reach)
    low, high = np.zeros(BLOCK + 1, v.dtype), np.zeros(BLOCK + 1, v.dtype)
    for n in range(begin, end):
        if blocks[n, 0] < 0:
            continue
        # cells of the block that the lattice has
        along_x = min(BLOCK, sizes[0] - 1 - BLOCK * blocks[n, 0])
        along_y = min(BLOCK, sizes[1] - 1 - BLOCK * blocks[n, 1])
        along_z = min(BLOCK, sizes[2] - 1 - BLOCK * blocks[n, 2])
        near, surface, solid = 0, 0, 0
        for i in range(along_x):
            for j in range(along_y):
                p = n * VOLUME + (i + 1) * STEP_X + (j + 1) * STEP_Y + 1
                least = v[p]
                for k in range(along_z + 1):
                    a, b = v[p + k], v[p + k + STEP_Y]
                    c, d = v[p + k + STEP_X], v[p + k + STEP_X + STEP_Y]
                    low[k] = min(min(a, b), min(c, d))
                    high[k] = max(max(a, b), max(c, d))
                    least = min(least, low[k])
                if least > limit:
                    continue
                x, y = BLOCK * blocks[n, 0] + i, BLOCK * blocks[n, 1] + j
                edge = x == 0 or x == sizes[0] - 2 or y == 0 or y == sizes[1] - 2
                for k in range(along_z):
                    lo = min(low[k], low[k + 1])
                    if lo > limit:
                        continue
                    z = BLOCK * blocks[n, 2] + k
                    border = edge or z == 0 or z == sizes[2] - 2
                    if lo <= 0 and (max(high[k], high[k + 1]) >= TOUCH * lo or border):
                        found[n, surface] = (i * BLOCK + j) * BLOCK + k
                        surface += 1
                        solid += border
                    elif lo > 0:
                        near += 1
                        found[n, CELLS - near] = (i * BLOCK + j) * BLOCK + k
        counts[n, 0], counts[n, 1], counts[n, 2] = surface, near, solid


@kernel
def describe_cells(
    v: Floats, blocks: Ints, sizes: Ints, begin: int, end: int,
    found: Ints, counts: Ints, starts: Ints, records: Singles,
) -> None:  # fmt: skip
    """Fill the records of the cells that `list_cells` found in some bricks.

    Args:
        v: `[n 11³]` the bricks.
        blocks: `[n, 3]` where they are.
        sizes: `[3]` of the lattice.
        begin: first brick.
        end: one past the last.
        found: `[n, CELLS]` as `list_cells` leaves it.
        counts: `[n, 3]` likewise.
        starts: `[2, n]` where the records of each brick begin: surface cells, near ones.
        records: `[C, COLUMNS]` filled.
    """
    for n in range(begin, end):
        for kind in range(2):
            for m in range(counts[n, kind]):
                cell = int(found[n, m if kind == 0 else CELLS - 1 - m])
                i, j, k = cell // (BLOCK * BLOCK), cell // BLOCK % BLOCK, cell % BLOCK
                p = n * VOLUME + (i + 1) * STEP_X + (j + 1) * STEP_Y + k + 1
                c = corners(v, p, STEP_X, STEP_Y)
                i, j = i + BLOCK * int(blocks[n, 0]), j + BLOCK * int(blocks[n, 1])
                k += BLOCK * int(blocks[n, 2])
                _describe(records[starts[kind, n] + m], sizes, i, j, k, c)


@scalar
def _describe(record: Singles, sizes: Ints, i: int, j: int, k: int, c: Corners) -> None:
    """Fill one record."""
    record[CELL], record[CELL + 1], record[CELL + 2] = i, j, k
    record[LOW] = min(min(min(c[0], c[1]), min(c[2], c[3])), min(min(c[4], c[5]), min(c[6], c[7])))
    # φ(x, ·, ·) lies between the blends of the two faces' smallest and largest corners
    faces = (
        (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]),
        (c[0], c[1], c[4], c[5], c[2], c[3], c[6], c[7]),
        (c[0], c[2], c[4], c[6], c[1], c[3], c[5], c[7]),
    )
    edge = i == 0 or j == 0 or k == 0 or i == sizes[0] - 2 or j == sizes[1] - 2
    edge = edge or k == sizes[2] - 2
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
