"""Arrays in blocks out of whole ones and back, and with other blocks than they had."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sdfrender.geometry.blocks import extremes, holding
from sdfrender.geometry.redistance import freeze_corners
from sdfrender.geometry.sparse.blocked import (
    INSIDE,
    OUTSIDE,
    SIDE,
    Blocked,
    Stored,
    kept_blocks,
    read,
    shape_of,
)
from sdfrender.kernels.arrays import Ints
from sdfrender.kernels.compiled import kept

Bools = NDArray[np.bool_]


def numbered(blocks: Bools, inside: Bools) -> NDArray[np.int32]:
    """The table of an array that keeps `blocks`, in their order; others are `inside` or outside."""
    table = np.where(inside, INSIDE, OUTSIDE).astype(np.int32)
    table[blocks] = np.arange(np.count_nonzero(blocks), dtype=np.int32)
    return table


def same_blocks(v: Stored, table: NDArray[np.int32], far: Any = None) -> Blocked:
    """The blocks of an array that a table keeps.

    Args:
        v: any.
        table: `[⌈X/8⌉, ⌈Y/8⌉, ⌈Z/8⌉]`, see `Blocked`.
        far: of the result; by default that of `v`, or 0.
    """
    where = kept_blocks(table)
    out = np.zeros((len(where), SIDE, SIDE, SIDE), v.dtype)
    _cut(v, where, out)
    if far is None:
        far = v.far if isinstance(v, Blocked) else v.dtype.type(0)
    return Blocked(table, out, far, shape_of(v))


def near_blocks(values: Stored, far: float) -> Blocked:
    """The blocks of an array with a vertex `|φ| < far`, or a corner of a surface cell.

    All others are taken for `far` or `−far`, by their sign.
    """
    low, high = extremes(values)
    limit, sizes = values.dtype.type(far), shape_of(values)
    near = (low < limit) & (high > -limit)
    nowhere = numbered(np.zeros_like(near), near)
    state = Blocked(nowhere, np.zeros((0, SIDE, SIDE, SIDE), np.uint8), np.uint8(0), sizes)
    freeze_corners(values, holding(low, high), state, near)  # which marks their blocks as near
    return same_blocks(values, numbered(near, low < 0), limit)


def whole(v: Blocked) -> NDArray[Any]:
    """The array `[X, Y, Z]` that a `Blocked` stands for."""
    out = np.zeros(v.sizes, v.dtype)
    _paste(v, out)
    return out


@kept
@njit(nogil=True)
def _cut(v: Stored, blocks: Ints, out: NDArray[Any]) -> None:
    """Copy blocks of `v` to `out`."""
    X, Y, Z = shape_of(v)
    for n in range(len(blocks)):
        i0, j0, k0 = SIDE * blocks[n, 0], SIDE * blocks[n, 1], SIDE * blocks[n, 2]
        for i in range(min(SIDE, X - i0)):
            for j in range(min(SIDE, Y - j0)):
                for k in range(min(SIDE, Z - k0)):
                    out[n, i, j, k] = read(v, i0 + i, j0 + j, k0 + k)


@kept
@njit(nogil=True)
def _paste(v: Blocked, out: NDArray[Any]) -> None:
    """Fill `out` `[X, Y, Z]`."""
    X, Y, Z = out.shape
    for i in range(X):
        for j in range(Y):
            for c in range(v.table.shape[2]):
                block = v.table[i >> 3, j >> 3, c]
                begin, end = c * SIDE, min((c + 1) * SIDE, Z)
                if block < 0:
                    out[i, j, begin:end] = v.far if block == OUTSIDE else -v.far
                else:
                    out[i, j, begin:end] = v.values[block, i & 7, j & 7, : end - begin]
