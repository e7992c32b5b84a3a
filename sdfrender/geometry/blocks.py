"""Blocks of 8³ vertices of a lattice: what is looked at instead of all of it.

Block `[a, b, c]` has the vertices from `(8a, 8b, 8c)`; at the far faces of the box it is cut off.
One pass over a lattice finds its blocks' least and largest values. What comes after is done in the
few blocks that matter, so that it grows with the surface.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sdfrender.geometry.sparse.blocked import INSIDE, Blocked, Stored, kept_blocks
from sdfrender.geometry.sparse.blocked import SIDE as SIDE
from sdfrender.kernels.compiled import kept, lane_kernel

PIECE = 4096  # vertices that are counted together

Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]


def extremes(values: Stored) -> tuple[Floats, Floats]:
    """The least and the largest value of each block: `[⌈X/8⌉, ⌈Y/8⌉, ⌈Z/8⌉]` both.

    Args:
        values: `[X, Y, Z]`, contiguous or in blocks, without NaN.
    """
    if isinstance(values, Blocked):
        low = np.where(values.table == INSIDE, -values.far, values.far).astype(values.dtype)
        high = low.copy()
        _kept_extremes(values, kept_blocks(values.table), low, high)
        return low, high
    shape = tuple(-(-n // SIDE) for n in values.shape)
    low, high = np.zeros(shape, values.dtype), np.zeros(shape, values.dtype)
    _extremes(values, low, high)
    return low, high


def holding(low: Floats, high: Floats, level: float = 0.0) -> Bools:
    """Blocks that may hold the surface `φ = level`, in the cells whose first vertex is in them.

    Args:
        low: as of `extremes`.
        high: as of `extremes`.
        level: in the units of the values.

    Returns:
        `[⌈X/8⌉, ⌈Y/8⌉, ⌈Z/8⌉]`; False only where no such cell has `min ≤ level ≤ max`.
    """
    lowest, highest = low.copy(), high.copy()
    for axis in range(3):
        a, b = np.moveaxis(lowest, axis, 0), np.moveaxis(highest, axis, 0)
        np.minimum(a[:-1], a[1:], out=a[:-1])
        np.maximum(b[:-1], b[1:], out=b[:-1])
    found: Bools = (lowest <= level) & (highest >= level)
    return found


def within(values: Stored, distance: float) -> NDArray[np.intp]:
    """Flat indices `[M]`, in order, of the vertices with `|φ| < distance`.

    Args:
        values: `[X, Y, Z]`, contiguous or in blocks.
        distance: in the units of the values.

    Raises:
        ValueError: in blocks, those that are not kept are nearer than that.
    """
    if isinstance(values, Blocked):
        limit = values.dtype.type(distance)
        if not limit <= values.far:
            raise ValueError(f"distance: need at most {values.far}, which is kept, got {distance}")
        blocks = kept_blocks(values.table)
        counts = np.zeros(len(blocks), np.intp)
        _count_kept(values, blocks, limit, counts)
        ids = np.zeros(counts.sum(), np.intp)
        _list_kept(values, blocks, limit, np.cumsum(counts) - counts, ids)
        return np.sort(ids)
    flat = values.reshape(-1)
    limit = float(values.dtype.type(distance))
    counts = np.zeros(-(-flat.size // PIECE), np.intp)
    _count_within(flat, limit, counts)
    ids = np.zeros(counts.sum(), np.intp)
    _list_within(flat, limit, counts, ids)
    return ids


def packed(values: Floats) -> tuple[Floats, NDArray[np.int32], Floats]:
    """A lattice with the blocks of one value written as this: what is far from the surface is one.

    Args:
        values: `[X, Y, Z]`, contiguous.

    Returns:
        The least value of each block; flat indices `[N]` of those that have others too; and what
        these have, `[N, 8, 8, 8]`, zero beyond the lattice. `unpacked` gives `values` back bit for
        bit.
    """
    low, high = extremes(values)
    # -0.0 and 0.0 are equal, and not the same
    ids = np.flatnonzero((low != high) | (low == 0)).astype(np.int32)
    inner = np.zeros((len(ids), SIDE, SIDE, SIDE), values.dtype)
    for part, block in _parts(values.shape, ids):
        cut = values[part]
        inner[block, : cut.shape[0], : cut.shape[1], : cut.shape[2]] = cut
    return low, ids, inner


def unpacked(shape: tuple[int, ...], low: Floats, ids: NDArray[np.int32], inner: Floats) -> Floats:
    """The lattice `[X, Y, Z]` that was `packed`."""
    out = low
    for axis, n in enumerate(shape):
        out = np.repeat(out, SIDE, axis).take(np.arange(n), axis)
    for part, block in _parts(shape, ids):
        cut = out[part].shape
        out[part] = inner[block, : cut[0], : cut[1], : cut[2]]
    return out


def _parts(
    shape: tuple[int, ...], ids: NDArray[np.int32]
) -> Iterator[tuple[tuple[slice, ...], int]]:
    """Where each of some blocks is, and which of them it is."""
    counts = [-(-n // SIDE) for n in shape]
    places = np.stack(np.unravel_index(ids, counts), -1).tolist()
    for block, place in enumerate(places):
        yield tuple(slice(SIDE * n, SIDE * (n + 1)) for n in place), block


@lane_kernel
def _extremes(values: Floats, low: Floats, high: Floats) -> None:
    """`extremes`, a column of blocks along z at a time, whose rows are compared lane by lane."""
    X, Y, Z = values.shape
    lows, highs = np.zeros(Z, values.dtype), np.zeros(Z, values.dtype)
    for a in range(low.shape[0]):
        for b in range(low.shape[1]):
            lows[:], highs[:] = np.inf, -np.inf
            for i in range(a * SIDE, min((a + 1) * SIDE, X)):
                for j in range(b * SIDE, min((b + 1) * SIDE, Y)):
                    for k in range(Z):
                        lows[k] = min(lows[k], values[i, j, k])
                        highs[k] = max(highs[k], values[i, j, k])
            for c in range(low.shape[2]):
                least, most = lows[c * SIDE], highs[c * SIDE]
                for k in range(c * SIDE + 1, min((c + 1) * SIDE, Z)):
                    least, most = min(least, lows[k]), max(most, highs[k])
                low[a, b, c], high[a, b, c] = least, most


@lane_kernel
def _count_within(flat: Floats, distance: float, counts: NDArray[np.intp]) -> None:
    """How many values of each `PIECE` are within a distance."""
    for piece in range(len(counts)):
        count = 0
        for n in range(piece * PIECE, min((piece + 1) * PIECE, len(flat))):
            count += abs(flat[n]) < distance
        counts[piece] = count


@kept
@njit(nogil=True)
def _list_within(
    flat: Floats, distance: float, counts: NDArray[np.intp], ids: NDArray[np.intp]
) -> None:
    """Their indices, from the pieces that have some."""
    found = 0
    for piece in range(len(counts)):
        if counts[piece]:
            for n in range(piece * PIECE, min((piece + 1) * PIECE, len(flat))):
                if abs(flat[n]) < distance:
                    ids[found] = n
                    found += 1


@kept
@njit(nogil=True)
def _kept_extremes(v: Blocked, blocks: NDArray[np.int32], low: Floats, high: Floats) -> None:
    """`extremes` of the blocks that are kept."""
    X, Y, Z = v.sizes
    for n in range(len(blocks)):
        a, b, c = blocks[n]
        least = most = v.values[n, 0, 0, 0]
        for i in range(min(SIDE, X - SIDE * a)):
            for j in range(min(SIDE, Y - SIDE * b)):
                for k in range(min(SIDE, Z - SIDE * c)):
                    least, most = min(least, v.values[n, i, j, k]), max(most, v.values[n, i, j, k])
        low[a, b, c], high[a, b, c] = least, most


@kept
@njit(nogil=True)
def _count_kept(
    v: Blocked, blocks: NDArray[np.int32], distance: float, counts: NDArray[np.intp]
) -> None:
    """How many vertices of each block that is kept are within a distance."""
    X, Y, Z = v.sizes
    for n in range(len(blocks)):
        for i in range(min(SIDE, X - SIDE * blocks[n, 0])):
            for j in range(min(SIDE, Y - SIDE * blocks[n, 1])):
                for k in range(min(SIDE, Z - SIDE * blocks[n, 2])):
                    counts[n] += abs(v.values[n, i, j, k]) < distance


@kept
@njit(nogil=True)
def _list_kept(
    v: Blocked,
    blocks: NDArray[np.int32],
    distance: float,
    starts: NDArray[np.intp],
    ids: NDArray[np.intp],
) -> None:
    """Their flat indices, from `starts[n]` on those of block n."""
    X, Y, Z = v.sizes
    for n in range(len(blocks)):
        at = starts[n]
        i0, j0, k0 = SIDE * blocks[n, 0], SIDE * blocks[n, 1], SIDE * blocks[n, 2]
        for i in range(min(SIDE, X - i0)):
            for j in range(min(SIDE, Y - j0)):
                for k in range(min(SIDE, Z - k0)):
                    if abs(v.values[n, i, j, k]) < distance:
                        ids[at] = (np.intp(i0 + i) * Y + j0 + j) * Z + k0 + k
                        at += 1
