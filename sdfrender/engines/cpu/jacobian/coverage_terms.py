"""The corner terms of silhouettes alone, for fits that do not look at colours, see `linear_terms`.

A pixel whose only event is opaque has none: its silhouette is 1 whatever happens nearby.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64, int64

from sdfrender.engines.cpu.engine import Part, SceneArrays, Traced
from sdfrender.engines.cpu.jacobian.linear_terms import PLACE, Terms, index_type, shares
from sdfrender.kernels.bricks import brick_grid_of, place_in_bricks
from sdfrender.kernels.compiled import kernel
from sdfrender.kernels.coverage import coverage_at
from sdfrender.kernels.pixel.terms import put_weights
from sdfrender.kernels.ray_walk import ALONE, MOST_EVENTS, OPAQUE
from sdfrender.kernels.surface_point import place
from sdfrender.kernels.threads import run_all
from sdfrender.kernels.trilinear_cell import numbers, weights
from sdfrender.kernels.view import pixel_ray, view_of


def coverage_terms(scene: SceneArrays, traced: Traced) -> list[Terms]:
    """The terms of silhouettes, in one list per lattice and thread; no channel has any."""
    return run_all(lambda x: _terms(scene, traced, *x), shares(scene, traced), scene.threads)


def _terms(scene: SceneArrays, traced: Traced, lattice: int, part: Part) -> Terms:
    grid, near = numbers(scene.grid), traced.cells[lattice]
    v, bricks = near.values, near.bricks.table
    P, index = scene.width * scene.height, index_type(scene, v)
    events = [_not_alone(found.events[begin:end]) for found, begin, end in part]
    total, k = sum(map(len, events)), 0
    cells, pixels = np.zeros(total, index), np.zeros(total, index)
    table = np.zeros((total, 8 + 1), v.dtype)
    for (found, _, _), chosen in zip(part, events, strict=True):
        k = fill_coverage(
            v, grid, bricks, scene.view_numbers(found.view), chosen, found.view * P, cells, pixels,
            table, k,
        )  # fmt: skip
    unsigned = np.uint32 if index == np.int32 else np.uint64
    return Terms(
        lattice, np.zeros(0, index), np.zeros(1, np.uint64), np.zeros(0, unsigned),
        np.zeros((PLACE, 0), v.dtype), cells[:k].copy(), pixels[:k].copy(), table[:k].copy(),
        ~np.arange(k, dtype=index), k,
    )  # fmt: skip


def _not_alone(events: Any) -> Any:
    """All events but crossings, opaque, that are the only one of their pixel."""
    return events[events["bits"] & ALONE == 0]


@kernel
def fill_coverage(
    v: Any, grid_numbers: Any, bricks: Any, view_numbers: Any, events: Any, first_pixel: int,
    cells: Any, pixels: Any, table: Any, k: int,
) -> int:  # fmt: skip
    """Write the corner terms of silhouettes.

    Args:
        v: values of the lattice, in bricks.
        grid_numbers: its size and place, see `grid_of`.
        bricks: where the bricks are, see `BrickGrid`.
        view_numbers: the camera, see `view_of`.
        events: of the view, in order of pixel and depth.
        first_pixel: of the view among those of all views.
        cells: of the terms, see `linear_terms.Terms`.
        pixels: of the terms.
        table: of the terms.
        k: how many terms there are already.

    Returns:
        `k` afterwards.
    """
    grid, view = brick_grid_of(grid_numbers, bricks), view_of(view_numbers)
    of = table.dtype.type
    alphas, clear = np.ones(MOST_EVENTS), np.ones(MOST_EVENTS + 1)
    e: Any = int64(0)
    while e < len(events):
        pixel = int64(events[e].pixel)
        d, cosine = pixel_ray(view, pixel)
        footprint = cosine / view.focal
        size = 0
        while e + size < len(events) and events[e + size].pixel == pixel:
            alpha = 1.0
            if int64(events[e + size].bits) & OPAQUE == 0:
                alpha, _ = coverage_at(
                    v, grid, view.o, d, footprint, float64(events[e + size].t_min)
                )
            alphas[size] = alpha
            clear[size + 1] = clear[size] * (1 - min(max(alpha, 0.0), 1.0))
            size += 1
        behind = 1.0  # what passes the events behind this one; `clear[n]` passes those before it
        for n in range(size - 1, -1, -1):
            if int64(events[e + n].bits) & OPAQUE == 0 and 0 <= alphas[n] <= 1:
                t_min = float64(events[e + n].t_min)
                q = place(grid, view.o, d, t_min)
                put_weights(table, k, weights(q.x, q.y, q.z))
                table[k, 8] = of(-clear[n] * behind / (t_min * footprint))
                cells[k], pixels[k] = place_in_bricks(bricks, q.p), first_pixel + pixel
                k += 1
            behind *= 1 - min(max(alphas[n], 0.0), 1.0)
        e += size
    return k
