"""From the lattice to events and pixels: which thread does what.

`approach` sends one thread along the ray of every pixel to where it first comes near the surface.
Most rays of most views never do; the others are listed, and only they are looked at further:
`walk` finds their events, `shade` composites them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numba import cuda, float64

from sdfrender.engines.cuda.target import kernel
from sdfrender.kernels.pixel.shade import shade_events
from sdfrender.kernels.ray_walk import find_events, first_near
from sdfrender.kernels.trilinear_cell import grid_of, in_cells
from sdfrender.kernels.view import pixel_ray, view_of


@kernel
def approach(
    v: Any, block_low: Any, grid_numbers: Any, views: Any, coverage: bool, starts: Any
) -> None:
    """Fill `starts` `[N H W]`: where each ray first comes near, −1 where it never does.

    Arguments as in `walk`.
    """
    index = cuda.grid(1)
    if index >= starts.shape[0]:
        return
    pixels = starts.shape[0] // views.shape[0]
    n = index // pixels
    grid, view = grid_of(grid_numbers), view_of(views[n])
    d, cosine = pixel_ray(view, index - n * pixels)
    U, D = in_cells(grid, view.o, d)
    starts[index] = first_near(v, block_low, grid, U, D, cosine / view.focal, coverage)


@kernel
def walk(
    v: Any, block_low: Any, grid_numbers: Any, views: Any, coverage: bool,
    pixels: Any, starts: Any, events: Any, counts: Any,
) -> None:  # fmt: skip
    """Find the events of the pixels that come near.

    Args:
        v: `[(X+2)(Y+2)(Z+2)]` the padded lattice.
        block_low: smallest value in each block of cells.
        grid_numbers: size and place of the lattice, 15 numbers, see `grid_of`.
        views: `[N, 18]` the cameras, see `view_of`.
        coverage: find grazes too.
        pixels: `[K]` flat index over all views.
        starts: `[N H W]` where their rays first come near.
        events: `[K, most]` filled from the front.
        counts: `[K]` how many there are.
    """
    k = cuda.grid(1)
    if k >= pixels.shape[0]:
        return
    size = starts.shape[0] // views.shape[0]
    n = pixels[k] // size
    pixel = pixels[k] - n * size
    grid, view = grid_of(grid_numbers), view_of(views[n])
    d, cosine = pixel_ray(view, pixel)
    U, D = in_cells(grid, view.o, d)
    counts[k] = find_events(
        v, block_low, grid, U, D, cosine / view.focal, starts[pixels[k]], coverage,
        events.shape[1], pixel, events[k], 0,
    )  # fmt: skip


@lru_cache
def shade_for(C: int) -> Any:
    """The kernel `shade` for images of C channels."""

    def shade(
        v: Any, grid_numbers: Any, views: Any, lights: Any, albedo: Any,
        pixels: Any, events: Any, counts: Any,
        colors: Any, silhouettes: Any, depths: Any, normals: Any, hits: Any,
    ) -> None:  # fmt: skip
        """Composite the events of each pixel, and take its first hit.

        Args:
            v: the padded lattice.
            grid_numbers: its size and place.
            views: `[N, 18]` the cameras.
            lights: `[1 or N, K, 4 + C]`, see `light_terms`.
            albedo: `[X, Y, Z, C]`, or `[0, 0, 0, C]` for 1.
            pixels: `[K]` as in `walk`, as are the next two.
            events: `[K, most]`.
            counts: `[K]`.
            colors: `[N, H W, C]` zero at first.
            silhouettes: `[N, H W]` likewise.
            depths: `[N, H W]` infinite at first.
            normals: `[N, H W, 3]` zero at first.
            hits: `[N, H W]` bool, likewise.
        """
        k = cuda.grid(1)
        if k >= pixels.shape[0] or counts[k] == 0:
            return
        n = pixels[k] // silhouettes.shape[1]
        light, reflected = cuda.local.array(C, float64), cuda.local.array(C, float64)
        for c in range(C):
            light[c], reflected[c] = 0.0, 1.0
        shade_events(
            v, grid_of(grid_numbers), view_of(views[n]), lights[n % lights.shape[0]], albedo,
            events[k], 0, counts[k],
            colors[n], silhouettes[n], depths[n], normals[n], hits[n], light, reflected,
        )  # fmt: skip

    return kernel(shade)
