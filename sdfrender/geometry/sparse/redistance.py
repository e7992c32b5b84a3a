"""Signed distances again on a lattice in blocks: the kernels of `geometry.redistance`.

Which blocks are kept follows the surface: those that new distances can reach are added before the
sweeps, and those that none has reached are dropped after them.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from sdfrender.geometry.blocks import extremes, holding
from sdfrender.geometry.redistance import (
    BITS,
    FROZEN,
    activate_beside,
    check_bands,
    freeze_corners,
    freeze_near,
    sweep,
)
from sdfrender.geometry.sparse.blocked import SIDE, Blocked, kept_blocks
from sdfrender.geometry.sparse.blocks import numbered, same_blocks
from sdfrender.kernels.arrays import Ints
from sdfrender.kernels.compiled import kept

Bools = NDArray[np.bool_]

# A vertex that is c vertices from the nearest frozen one along each axis is at least c h / √3 from
# the surface in the upwind scheme: that is what three neighbours at one distance make of it.
FARTHEST = math.sqrt(3)


def redistanced_blocks(
    phi: Blocked, spacing: NDArray[np.float64], frozen_band: float, reach: float
) -> Blocked:
    """What `redistance.redistanced` makes of the array that `phi` stands for, bit for bit.

    Args:
        phi: float32 or float64, world units.
        spacing: `[3]` world units.
        frozen_band: as in `Lattice.redistance`.
        reach: likewise, finite. What is farther has this distance, and is kept no more.

    Returns:
        Another `Blocked`, or `phi` itself where there is no surface.

    Raises:
        ValueError: as `Lattice.redistance`, or a reach that is not finite.
    """
    check_bands(frozen_band, reach)
    if not math.isfinite(reach):
        raise ValueError("reach: need a finite one for a sparse lattice, got infinity")
    low, high = extremes(phi)
    held = holding(low, high)
    h, steps = float(spacing.min()), math.ceil(frozen_band)
    blocks = np.zeros(held.shape, np.bool_)
    state = _zeros(phi.sizes, grown(held, 1 + steps // SIDE))
    freeze_corners(phi, held, state, blocks)
    if not blocks.any():
        return phi
    width = frozen_band * h
    freeze_near(phi, (low < width) & (high > -width), state, blocks, steps, width)
    limit = phi.dtype.type(reach * h)
    around = grown(blocks, math.ceil(FARTHEST * reach / SIDE))
    table = numbered(around, low < 0)
    state = same_blocks(state, table)
    out = same_blocks(phi, table, limit)
    _limit(out, state, kept_blocks(table))
    X, Y, _ = phi.sizes
    busy = np.zeros((X, Y, -(-low.shape[2] // BITS)), np.uint8)
    activate_beside(out, state, blocks, busy)
    sweep(out, state, busy, spacing)
    return without_far(out)


def without_far(v: Blocked) -> Blocked:
    """The same array without the blocks that are `far`, or `−far`, in all of their vertices."""
    low, high = extremes(v)
    near = (v.table >= 0) & ((low != high) | (abs(low) != v.far))
    table = numbered(near, low < 0)
    return Blocked(table, v.values[v.table[near]], v.far, v.sizes)


def grown(blocks: Bools, steps: int) -> Bools:
    """Blocks that are at most `steps` from one of `blocks` along every axis."""
    found: Bools = maximum_filter(blocks, 2 * steps + 1, mode="constant", cval=0)
    return found


@kept
@njit(nogil=True)
def _limit(out: Blocked, state: Blocked, blocks: Ints) -> None:
    """Leave frozen values as they are, and set all others to ± the limit, which is `far`."""
    X, Y, Z = out.sizes
    for n in range(len(blocks)):
        for i in range(min(SIDE, X - SIDE * blocks[n, 0])):
            for j in range(min(SIDE, Y - SIDE * blocks[n, 1])):
                for k in range(min(SIDE, Z - SIDE * blocks[n, 2])):
                    if state.values[n, i, j, k] != FROZEN:
                        inside = out.values[n, i, j, k] < 0
                        out.values[n, i, j, k] = -out.far if inside else out.far


def _zeros(sizes: tuple[int, int, int], blocks: Bools) -> Blocked:
    """Zeros, one byte for each vertex of some blocks."""
    table = numbered(blocks, np.zeros(blocks.shape, np.bool_))
    values = np.zeros((int(blocks.sum()), SIDE, SIDE, SIDE), np.uint8)
    return Blocked(table, values, np.uint8(0), sizes)
