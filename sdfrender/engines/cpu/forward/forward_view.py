"""One view: from the lattice to events and pixels.

A pixel is *simple* if its ray grazes nothing before the first hit and then goes half a pixel deep
inside: then one polished hit from the raster is all there is to it. Every other ray is walked cell
by cell in float64, from where the raster found something to look at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, int64

from sdfrender.engines.cpu.forward.raster_tile import FAR
from sdfrender.kernels.arrays import Doubles, Events, Flags, Floats, Ints, Singles
from sdfrender.kernels.bricks import brick_grid_of, cell_corners, stored
from sdfrender.kernels.compiled import kernel, scalar
from sdfrender.kernels.lane_steps import (
    CELL,
    COSINE,
    DEEP,
    DEPTH,
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
    TRUSTED,
    T,
    find_light,
    find_normals,
    find_places,
    polish,
    read_cell,
)
from sdfrender.kernels.light_terms import INTENSITY
from sdfrender.kernels.pixel.shade import shade_events
from sdfrender.kernels.ray_walk import ALONE, CROSSING, OPAQUE, box_interval, find_events
from sdfrender.kernels.surface_point import albedo_at
from sdfrender.kernels.trilinear_cell import Grid, blend, in_cells, locate
from sdfrender.kernels.view import View, pixel_ray, view_of

CELLS_AHEAD = 6  # looked at before a walk
NUDGE = 1e-6  # into the next cell, in units of the spacing
STEP_BACK = 0.03  # walks begin this far before what the raster saw, in units of the spacing


@kernel
def render_rows(
    v: Floats, block_low: Floats, caps: bool, grid_numbers: Doubles, table: Ints,
    view_numbers: Doubles, tiles: Singles, marks: Singles, drawn: bool, y0: int, y1: int,
    coverage: bool, most: int, lights: Doubles, albedo: Floats, events: Events,
    colors: Floats, silhouettes: Floats, depths: Floats, normals: Floats, hits: Flags,
) -> int:  # fmt: skip
    """Find and show what the pixels in rows `y0 … y1` see.

    Args:
        v: values of the lattice, in bricks.
        block_low: as in `find_events`.
        caps: the solid reaches the faces of the box.
        grid_numbers: size and place of the lattice, see `grid_of`.
        table: where the bricks are, see `BrickGrid`.
        view_numbers: the camera, see `view_of`.
        tiles: depths of the first hits, as `draw` finds them.
        marks: depths at which to look for grazes, likewise.
        drawn: use these; otherwise walk every ray from the start.
        y0: first row, a multiple of 4.
        y1: one past the last row.
        coverage: find grazes too.
        most: events per ray.
        lights: `[K, 4 + C]`, see `light_terms`.
        albedo: `[X, Y, Z, C]` over the lattice's box; `[0, 0, 0, C]` for 1.
        events: written from its front, in order of pixel and depth.
        colors: `[H W, C]` premultiplied; zero at first, as all the others are.
        silhouettes: `[H W]`.
        depths: `[H W]`, made infinite where there is no hit.
        normals: `[H W, 3]`.
        hits: `[H W]` bool.

    Returns:
        How many events there are.
    """
    grid, view = brick_grid_of(grid_numbers, table), view_of(view_numbers)
    across = (view.width + 3) >> 2
    w, g, starts = np.zeros(SIZE), np.zeros(SIZE_READ, v.dtype), np.zeros(LANES)
    C = lights.shape[1] - INTENSITY
    light, reflected, rows = np.zeros(C), np.ones(C), np.zeros(C * LANES)
    back = STEP_BACK * grid.h_min
    count: Any = int64(0)
    lane: Any = int64(0)
    for y in range(y0, y1):
        for x in range(view.width):
            depths[y * view.width + x] = np.inf
        for x in range(view.width + 1):
            if x < view.width:
                z, start = FAR, FAR
                if drawn:
                    tile, place = ((y - y0) >> 2) * across + (x >> 2), ((y & 3) << 2) + (x & 3)
                    z = tiles[tile, place]
                    start = min(z, marks[tile, place]) if coverage else z
                    if start >= FAR:
                        continue
                w[PIXEL + lane] = y * view.width + x
                # what is marked is not simple
                w[DEPTH + lane] = z if start == z and drawn else 0.0
                starts[lane] = start if drawn else 0.0
                lane += 1
            if lane < LANES and not (x == view.width and y == y1 - 1):
                continue
            if drawn:
                find_places(grid, view, w, boolean(True))
                for n in range(lane):
                    q, sx, sy = stored(grid, int(w[CELL + n]))
                    read_cell(v, sx, sy, q, g, n)
                polish(grid, view, w, g, coverage)
                find_normals(grid, w, g)
                find_light(lights, w, rows)
            for n in range(lane):
                pixel = int(w[PIXEL + n])
                t = w[T + n]
                simple = w[TRUSTED + n] > 0 and w[DEPTH + n] > 0
                if simple and caps:
                    simple = _enters_outside(v, grid, view, pixel)
                if simple and coverage and w[DEEP + n] == 0:
                    simple = _goes_deep(v, grid, view, pixel, t)
                if simple:
                    events[count].pixel = pixel
                    events[count].bits = CROSSING | OPAQUE | ALONE
                    events[count].t = t
                    events[count].t_min = t
                    count += 1
                    if len(albedo):
                        d = (w[DX + n], w[DY + n], w[DZ + n])
                        albedo_at(albedo, grid, view.o, d, t, reflected)
                    for c in range(C):
                        colors[pixel, c] = reflected[c] * rows[LANES * c + n]
                    silhouettes[pixel] = 1
                    depths[pixel] = t * w[COSINE + n]
                    normals[pixel, 0], normals[pixel, 1] = w[NX + n], w[NY + n]
                    normals[pixel, 2] = w[NZ + n]
                    hits[pixel] = True
                    continue
                first = count
                count = walk(
                    v, block_low, grid, view, pixel, starts[n], back, coverage, most, events, count
                )
                if count > first:
                    shade_events(
                        v, grid, view, lights, albedo, events, first, count,
                        colors, silhouettes, depths, normals, hits, light, reflected,
                    )  # fmt: skip
            lane = 0
    return int(count)


@scalar
def _enters_outside(v: Floats, grid: Grid, view: View, pixel: int) -> bool:
    """Whether a ray is outside the solid where it enters the box, so that its hit is no cap."""
    d, _ = pixel_ray(view, pixel)
    U, D = in_cells(grid, view.o, d)
    t, _ = box_interval(grid, U, D)
    p, x, y, z = locate(grid, U[0] + t * D[0], U[1] + t * D[1], U[2] + t * D[2])
    return bool(blend(cell_corners(v, grid, int(p)), x, y, z) > 0)


@scalar
def _goes_deep(v: Floats, grid: Grid, view: View, pixel: int, t: float) -> bool:
    """Whether a ray that crosses the surface at `t` gets half a pixel deep before its dip ends.

    Looks at the next few cells only: False may also mean that it takes longer.
    """
    d, cosine = pixel_ray(view, pixel)
    U, D = in_cells(grid, view.o, d)
    for _ in range(CELLS_AHEAD):
        p, x, y, z = locate(grid, U[0] + t * D[0], U[1] + t * D[1], U[2] + t * D[2])
        L = min(
            ((1 - x) if D[0] >= 0 else -x) / D[0],
            ((1 - y) if D[1] >= 0 else -y) / D[1],
            ((1 - z) if D[2] >= 0 else -z) / D[2],
        )
        c = cell_corners(v, grid, int(p))
        t += L
        pixels = blend(c, x + L * D[0], y + L * D[1], z + L * D[2]) * view.focal / (t * cosine)
        if pixels <= -0.5:
            return True
        if pixels > 0.5:
            return False
        t += NUDGE * grid.h_min
    return False


@scalar
def walk(
    v: Floats, block_low: Floats, grid: Grid, view: View, pixel: int,
    depth: float, back: float, coverage: bool, most: int, events: Events, count: int,
) -> int:  # fmt: skip
    """Append the events of a pixel from some depth on; returns how many there are now.

    Arguments as in `render_rows`; `depth` is along the optical axis, `back` a way along the ray,
    both world units.
    """
    d, cosine = pixel_ray(view, pixel)
    U, D = in_cells(grid, view.o, d)
    start = 0.0
    if depth > 0:
        start = depth / cosine - back
        p, x, y, z = locate(grid, U[0] + start * D[0], U[1] + start * D[1], U[2] + start * D[2])
        if blend(cell_corners(v, grid, int(p)), x, y, z) <= 0:
            start = 0.0  # the raster's root was too far out
    return find_events(
        v, block_low, grid, U, D, cosine / view.focal, start, coverage, most, pixel, events, count
    )
