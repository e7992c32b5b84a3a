"""A lattice in blocks at another resolution, by trilinear interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sdfrender.geometry.sparse.blocked import (
    SIDE,
    Blocked,
    blocks_along,
    kept_blocks,
    read,
)
from sdfrender.kernels.arrays import Doubles, Ints
from sdfrender.kernels.compiled import kept


def resampled(v: Blocked, sizes: tuple[int, int, int]) -> Blocked:
    """The trilinear interpolant of `v` at the vertices of another grid over the same box.

    Args:
        v: float32 or float64.
        sizes: of the other grid.
    """
    steps = (np.array(v.sizes) - 1) / (np.array(sizes) - 1)  # of old vertices between new ones
    table = np.zeros(blocks_along(sizes), np.int32)
    count = _choose(v, np.array(sizes), steps, table)
    values = np.zeros((count, SIDE, SIDE, SIDE), v.dtype)
    _interpolate(v, np.array(sizes), steps, kept_blocks(table), values)
    return Blocked(table, values, v.far, sizes)


@kept
@njit(nogil=True)
def _choose(v: Blocked, sizes: Ints, steps: Doubles, table: Ints) -> int:
    """Fill the new table: a block is kept unless the old ones below it are all far; their count."""
    count = 0
    low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for a in range(table.shape[0]):
        for b in range(table.shape[1]):
            for c in range(table.shape[2]):
                for axis, n in enumerate((a, b, c)):
                    last = v.sizes[axis] - 1
                    end = min(n * SIDE + SIDE, sizes[axis]) - 1
                    low[axis] = min(int(n * SIDE * steps[axis]), last) >> 3
                    high[axis] = min(int(end * steps[axis]) + 1, last) >> 3
                first = v.table[low[0], low[1], low[2]]
                same = first < 0
                for i in range(low[0], high[0] + 1):
                    for j in range(low[1], high[1] + 1):
                        for k in range(low[2], high[2] + 1):
                            same = same and v.table[i, j, k] == first
                if same:
                    table[a, b, c] = first
                else:
                    table[a, b, c] = count
                    count += 1
    return count


@kept
@njit(nogil=True)
def _interpolate(v: Blocked, sizes: Ints, steps: Doubles, blocks: Ints, out: NDArray[Any]) -> None:
    """Fill blocks of the new grid."""
    X, Y, Z = v.sizes
    for n in range(len(blocks)):
        for i in range(min(SIDE, sizes[0] - SIDE * blocks[n, 0])):
            x = min((SIDE * blocks[n, 0] + i) * steps[0], X - 1.0)
            a = min(int(x), X - 2)
            for j in range(min(SIDE, sizes[1] - SIDE * blocks[n, 1])):
                y = min((SIDE * blocks[n, 1] + j) * steps[1], Y - 1.0)
                b = min(int(y), Y - 2)
                for k in range(min(SIDE, sizes[2] - SIDE * blocks[n, 2])):
                    z = min((SIDE * blocks[n, 2] + k) * steps[2], Z - 1.0)
                    c = min(int(z), Z - 2)
                    total = 0.0
                    for corner in range(8):
                        p, q, r = corner >> 2, corner >> 1 & 1, corner & 1
                        w = (x - a if p else a + 1 - x) * (y - b if q else b + 1 - y)
                        w *= z - c if r else c + 1 - z
                        total += w * read(v, a + p, b + q, c + r)
                    out[n, i, j, k] = total
