"""From derivatives in the pixels of one view back to the lattice, the light and the camera."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, int64

from sdfrender.kernels.adjoint import PointAdjoint, albedo_adjoint, light_adjoint, point_stencil
from sdfrender.kernels.arrays import Doubles, Events, Floats, Ints
from sdfrender.kernels.bricks import brick_grid_of, stored
from sdfrender.kernels.compiled import inlined, kernel
from sdfrender.kernels.lane_steps import (
    CELL,
    COSINE,
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
    V_DX,
    V_DY,
    V_DZ,
    V_GX,
    V_GY,
    V_GZ,
    V_NX,
    V_NY,
    V_NZ,
    V_OX,
    V_OY,
    V_OZ,
    V_PHI,
    V_T,
    V_X,
    V_Y,
    V_Z,
    T,
    find_normals,
    find_places,
    place_of,
    pull_light,
    pull_points,
    read_cell,
)
from sdfrender.kernels.light_terms import INTENSITY, irradiance
from sdfrender.kernels.pixel.pull import add_ray, pull_pixel
from sdfrender.kernels.ray_walk import ALONE, MOST_EVENTS
from sdfrender.kernels.surface_point import albedo_at
from sdfrender.kernels.trilinear_cell import Grid, add_to_stencil
from sdfrender.kernels.view import View, view_of


@kernel
def pull_back(
    v: Floats, grid_numbers: Doubles, table: Ints, view_numbers: Doubles, lights: Doubles,
    albedo: Floats, events: Events, begin: int, end: int, reattach: int,
    v_colors: Floats, v_silhouettes: Floats, v_depths: Floats, v_normals: Floats,
    v_values: Floats, v_lights: Doubles, v_albedo: Floats, v_views: Doubles, n_view: int,
    want_light: bool, want_camera: bool,
) -> None:  # fmt: skip
    """Add what the events from `begin` to `end` say about lattice, light and camera.

    Args:
        v: values of the lattice, in bricks.
        grid_numbers: its size and place, see `grid_of`.
        table: where the bricks are, see `BrickGrid`.
        view_numbers: the camera, see `view_of`.
        lights: `[K, 4 + C]`.
        albedo: the albedo lattice.
        events: in order of pixel and depth.
        begin: the first event of its pixel.
        end: one past the last event of its pixel.
        reattach: IMPLICIT or ONE_STEP.
        v_colors: `[H W, C]` derivatives in the images; empty where there are none.
        v_silhouettes: `[H W]`, likewise.
        v_depths: `[H W]`, likewise.
        v_normals: `[H W, 3]`, likewise.
        v_values: added to: as `v`.
        v_lights: added to, if wanted: as `lights`.
        v_albedo: added to, if wanted: as `albedo`.
        v_views: `[N, 16]` added to, if wanted, at `n_view`.
        n_view: see `v_views`.
        want_light: whether those of the light and the albedo are wanted.
        want_camera: whether those of the camera are wanted.
    """
    grid, view = brick_grid_of(grid_numbers, table), view_of(view_numbers)
    C = lights.shape[1] - INTENSITY
    light, reflected, v_light, v_reflected = np.zeros(C), np.ones(C), np.zeros(C), np.zeros(C)
    colors, behind = np.zeros((MOST_EVENTS, C)), np.zeros(C)
    alphas, clear = np.ones(MOST_EVENTS), np.ones(MOST_EVENTS + 1)
    w, g, v_rows = np.zeros(SIZE), np.zeros(SIZE_READ, v.dtype), np.zeros(C * LANES)
    e: Any = int64(begin)
    lane: Any = int64(0)
    while e < end:
        alone = events[e].bits & ALONE != 0
        if alone:
            w[PIXEL + lane], w[T + lane] = events[e].pixel, events[e].t
            e += 1
            lane += 1
        else:
            e = pull_pixel(
                v, grid, view, lights, albedo, events, e, end, reattach,
                v_colors, v_silhouettes, v_depths, v_normals,
                v_values, v_lights, v_albedo, v_views, n_view,
                True, want_light, want_light, want_camera,
                light, reflected, v_light, v_reflected, colors, behind, alphas, clear,
            )  # fmt: skip
        if lane == LANES or (e == end and lane > 0):
            _pull_lanes(
                v, grid, view, lights, albedo, reattach, v_colors, v_depths, v_normals,
                v_values, v_lights, v_albedo, v_views, n_view, want_light, want_camera,
                light, reflected, v_light, v_reflected, v_rows, w, g, lane,
            )  # fmt: skip
            lane = 0


@inlined
def _pull_lanes(
    v: Floats, grid: Grid, view: View, lights: Doubles, albedo: Floats, reattach: int,
    v_colors: Floats, v_depths: Floats, v_normals: Floats,
    v_values: Floats, v_lights: Doubles, v_albedo: Floats, v_views: Doubles, n_view: int,
    want_light: bool, want_camera: bool,
    light: Doubles, reflected: Doubles, v_light: Doubles, v_reflected: Doubles, v_rows: Doubles,
    w: Doubles, g: Floats, count: int,
) -> None:  # fmt: skip
    """`pull_back` for up to 16 pixels with one opaque crossing each."""
    find_places(grid, view, w, boolean(False))
    for n in range(count):
        q, sx, sy = stored(grid, int(w[CELL + n]))
        read_cell(v, sx, sy, q, g, n)
    find_normals(grid, w, g)
    C = len(light)
    for row in range(V_NX, V_T + LANES):
        w[row] = 0.0
    for n in range(count):
        pixel = int(w[PIXEL + n])
        for c in range(C):
            v_rows[LANES * c + n] = v_colors[pixel, c] if len(v_colors) else 0.0
        if len(v_depths):
            w[V_T + n] = v_depths[pixel] * w[COSINE + n]
        if len(v_normals):
            w[V_NX + n], w[V_NY + n] = v_normals[pixel, 0], v_normals[pixel, 1]
            w[V_NZ + n] = v_normals[pixel, 2]
    if len(albedo) or want_light:
        for n in range(count):
            d, t = (w[DX + n], w[DY + n], w[DZ + n]), w[T + n]
            normal = (w[NX + n], w[NY + n], w[NZ + n])
            albedo_at(albedo, grid, view.o, d, t, reflected)
            irradiance(lights, normal, d, t, light)
            for c in range(C):
                v_reflected[c] = v_rows[LANES * c + n] * light[c]
                v_rows[LANES * c + n] *= reflected[c]
                v_light[c] = v_rows[LANES * c + n]
            v_x = albedo_adjoint(albedo, grid, view.o, d, t, v_reflected, v_albedo, want_light)
            w[V_X + n], w[V_Y + n], w[V_Z + n] = v_x
            if want_light:
                light_adjoint(lights, normal, d, t, v_light, v_lights, want_light)
    pull_light(lights, w, v_rows)
    pull_points(grid, w, g, reattach)
    for n in range(count):
        at = place_of(w, n)
        v_G = (w[V_GX + n], w[V_GY + n], w[V_GZ + n])
        v_o, v_d = (w[V_OX + n], w[V_OY + n], w[V_OZ + n]), (w[V_DX + n], w[V_DY + n], w[V_DZ + n])
        a = PointAdjoint(w[V_PHI + n], 0.0, v_G, v_o, v_d)
        q, sx, sy = stored(grid, at.p)
        add_to_stencil(v_values, q, sx, sy, point_stencil(grid, at, a))
        if want_camera:
            pixel = int(w[PIXEL + n])
            d, cosine = (w[DX + n], w[DY + n], w[DZ + n]), w[COSINE + n]
            v_cosine = float(v_depths[pixel]) * w[T + n] if len(v_depths) else 0.0
            add_ray(view, pixel, d, cosine, v_o, v_d, v_cosine, 0.0, v_views, n_view)
