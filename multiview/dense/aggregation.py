"""Semi-global matching: one depth for each pixel of a cost volume, smooth but for jumps that pay.

Costs are summed along paths that end in a pixel, from 8 directions r (Hirschmüller 2008,
*Stereo processing by semiglobal matching and mutual information*, equation 13):

    L_r(p, d) = C(p, d) + min(L_r(p−r, d), L_r(p−r, d ± 1) + P₁, min_k L_r(p−r, k) + P₂)
                − min_k L_r(p−r, k)

The plane with the least sum is taken, and between planes the least of a parabola through it and its
two neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multiview.dense.sweep import Doubles, Volume
from sdfrender.kernels.compiled import kernel, lanes

SLOPE, JUMP = 3, 20  # P₁ and P₂, units of a cost
LEAST_SCORE = 0.2  # ZNCC; a pixel that agrees less has no depth
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
HUGE = 1 << 28

Floats = NDArray[np.float32]


def depth_map(volume: Volume, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Depths of a view, and how well they agree with other views.

    Args:
        volume: costs of a part of it.
        shape: rows and columns of the view.

    Returns:
        `[H, W]` z, 0 where there is none, and ZNCC.
    """
    costs = np.ascontiguousarray(volume.costs.transpose(1, 2, 0))  # (h, w, D)
    sums = np.zeros(costs.shape, np.uint16)
    for dy, dx in DIRECTIONS:
        add_paths(costs, dy, dx, SLOPE, JUMP, sums)
    h, w = costs.shape[:2]
    depths, scores = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    left, top = volume.corner
    part = (slice(top, top + h), slice(left, left + w))
    most = round((1 - LEAST_SCORE) * 127.5)
    take_least(costs, sums, volume.inverse, most, depths[part], scores[part])
    return depths, scores


@kernel
def add_paths(costs: Any, dy: int, dx: int, slope: int, jump: int, sums: Any) -> None:
    """Add L_r of one direction r.

    Args:
        costs: `[h, w, D]` uint8.
        dy: r along the columns, −1, 0 or 1.
        dx: r along the rows, likewise; not both are 0.
        slope: P₁.
        jump: P₂; a path costs at most 255 + P₂, and 8 of them have to fit into 16 bits.
        sums: `[h, w, D]` uint16, added to.
    """
    h, w, D = costs.shape
    # A column more on each side of every path's costs, which no path enters.
    before = np.full((w, D + 2), HUGE, np.int32)
    here = np.full((w, D + 2), HUGE, np.int32)
    least_before, least_here = np.zeros(w, np.int32), np.zeros(w, np.int32)
    for row in range(h):
        y = row if dy >= 0 else h - 1 - row
        for column in range(w):
            x = column if dx >= 0 else w - 1 - column
            px = x - dx
            if px < 0 or px >= w or (dy != 0 and row == 0):
                least_here[x] = _begin(costs[y, x], here[x], sums[y, x])
            elif dy == 0:
                least_here[x] = _go_on(
                    costs[y, x], here[px], least_here[px], slope, jump, here[x], sums[y, x]
                )
            else:
                least_here[x] = _go_on(
                    costs[y, x], before[px], least_before[px], slope, jump, here[x], sums[y, x]
                )
        before, here = here, before
        least_before, least_here = least_here, least_before


@lanes
def _begin(costs: Any, here: Any, sums: Any) -> Any:
    """The first pixel of a path; returns its least."""
    least = np.int32(HUGE)
    for d in range(len(costs)):
        value = np.int32(costs[d])
        here[d + 1] = value
        sums[d] += np.uint16(value)
        least = min(least, value)
    return least


@lanes
def _go_on(
    costs: Any, before: Any, least_before: Any, slope: int, jump: int, here: Any, sums: Any
) -> Any:
    """A pixel after another one; returns its least."""
    least, most = np.int32(HUGE), np.int32(least_before + jump)
    base, P = np.int32(least_before), np.int32(slope)
    for d in range(len(costs)):
        near = min(before[d], before[d + 2]) + P
        value = np.int32(costs[d]) + min(min(before[d + 1], near), most) - base
        here[d + 1] = value
        sums[d] += np.uint16(value)
        least = min(least, value)
    return least


@kernel
def take_least(
    costs: Any, sums: Any, inverse: Doubles, most: int, depths: Any, scores: Any
) -> None:
    """The plane with the least sum, and the place between planes.

    Args:
        costs: `[h, w, D]`.
        sums: `[h, w, D]` over all directions.
        inverse: `[D]` 1/z.
        most: cost beyond which a pixel has no depth.
        depths: `[h, w]` z, written; stays as it is where there is none.
        scores: `[h, w]` ZNCC, written.
    """
    h, w, D = costs.shape
    step = inverse[1] - inverse[0]
    for y in range(h):
        for x in range(w):
            b = 0
            for d in range(1, D):
                if sums[y, x, d] < sums[y, x, b]:
                    b = d
            scores[y, x] = 1 - costs[y, x, b] / 127.5
            # The first and the last plane have nothing on one side: what is best may be beyond.
            if costs[y, x, b] > most or b == 0 or b == D - 1:
                continue
            low, mid, high = (
                float(sums[y, x, b - 1]),
                float(sums[y, x, b]),
                float(sums[y, x, b + 1]),
            )
            bend = low - 2 * mid + high
            between = 0.5 * (low - high) / bend if bend > 0 else 0.0
            depths[y, x] = 1 / (inverse[b] + between * step)
