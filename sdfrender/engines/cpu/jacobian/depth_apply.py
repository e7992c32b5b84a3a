"""The derivative of depths in the lattice, its transpose and its square, from local terms.

A *depth term* is the first hit in one pixel: `d depth += r Σ_k w_k dφ_k`, with w the trilinear
weights of its place in its cell, `r = −cos / (∇φ·d)`, d the ray and cos its cosine with the optical
axis (implicit function theorem). As in `linear_apply`, all go over the cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sdfrender.engines.cpu.jacobian.linear_apply import CHUNK, LANES, lane_samples
from sdfrender.kernels.compiled import inlined, lane_kernel
from sdfrender.kernels.trilinear_cell import Corners, add_to_corners, dot, lane_weights


@lane_kernel
def push_depths(
    cells: Any, starts: Any, pixels: Any, places: Any, rates: Any, v: Any, sx: int, sy: int,
    depths: Any,
) -> None:  # fmt: skip
    """Add the tangent of the depths.

    Args:
        cells: see `hit_terms.DepthTerms`, as are the next four.
        starts: where the terms of each cell begin.
        pixels: of the terms.
        places: of the terms.
        rates: of the terms.
        v: tangent of the lattice, in bricks.
        sx: its step from one x to the next.
        sy: its step from one y to the next.
        depths: `[N H W]` added to.
    """
    one, out = v.dtype.type(1), np.zeros(LANES, v.dtype)
    for n in range(len(cells)):
        phi = lane_samples(v, cells[n], sx, sy)
        for begin in range(starts[n], starts[n + 1], LANES):
            for k in range(LANES):
                i = begin + k
                w = lane_weights(one, places[0, i], places[1, i], places[2, i])
                out[k] = rates[i] * dot(w, phi)
            for k in range(LANES):
                depths[pixels[begin + k]] += out[k]


@lane_kernel
def pull_depths(
    cells: Any, starts: Any, pixels: Any, places: Any, rates: Any, depths: Any, squared: bool,
    sx: int, sy: int, g: Any,
) -> None:  # fmt: skip
    """The transpose of `push_depths`: from `depths` into `g`, laid out as `v`.

    With `squared` each entry of the rows counts by its square: the diagonal of `Jᵀ W J`, where
    `depths` are the weights W.
    """
    one, zero = g.dtype.type(1), g.dtype.type(0)
    u = np.zeros(CHUNK, g.dtype)
    for n in range(len(cells)):
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero  # sums over the terms, at each corner
        for begin in range(starts[n], starts[n + 1], CHUNK):
            size = min(CHUNK, starts[n + 1] - begin)
            for k in range(size):
                u[k] = depths[pixels[begin + k]]
            for k in range(size):
                i = begin + k
                r, w = rates[i], lane_weights(one, places[0, i], places[1, i], places[2, i])
                if squared:
                    r, w = r * r, _squares(w)
                s = u[k] * r
                a0, a1, a2, a3 = a0 + s * w[0], a1 + s * w[1], a2 + s * w[2], a3 + s * w[3]
                a4, a5, a6, a7 = a4 + s * w[4], a5 + s * w[5], a6 + s * w[6], a7 + s * w[7]
        add_to_corners(g, cells[n], sx, sy, (a0, a1, a2, a3, a4, a5, a6, a7), one)


@inlined
def _squares(w: Corners) -> Corners:
    return (
        w[0] * w[0], w[1] * w[1], w[2] * w[2], w[3] * w[3],
        w[4] * w[4], w[5] * w[5], w[6] * w[6], w[7] * w[7],
    )  # fmt: skip
