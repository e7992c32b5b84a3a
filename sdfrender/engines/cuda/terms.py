"""What each pixel depends on, as lists of local terms: which thread writes which.

See `engines.cpu.jacobian.linear_terms` for the terms. One thread takes one pixel that comes near.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numba import cuda, float64, int64

from sdfrender.engines.cuda.target import kernel
from sdfrender.kernels.adjoint import point_adjoint
from sdfrender.kernels.pixel.terms import depth_rate, fill_pixel
from sdfrender.kernels.ray_walk import CAP, CROSSING, OPAQUE
from sdfrender.kernels.surface_point import place, surface_point
from sdfrender.kernels.trilinear_cell import grid_of
from sdfrender.kernels.view import pixel_ray, view_of

PLACE = 3  # rows of a surface term before its coefficients: x, y, z
TERMS = 3  # of an event at most: shading, motion of a graze, coverage


@lru_cache
def fill_for(C: int, most: int, reattach: int) -> Any:
    """The kernel `fill` for images of C channels and up to `most` events per ray."""
    passed, listed = most + 1, TERMS * most

    def fill(
        v: Any, grid_numbers: Any, views: Any, lights: Any, albedo: Any, background: Any,
        pixels: Any, events: Any, counts: Any, size: int, firsts: Any, corner_firsts: Any,
        cells: Any, owners: Any, table: Any, corner_cells: Any, corner_owners: Any,
        corner_table: Any, no_lights: Any, no_albedo: Any,
    ) -> None:  # fmt: skip
        """Write the terms of images and silhouettes.

        Args:
            v: the padded lattice.
            grid_numbers: its size and place.
            views: `[N, 18]` the cameras.
            lights: `[1 or N, K, 4 + C]`.
            albedo: the albedo lattice.
            background: `[1, C]` or `[N H W, C]`.
            pixels: `[K]` as in `forward.walk`, as are the next two.
            events: `[K, most]`.
            counts: `[K]`.
            size: pixels of a view.
            firsts: `[K]` where the surface terms of each pixel go.
            corner_firsts: `[K]` likewise, of the corner terms.
            cells: `[S]` filled; left as they are where there is no term, as are all others.
            owners: `[S]` flat index over all views of the term's pixel.
            table: `[3 + 4 C, S]`.
            corner_cells: `[E]`.
            corner_owners: `[E]`.
            corner_table: `[E, 8 + C + 1]`.
            no_lights: `[0, 0]`.
            no_albedo: `[0, 0, 0, 0]`.
        """
        k = cuda.grid(1)
        if k >= pixels.shape[0] or counts[k] == 0:
            return
        n = pixels[k] // size
        light, reflected = cuda.local.array(C, float64), cuda.local.array(C, float64)
        unit_l, unit_r = cuda.local.array(C, float64), cuda.local.array(C, float64)
        behind, motion = cuda.local.array(C, float64), cuda.local.array(C, float64)
        colors, alphas = cuda.local.array((most, C), float64), cuda.local.array(most, float64)
        clear, at = cuda.local.array(passed, float64), cuda.local.array(most, int64)
        mixed, following = cuda.local.array(listed, int64), cuda.local.array(1, int64)
        for c in range(C):
            light[c], reflected[c], unit_l[c], unit_r[c] = 0.0, 1.0, 0.0, 0.0
        clear[0] = 1.0
        grid, view = grid_of(grid_numbers), view_of(views[n])
        d, _ = pixel_ray(view, pixels[k] - n * size)
        slot = firsts[k]
        following[0] = slot
        for e in range(counts[k] - 1, -1, -1):  # in the order of `fill_pixel`
            at[e] = place(grid, view.o, d, float64(events[k, e].t)).p
            if int64(events[k, e].bits) & CAP == 0:
                cells[slot] = at[e]
                slot += 1
        fill_pixel(
            v, grid, view, lights[n % lights.shape[0]], albedo, background, events[k], 0,
            int64(counts[k]), n * size, reattach, at, 0, following, owners, table,
            corner_cells, corner_owners, corner_table, corner_firsts[k], mixed, 0,
            light, reflected, unit_l, unit_r, colors, behind, motion, alphas, clear,
            no_lights, no_albedo,
        )  # fmt: skip

    return kernel(fill)


@lru_cache
def fill_hits_for(reattach: int, depths: bool, normals: bool) -> Any:
    """The kernel `fill_hits` for the outputs that are wanted."""

    def fill_hits(
        v: Any, grid_numbers: Any, views: Any, pixels: Any, events: Any, counts: Any, size: int,
        cells: Any, table: Any, rates: Any,
    ) -> None:  # fmt: skip
        """Write the terms of depths and normals: of the first hit, unless it is on the box.

        Args:
            v: the padded lattice.
            grid_numbers: its size and place.
            views: `[N, 18]` the cameras.
            pixels: `[K]` as in `forward.walk`, as are the next two.
            events: `[K, most]`.
            counts: `[K]`.
            size: pixels of a view.
            cells: `[K]` filled where there is a term.
            table: `[3, K]` places, or `[3 + 4·3, K]` of the normals' surface terms.
            rates: `[K]` of depth terms.
        """
        k = cuda.grid(1)
        if k >= pixels.shape[0]:
            return
        e = 0
        while e < counts[k] and int64(events[k, e].bits) & (CROSSING | CAP) == 0:
            e += 1
        if e >= counts[k] or int64(events[k, e].bits) & CAP != 0:
            return
        n = pixels[k] // size
        grid, view = grid_of(grid_numbers), view_of(views[n])
        d, cosine = pixel_ray(view, pixels[k] - n * size)
        t, zero, of = float64(events[k, e].t), (0.0, 0.0, 0.0), table.dtype.type
        point = surface_point(v, grid, view.o, d, t, CROSSING)
        cells[k] = point.at.p
        table[0, k], table[1, k] = of(point.at.x), of(point.at.y)
        table[2, k] = of(point.at.z)
        if depths:
            rates[k] = of(depth_rate(v, grid, point.at, d, cosine, reattach))
        if normals:
            for c in range(3):
                v_n = (1.0 if c == 0 else 0.0, 1.0 if c == 1 else 0.0, 1.0 if c == 2 else 0.0)
                a = point_adjoint(
                    grid, point, d, t, CROSSING | OPAQUE, reattach, v_n, zero, zero, 0.0
                )
                r = PLACE + 4 * c
                table[r, k] = of(a.v_phi)
                table[r + 1, k] = of(0.5 * a.v_G[0] * grid.ih[0])
                table[r + 2, k] = of(0.5 * a.v_G[1] * grid.ih[1])
                table[r + 3, k] = of(0.5 * a.v_G[2] * grid.ih[2])

    return kernel(fill_hits)
