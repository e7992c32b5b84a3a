"""The kernels that write surface terms at their places, see `linear_terms`.

They are written in two passes over the events: the first counts those of each cell, the second puts
each at its place. Pixels with one opaque crossing go through it sixteen at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, int64

from sdfrender.kernels.adjoint import albedo_adjoint
from sdfrender.kernels.bricks import brick_grid_of, place_in_bricks, stored
from sdfrender.kernels.compiled import kernel, scalar
from sdfrender.kernels.lane_steps import (
    CELL,
    DX,
    DY,
    DZ,
    LANES,
    NX,
    NY,
    NZ,
    PIXEL,
    SIZE,
    SIZE_READ,
    V_GX,
    V_GY,
    V_GZ,
    V_NX,
    V_PHI,
    V_T,
    V_X,
    V_Y,
    V_Z,
    T,
    X,
    Y,
    Z,
    find_normals,
    find_places,
    pull_light,
    pull_points,
    read_cell,
)
from sdfrender.kernels.light_terms import INTENSITY, irradiance
from sdfrender.kernels.pixel.terms import at_border, fill_pixel, put_place
from sdfrender.kernels.ray_walk import ALONE, CAP, MOST_EVENTS, OPAQUE
from sdfrender.kernels.reattach import is_graze
from sdfrender.kernels.surface_point import albedo_at
from sdfrender.kernels.trilinear_cell import Grid
from sdfrender.kernels.view import View, view_of


@kernel
def count_terms(
    grid_numbers: Any, table: Any, view_numbers: Any, events: Any, begin: int, end: int,
    at: Any, counts: Any,
) -> int:  # fmt: skip
    """Count the surface terms of each cell; returns an upper bound of the corner terms.

    Args:
        grid_numbers: size and place of the lattice, see `grid_of`.
        table: where its bricks are, see `BrickGrid`.
        view_numbers: the camera, see `view_of`.
        events: of the view.
        begin: the first event.
        end: one past the last.
        at: `[end − begin, …]` filled with the events' cells, flat indices.
        counts: `[n 11³]` added to: at the places of cells in the bricks.
    """
    grid, view = brick_grid_of(grid_numbers, table), view_of(view_numbers)
    w, extra = np.zeros(SIZE), 0
    for first in range(begin, end, LANES):
        size = min(LANES, end - first)
        for n in range(size):
            w[T + n] = events[first + n].t
            w[PIXEL + n] = events[first + n].pixel
        find_places(grid, view, w, boolean(False))
        for n in range(size):
            p, flags = int(w[CELL + n]), events[first + n].bits
            at[first + n - begin] = p
            if flags & CAP == 0:
                counts[place_in_bricks(table, p)] += 1
            if flags & OPAQUE == 0:
                extra += 1
            if is_graze(flags):
                extra += 1
    return extra


@kernel
def lay_out(cells: Any, lanes: int, starts: Any, ends: Any) -> int:
    """From the terms in each cell to where they begin; returns the size of all, padded.

    Args:
        cells: those with terms.
        lanes: each cell gets a multiple of so many places.
        starts: `[len(cells) + 1]` filled.
        ends: counts of terms in each cell of the bricks; where its first one goes, afterwards.
    """
    size = 0
    for n in range(len(cells)):
        starts[n] = size
        count = ends[cells[n]]
        ends[cells[n]] = size
        size += (count + lanes - 1) // lanes * lanes
    starts[len(cells)] = size
    return size


@kernel
def repeat_pixels(cells: Any, starts: Any, ends: Any, pixels: Any) -> None:
    """Give the terms of zeros at the end of each cell pixels of the terms before them."""
    for n in range(len(cells)):
        begin, end = int(starts[n]), int(ends[cells[n]])
        for k in range(end, int(starts[n + 1])):
            pixels[k] = pixels[k - (end - begin)]


@kernel
def fill_terms(
    v: Any, grid_numbers: Any, bricks: Any, view_numbers: Any, lights: Any, albedo: Any,
    background: Any, events: Any, begin: int, end: int, first_pixel: int, reattach: int, at: Any,
    ends: Any, pixels: Any, table: Any, corner_cells: Any, corner_pixels: Any, corner_table: Any,
    k: int, mixed: Any, m: int,
) -> tuple[int, int]:  # fmt: skip
    """Write the terms of the events from `begin` to `end`, whole pixels.

    Args:
        v: values of the lattice, in bricks.
        grid_numbers: its size and place, see `grid_of`.
        bricks: where the bricks are, see `BrickGrid`.
        view_numbers: the camera, see `view_of`.
        lights: `[K, 4 + C]`.
        albedo: the albedo lattice.
        background: `[1, C]` or `[N H W, C]`.
        events: in order of pixel and depth.
        begin: the first event of its pixel.
        end: one past the last event of its pixel.
        first_pixel: of the view among those of all views.
        reattach: IMPLICIT or ONE_STEP.
        at: cells of the events from `begin` on, flat indices.
        ends: where the next surface term of each cell goes.
        pixels: see `linear_terms.Terms`, as are the others.
        table: of surface terms.
        corner_cells: of corner terms.
        corner_pixels: of corner terms.
        corner_table: of corner terms.
        k: how many corner terms there are already.
        mixed: list of terms.
        m: how many there are already in `mixed`.

    Returns:
        `k` and `m` afterwards.
    """
    grid, view = brick_grid_of(grid_numbers, bricks), view_of(view_numbers)
    C = lights.shape[1] - INTENSITY
    light, reflected, unit_l, unit_r = np.zeros(C), np.ones(C), np.zeros(C), np.zeros(C)
    colors, behind, motion = np.zeros((MOST_EVENTS, C)), np.zeros(C), np.zeros(C)
    alphas, clear = np.ones(MOST_EVENTS), np.ones(MOST_EVENTS + 1)
    no_lights, no_albedo = np.zeros((0, 0)), np.zeros((0, 0, 0, 0))
    w, g, rows = np.zeros(SIZE), np.zeros(SIZE_READ, v.dtype), np.zeros(C * LANES)
    cells = np.zeros(LANES, np.int64)
    e: Any = int64(begin)
    lane: Any = int64(0)
    while e < end:
        if events[e].bits & ALONE:
            w[PIXEL + lane] = events[e].pixel
            w[T + lane], cells[lane] = events[e].t, at[e - begin]
            e += 1
            lane += 1
        else:
            e, k, m = fill_pixel(
                v, grid, view, lights, albedo, background, events, e, end, first_pixel, reattach,
                at, begin, ends, pixels, table, corner_cells, corner_pixels, corner_table, k,
                mixed, m, light, reflected, unit_l, unit_r, colors, behind, motion, alphas, clear,
                no_lights, no_albedo,
            )  # fmt: skip
        if lane == LANES or (e == end and lane > 0):
            m = _fill_lanes(
                v, grid, view, lights, albedo, first_pixel, reattach, ends, pixels, table,
                mixed, m, light, reflected, unit_r, no_albedo, w, g, rows, cells, lane,
            )  # fmt: skip
            lane = 0
    return k, m


@scalar
def _fill_lanes(
    v: Any, grid: Grid, view: View, lights: Any, albedo: Any, first_pixel: int, reattach: int,
    ends: Any, pixels: Any, table: Any, mixed: Any, m: int,
    light: Any, reflected: Any, unit_r: Any, no_albedo: Any,
    w: Any, g: Any, rows: Any, cells: Any, count: int,
) -> int:  # fmt: skip
    """Write the terms of up to 16 pixels with one opaque crossing each; returns `m`."""
    C, of = len(light), table.dtype.type
    find_places(grid, view, w, boolean(False))
    for n in range(count):
        p = cells[n]
        if int(w[CELL + n]) != p:  # rounded to the other side of a face
            x, y, z = put_place(grid, int(w[CELL + n]), p, w[X + n], w[Y + n], w[Z + n])
            w[X + n], w[Y + n], w[Z + n] = x, y, z
        q, sx, sy = stored(grid, p)
        read_cell(v, sx, sy, q, g, n)
        slot = ends[q]
        ends[q] += 1
        cells[n] = slot
        pixels[slot] = first_pixel + int(w[PIXEL + n])
        table[0, slot], table[1, slot], table[2, slot] = of(w[X + n]), of(w[Y + n]), of(w[Z + n])
        if at_border(grid, p):
            mixed[m] = slot
            m += 1
    find_normals(grid, w, g)
    for c in range(C):
        for row in range(V_NX, V_T + LANES):
            w[row] = 0.0
        for row in range(C * LANES):
            rows[row] = 0.0
        for n in range(LANES):
            rows[LANES * c + n] = 1.0
        if len(albedo):
            for n in range(count):
                d, t = (w[DX + n], w[DY + n], w[DZ + n]), w[T + n]
                albedo_at(albedo, grid, view.o, d, t, reflected)
                irradiance(lights, (w[NX + n], w[NY + n], w[NZ + n]), d, t, light)
                rows[LANES * c + n] = reflected[c]
                unit_r[c] = light[c]
                w[V_X + n], w[V_Y + n], w[V_Z + n] = albedo_adjoint(
                    albedo, grid, view.o, d, t, unit_r, no_albedo, False
                )
            unit_r[c] = 0.0
        pull_light(lights, w, rows)
        pull_points(grid, w, g, reattach)
        r = 3 + 4 * c
        for n in range(count):
            slot = cells[n]
            table[r, slot] = of(w[V_PHI + n])
            table[r + 1, slot] = of(0.5 * w[V_GX + n] * grid.ih[0])
            table[r + 2, slot] = of(0.5 * w[V_GY + n] * grid.ih[1])
            table[r + 3, slot] = of(0.5 * w[V_GZ + n] * grid.ih[2])
    return m
