"""Products with the Jacobian and its transpose, from local terms: which thread takes which.

To go from the lattice to the pixels one thread takes one term. Back from them one thread takes one
cell with all its terms, which lie next to each other, and adds to the 32 vertices once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numba import cuda, float64

from sdfrender.engines.cuda.target import kernel
from sdfrender.engines.cuda.terms import PLACE
from sdfrender.kernels.compiled import add_at
from sdfrender.kernels.pixel.terms import corner_weights, surface_weights, term_samples
from sdfrender.kernels.trilinear_cell import (
    add_to_corners,
    add_to_stencil,
    corners,
    dot,
    stencil,
    weights,
)


@kernel
def push_surface(
    owners: Any, pixels: Any, table: Any, v: Any, sx: int, sy: int, images: Any
) -> None:
    """Add the surface terms' part of the tangent of the images.

    Args:
        owners: `[S]` cells of the terms.
        pixels: `[S]` their pixels.
        table: `[3 + 4 C, S]` place in the cell, then each channel's coefficients.
        v: tangent of the padded lattice.
        sx: its step from one x to the next.
        sy: its step from one y to the next.
        images: `[N H W, C]` added to.
    """
    i = cuda.grid(1)
    if i >= owners.shape[0]:
        return
    p = owners[i]
    w = surface_weights(table, i)
    f, fx, fy, fz = term_samples(v, p, sx, sy, w)
    for c in range(images.shape[1]):
        r = PLACE + 4 * c
        change = (
            table[r, i] * f + table[r + 1, i] * fx + table[r + 2, i] * fy + table[r + 3, i] * fz
        )
        add_at(images, (pixels[i], c), change)


@lru_cache
def pull_surface_for(squared: bool) -> Any:
    """The kernel `pull_surface`; or the one for squares, where images are weights."""

    def pull_surface(
        cells: Any, starts: Any, pixels: Any, table: Any, images: Any, sx: int, sy: int, g: Any
    ) -> None:
        """Add the transpose of `push_surface` to `g`, the padded lattice.

        Args:
            cells: `[K]` cells with terms.
            starts: `[K + 1]` where the terms of each begin.
            pixels: `[S]` of the terms.
            table: `[3 + 4 C, S]` of the terms.
            images: `[N H W, C]`.
            sx: step of the padded lattice from one x to the next.
            sy: from one y to the next.
            g: added to.
        """
        n = cuda.grid(1)
        if n >= cells.shape[0]:
            return
        s = cuda.local.array(32, float64)
        for m in range(32):
            s[m] = 0.0
        for i in range(starts[n], starts[n + 1]):
            w = surface_weights(table, i)
            a, ex, ey, ez = 0.0, 0.0, 0.0, 0.0
            for c in range(images.shape[1]):
                u, r = float64(images[pixels[i], c]), PLACE + 4 * c
                if squared:
                    row = stencil(
                        w, float64(table[r, i]), float64(table[r + 1, i]),
                        float64(table[r + 2, i]), float64(table[r + 3, i]),
                    )  # fmt: skip
                    for m in range(32):
                        s[m] += u * row[m] * row[m]
                else:
                    a, ex = a + u * table[r, i], ex + u * table[r + 1, i]
                    ey, ez = ey + u * table[r + 2, i], ez + u * table[r + 3, i]
            if not squared:
                row = stencil(w, a, ex, ey, ez)
                for m in range(32):
                    s[m] += row[m]
        total = (
            s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7],
            s[8], s[9], s[10], s[11], s[12], s[13], s[14], s[15],
            s[16], s[17], s[18], s[19], s[20], s[21], s[22], s[23],
            s[24], s[25], s[26], s[27], s[28], s[29], s[30], s[31],
        )  # fmt: skip
        add_to_stencil(g, cells[n], sx, sy, total)

    return kernel(pull_surface)


@kernel
def push_corners(
    cells: Any, pixels: Any, table: Any, v: Any, sx: int, sy: int, images: Any, silhouettes: Any
) -> None:
    """Add the corner terms' part of the tangents of images and silhouettes.

    Args:
        cells: `[E]` of the terms.
        pixels: `[E]` of the terms.
        table: `[E, 8 + C + 1]` weights and multipliers.
        v: tangent of the padded lattice.
        sx: its step from one x to the next.
        sy: its step from one y to the next.
        images: `[N H W, C]` added to.
        silhouettes: `[N H W]` added to.
    """
    k = cuda.grid(1)
    if k >= cells.shape[0]:
        return
    C = images.shape[1]
    w = corner_weights(table, k)
    change = dot(w, corners(v, cells[k], sx, sy))
    for c in range(C):
        add_at(images, (pixels[k], c), change * table[k, 8 + c])
    add_at(silhouettes, pixels[k], change * table[k, 8 + C])


@lru_cache
def pull_corners_for(squared: bool) -> Any:
    """The kernel `pull_corners`; or the one for squares, where the images are weights."""
    power = 2 if squared else 1

    def pull_corners(
        cells: Any, pixels: Any, table: Any, images: Any, silhouettes: Any, sx: int, sy: int, g: Any
    ) -> None:
        """Add the transpose of `push_corners` to `g`, the padded lattice."""
        k = cuda.grid(1)
        if k >= cells.shape[0]:
            return
        C = images.shape[1]
        s = silhouettes[pixels[k]] * float64(table[k, 8 + C]) ** power
        for c in range(C):
            s += images[pixels[k], c] * float64(table[k, 8 + c]) ** power
        w = (
            float64(table[k, 0]) ** power, float64(table[k, 1]) ** power,
            float64(table[k, 2]) ** power, float64(table[k, 3]) ** power,
            float64(table[k, 4]) ** power, float64(table[k, 5]) ** power,
            float64(table[k, 6]) ** power, float64(table[k, 7]) ** power,
        )  # fmt: skip
        add_to_corners(g, cells[k], sx, sy, w, s)

    return kernel(pull_corners)


@kernel
def push_depths(
    owners: Any, pixels: Any, places: Any, rates: Any, v: Any, sx: int, sy: int, depths: Any
) -> None:
    """Add the tangent of the depths.

    Args:
        owners: `[S]` cells of the terms.
        pixels: `[S]` their pixels.
        places: `[3, S]` in the cell; further rows are not read.
        rates: `[S]`.
        v: tangent of the padded lattice.
        sx: its step from one x to the next.
        sy: its step from one y to the next.
        depths: `[N H W]` added to.
    """
    i = cuda.grid(1)
    if i >= owners.shape[0]:
        return
    w = weights(float64(places[0, i]), float64(places[1, i]), float64(places[2, i]))
    add_at(depths, pixels[i], rates[i] * dot(w, corners(v, owners[i], sx, sy)))


@lru_cache
def pull_depths_for(squared: bool) -> Any:
    """The kernel `pull_depths`; or the one for squares, where the depths are weights."""
    power = 2 if squared else 1

    def pull_depths(
        owners: Any, pixels: Any, places: Any, rates: Any, depths: Any, sx: int, sy: int, g: Any
    ) -> None:
        """Add the transpose of `push_depths` to `g`, the padded lattice."""
        i = cuda.grid(1)
        if i >= owners.shape[0]:
            return
        w = weights(float64(places[0, i]), float64(places[1, i]), float64(places[2, i]))
        w = (
            w[0] ** power, w[1] ** power, w[2] ** power, w[3] ** power,
            w[4] ** power, w[5] ** power, w[6] ** power, w[7] ** power,
        )  # fmt: skip
        s = depths[pixels[i]] * float64(rates[i]) ** power
        add_to_corners(g, owners[i], sx, sy, w, s)

    return kernel(pull_depths)
