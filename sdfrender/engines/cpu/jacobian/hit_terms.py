"""The derivative of depths and normals in the lattice, as lists of local terms sorted by cell.

Each pixel depends on its first hit alone, and not at all where that is on a face of the box. A
depth moves with the 8 values of the hit's cell (`depth_apply`). A normal is an image of three
channels, whose surface terms hold the hit's motion and the normal field at a fixed point: 4×4×4
values (`linear_terms`). Both lists share their cells, their order and the places of the hits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import boolean, int64

from sdfrender.engines.cpu.engine import Part, SceneArrays, Traced
from sdfrender.engines.cpu.jacobian.depth_apply import pull_depths, push_depths
from sdfrender.engines.cpu.jacobian.linear_fill import count_terms, repeat_pixels
from sdfrender.engines.cpu.jacobian.linear_terms import (
    PLACE,
    Terms,
    index_type,
    lay_out_cells,
    shares,
)
from sdfrender.kernels.bricks import STEP_X, STEP_Y, brick_grid_of, stored
from sdfrender.kernels.compiled import kernel, scalar
from sdfrender.kernels.lane_steps import (
    CELL,
    COSINE,
    DX,
    DY,
    DZ,
    LANES,
    PIXEL,
    SIZE,
    SIZE_READ,
    V_GX,
    V_GY,
    V_GZ,
    V_NX,
    V_PHI,
    V_T,
    T,
    X,
    Y,
    Z,
    find_normals,
    find_places,
    pull_points,
    read_cell,
)
from sdfrender.kernels.pixel.terms import at_border, depth_rate, put_place
from sdfrender.kernels.ray_walk import CAP, CROSSING
from sdfrender.kernels.surface_point import Place
from sdfrender.kernels.threads import run_all
from sdfrender.kernels.trilinear_cell import Grid, numbers
from sdfrender.kernels.view import view_of


@dataclass(frozen=True, eq=False)
class DepthTerms:
    """Depth terms of some pixels of one lattice, at most one a pixel.

    Args:
        lattice: which of the batch.
        cells: as in `Terms`, as are the next two.
        starts: where the terms of each cell begin.
        pixels: of the terms.
        places: `[3, S]` in the cell; further rows are not read.
        rates: `[S]` r.
        count: terms, without those of zeros.
    """

    lattice: int
    cells: Any
    starts: Any
    pixels: Any
    places: Any
    rates: Any
    count: int

    def push(self, v: Any, depths: Any) -> None:
        """Add the tangent of `depths` `[N H W]` for `v`, that of the lattice in bricks."""
        x, steps = self, (STEP_X, STEP_Y)
        push_depths(x.cells, x.starts, x.pixels, x.places, x.rates, v, *steps, depths)

    def pull(self, depths: Any, g: Any, squared: bool = False) -> None:
        """Add the transpose of `push` to `g`; or the diagonal of `Jᵀ W J`, weights in `depths`."""
        x, steps = self, (STEP_X, STEP_Y)
        pull_depths(x.cells, x.starts, x.pixels, x.places, x.rates, depths, squared, *steps, g)


def hit_terms(
    scene: SceneArrays, traced: Traced, depths: bool, normals: bool
) -> tuple[list[DepthTerms], list[Terms]]:
    """The depth terms and the normals' surface terms, each in lists as those of `linear_terms`.

    Args:
        scene: what was rendered.
        traced: its events.
        depths: whether depth terms are wanted; otherwise their list is empty.
        normals: likewise.
    """
    if not (depths or normals):
        return [], []
    found = run_all(
        lambda x: _terms(scene, traced, depths, normals, *x), shares(scene, traced), scene.threads
    )
    return [x for x, _ in found if depths], [x for _, x in found if normals]


def _terms(
    scene: SceneArrays, traced: Traced, depths: bool, normals: bool, lattice: int, part: Part
) -> tuple[DepthTerms, Terms]:
    grid, near = numbers(scene.grid), traced.cells[lattice]
    v, bricks = near.values, near.bricks.table
    P, index = scene.width * scene.height, index_type(scene, v)
    views = [scene.view_numbers(found.view) for found, _, _ in part]
    hits = [_first_hits(found.events[begin:end]) for found, begin, end in part]
    at = [np.zeros(len(x), np.int64) for x in hits]  # cell of each hit
    ends = np.zeros(len(v), index)  # terms in each cell, then where the next one goes
    for view, events, cells_of in zip(views, hits, at, strict=True):
        count_terms(grid, bricks, view, events, 0, len(events), cells_of, ends)
    cells, starts, count, size = lay_out_cells(ends, index)

    pixels = np.zeros(size, np.uint32 if index == np.int32 else np.uint64)
    table = np.zeros((PLACE + (4 * 3 if normals else 0), size), v.dtype)
    rates = np.zeros(size if depths else 0, v.dtype)
    mixed, m = np.zeros(count, index), 0
    for (found, _, _), view, events, cells_of in zip(part, views, hits, at, strict=True):
        m = fill_hits(
            v, grid, bricks, view, events, found.view * P, scene.reattach, cells_of, ends, pixels,
            table, rates, mixed, m,
        )  # fmt: skip
    repeat_pixels(cells, starts, ends, pixels)
    none, no_table = np.zeros(0, index), np.zeros((0, 8 + 3 + 1), v.dtype)
    return (
        DepthTerms(lattice, cells, starts, pixels, table, rates, count),
        Terms(lattice, cells, starts, pixels, table, none, none, no_table, mixed[:m].copy(), count),
    )


def _first_hits(events: Any) -> Any:
    """The first hit of each pixel, but for those on a face of the box, which stay."""
    met = events[events["bits"] & (CROSSING | CAP) != 0]
    first = np.append(True, met["pixel"][1:] != met["pixel"][:-1])[: len(met)]
    return met[first & (met["bits"] & CAP == 0)]


@kernel
def fill_hits(
    v: Any, grid_numbers: Any, bricks: Any, view_numbers: Any, events: Any, first_pixel: int,
    reattach: int, at: Any, ends: Any, pixels: Any, table: Any, rates: Any, mixed: Any, m: int,
) -> int:  # fmt: skip
    """Write the terms of first hits, sixteen at a time.

    Args:
        v: values of the lattice, in bricks.
        grid_numbers: its size and place, see `grid_of`.
        bricks: where the bricks are, see `BrickGrid`.
        view_numbers: the camera, see `view_of`.
        events: first hits of the view, none on a face of the box.
        first_pixel: of the view among those of all views.
        reattach: IMPLICIT or ONE_STEP.
        at: cells of the events, flat indices.
        ends: where the next term of each cell goes.
        pixels: of the terms.
        table: `[3, S]` places, or `[3 + 4·3, S]` of the normals' surface terms.
        rates: `[S]` of depth terms, or empty.
        mixed: list of those terms that are next to a face of the box.
        m: how many there are already.

    Returns:
        `m` afterwards.
    """
    grid, view = brick_grid_of(grid_numbers, bricks), view_of(view_numbers)
    of = v.dtype.type
    w, g, slots = np.zeros(SIZE), np.zeros(SIZE_READ, v.dtype), np.zeros(LANES, np.int64)
    for begin in range(0, len(events), LANES):
        count = min(LANES, len(events) - begin)
        for n in range(count):
            w[PIXEL + n], w[T + n] = events[begin + n].pixel, events[begin + n].t
        find_places(grid, view, w, boolean(False))
        for n in range(count):
            p = int64(at[begin + n])
            x, y, z = put_place(grid, int(w[CELL + n]), p, w[X + n], w[Y + n], w[Z + n])
            w[X + n], w[Y + n], w[Z + n] = x, y, z
            q, sx, sy = stored(grid, p)
            slot = int64(ends[q])
            ends[q] += 1
            slots[n] = slot
            pixels[slot] = first_pixel + int64(w[PIXEL + n])
            table[0, slot], table[1, slot], table[2, slot] = of(x), of(y), of(z)
            if len(rates):
                d = (w[DX + n], w[DY + n], w[DZ + n])
                rate = depth_rate(v, grid, Place(p, x, y, z), d, w[COSINE + n], reattach)
                rates[slot] = of(rate)
            if len(table) > PLACE:
                read_cell(v, sx, sy, q, g, n)
            if at_border(grid, p):
                mixed[m] = slot
                m += 1
        if len(table) > PLACE:
            _fill_normals(grid, reattach, table, w, g, slots, count)
    return m


@scalar
def _fill_normals(
    grid: Grid, reattach: int, table: Any, w: Any, g: Any, slots: Any, count: int
) -> None:
    """Write the surface terms of up to 16 normals."""
    of = table.dtype.type
    find_normals(grid, w, g)
    for c in range(3):
        for row in range(V_NX, V_T + LANES):
            w[row] = 0.0
        for n in range(LANES):
            w[V_NX + LANES * c + n] = 1.0
        pull_points(grid, w, g, reattach)
        r = PLACE + 4 * c
        for n in range(count):
            table[r, slots[n]] = of(w[V_PHI + n])
            table[r + 1, slots[n]] = of(0.5 * w[V_GX + n] * grid.ih[0])
            table[r + 2, slots[n]] = of(0.5 * w[V_GY + n] * grid.ih[1])
            table[r + 3, slots[n]] = of(0.5 * w[V_GZ + n] * grid.ih[2])
