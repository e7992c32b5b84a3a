"""The derivative of images in the lattice and its transpose, from local terms.

Both go over the cells: what the terms of a cell share is read or written once, and the loops over
its terms become vector instructions. Indices of terms are unsigned: a sign, which might mean
counting from the end, would keep the compiler from seeing that neighbours are contiguous.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sdfrender.kernels.compiled import inlined, kernel, lane_kernel
from sdfrender.kernels.trilinear_cell import (
    Corners,
    Stencil,
    add_to_stencil,
    dot,
    lane_weights,
    plus,
)

LANES = np.uint64(8)  # the terms of a cell are padded to a multiple of this
CHUNK = np.uint64(256)  # terms at a time, a multiple of LANES
NONE = np.uint64(0)


@inlined
def lane_samples(v: Any, p: int, sx: int, sy: int) -> Corners:
    """Values at the corners of a cell, in their own precision."""
    q = p + sx
    return v[p], v[p + 1], v[p + sy], v[p + sy + 1], v[q], v[q + 1], v[q + sy], v[q + sy + 1]


@inlined
def lane_differences(v: Any, p: int, sx: int, sy: int, step: int) -> Corners:
    """`trilinear_cell.differences` in their own precision."""
    a, b = p + step, p - step
    return (
        v[a] - v[b], v[a + 1] - v[b + 1],
        v[a + sy] - v[b + sy], v[a + sy + 1] - v[b + sy + 1],
        v[a + sx] - v[b + sx], v[a + sx + 1] - v[b + sx + 1],
        v[a + sx + sy] - v[b + sx + sy], v[a + sx + sy + 1] - v[b + sx + sy + 1],
    )  # fmt: skip


@lane_kernel
def push_surface(
    cells: Any, starts: Any, pixels: Any, table: Any, v: Any, sx: int, sy: int, images: Any
) -> None:
    """Add the surface terms' part of the tangent of the images.

    Args:
        cells: see `linear_terms.Terms`, as are the next three.
        starts: where the terms of each cell begin.
        pixels: of the terms.
        table: of the terms.
        v: tangent of the lattice, in bricks.
        sx: its step from one x to the next.
        sy: its step from one y to the next.
        images: `[N H W, C]` added to.
    """
    one = v.dtype.type(1)
    f, fx = np.zeros(LANES, v.dtype), np.zeros(LANES, v.dtype)
    fy, fz = np.zeros(LANES, v.dtype), np.zeros(LANES, v.dtype)
    out = np.zeros(LANES, v.dtype)
    for n in range(len(cells)):
        p = cells[n]
        phi = lane_samples(v, p, sx, sy)
        dx = lane_differences(v, p, sx, sy, sx)
        dy = lane_differences(v, p, sx, sy, sy)
        dz = lane_differences(v, p, sx, sy, 1)
        for begin in range(starts[n], starts[n + 1], LANES):
            for k in range(LANES):
                i = begin + k
                w = lane_weights(one, table[0, i], table[1, i], table[2, i])
                s, x, y, z = dot(w, phi), dot(w, dx), dot(w, dy), dot(w, dz)
                f[k], fx[k], fy[k], fz[k] = s, x, y, z
                out[k] = table[3, i] * s + table[4, i] * x + table[5, i] * y + table[6, i] * z
            for k in range(LANES):
                images[pixels[begin + k], 0] += out[k]
            for c in range(1, images.shape[1]):
                r = 3 + 4 * c
                for k in range(LANES):
                    i = begin + k
                    out[k] = (
                        table[r, i] * f[k] + table[r + 1, i] * fx[k]
                        + table[r + 2, i] * fy[k] + table[r + 3, i] * fz[k]
                    )  # fmt: skip
                for k in range(LANES):
                    images[pixels[begin + k], c] += out[k]


@lane_kernel
def pull_surface(
    cells: Any, starts: Any, pixels: Any, table: Any, images: Any, sx: int, sy: int, g: Any
) -> None:
    """The transpose of `push_surface`: from `images` into `g`, laid out as `v`."""
    one, zero = g.dtype.type(1), g.dtype.type(0)
    u = np.zeros(LANES, g.dtype)
    f, fx = np.zeros(CHUNK, g.dtype), np.zeros(CHUNK, g.dtype)
    fy, fz = np.zeros(CHUNK, g.dtype), np.zeros(CHUNK, g.dtype)
    for n in range(len(cells)):
        # sums over the terms, at each corner, for φ and the differences along x, y and z
        a = x = y = z = (zero, zero, zero, zero, zero, zero, zero, zero)
        for begin in range(starts[n], starts[n + 1], CHUNK):
            size = min(CHUNK, starts[n + 1] - begin)
            for b in range(NONE, size, LANES):
                for k in range(LANES):
                    u[k] = images[pixels[begin + b + k], 0]
                for k in range(LANES):
                    i, j, s = begin + b + k, b + k, u[k]
                    f[j], fx[j] = s * table[3, i], s * table[4, i]
                    fy[j], fz[j] = s * table[5, i], s * table[6, i]
                for c in range(1, images.shape[1]):
                    r = 3 + 4 * c
                    for k in range(LANES):
                        u[k] = images[pixels[begin + b + k], c]
                    for k in range(LANES):
                        i, j, s = begin + b + k, b + k, u[k]
                        f[j] += s * table[r, i]
                        fx[j] += s * table[r + 1, i]
                        fy[j] += s * table[r + 2, i]
                        fz[j] += s * table[r + 3, i]
            for k in range(size):
                i = begin + k
                w = lane_weights(one, table[0, i], table[1, i], table[2, i])
                a, x = plus(a, f[k], w), plus(x, fx[k], w)
            for k in range(size):  # a second loop: the sums stay in registers
                i = begin + k
                w = lane_weights(one, table[0, i], table[1, i], table[2, i])
                y, z = plus(y, fy[k], w), plus(z, fz[k], w)
        add_to_stencil(g, cells[n], sx, sy, _cell_stencil(a, x, y, z))


@inlined
def _cell_stencil(a: Corners, x: Corners, y: Corners, z: Corners) -> Stencil:
    """`trilinear_cell.stencil`, for `Σ a_k φ_k + Σ x_k dx_k + …` with sums over the corners."""
    return (
        a[0] - x[4] - y[2] - z[1], a[1] - x[5] - y[3] + z[0],
        a[2] - x[6] + y[0] - z[3], a[3] - x[7] + y[1] + z[2],
        a[4] + x[0] - y[6] - z[5], a[5] + x[1] - y[7] + z[4],
        a[6] + x[2] + y[4] - z[7], a[7] + x[3] + y[5] + z[6],
        -x[0], x[4], -x[1], x[5], -x[2], x[6], -x[3], x[7],
        -y[0], y[2], -y[1], y[3], -y[4], y[6], -y[5], y[7],
        -z[0], z[1], -z[2], z[3], -z[4], z[5], -z[6], z[7],
    )  # fmt: skip


@kernel
def push_corners(
    cells: Any, pixels: Any, table: Any, v: Any, sx: int, sy: int, images: Any, silhouettes: Any
) -> None:
    """Add the corner terms' part of the tangents of images `[N H W, C]` and silhouettes `[N H W]`.

    Args:
        cells: see `linear_terms.Terms`, as are the next two.
        pixels: of the terms.
        table: of the terms.
        v: tangent of the lattice, in bricks.
        sx: its step from one x to the next.
        sy: its step from one y to the next.
        images: added to.
        silhouettes: added to.
    """
    C = images.shape[1]
    for k in range(len(cells)):
        f = lane_samples(v, cells[k], sx, sy)
        s = (
            table[k, 0] * f[0] + table[k, 1] * f[1] + table[k, 2] * f[2] + table[k, 3] * f[3]
            + table[k, 4] * f[4] + table[k, 5] * f[5] + table[k, 6] * f[6] + table[k, 7] * f[7]
        )  # fmt: skip
        for c in range(C):
            images[pixels[k], c] += s * table[k, 8 + c]
        silhouettes[pixels[k]] += s * table[k, 8 + C]


@kernel
def pull_corners(
    cells: Any, pixels: Any, table: Any, images: Any, silhouettes: Any, sx: int, sy: int, g: Any
) -> None:
    """The transpose of `push_corners`: from `images` and `silhouettes` into `g`."""
    C = images.shape[1]
    for k in range(len(cells)):
        s = silhouettes[pixels[k]] * table[k, 8 + C]
        for c in range(C):
            s += images[pixels[k], c] * table[k, 8 + c]
        p, q = cells[k], cells[k] + sx
        g[p] += s * table[k, 0]
        g[p + 1] += s * table[k, 1]
        g[p + sy] += s * table[k, 2]
        g[p + sy + 1] += s * table[k, 3]
        g[q] += s * table[k, 4]
        g[q + 1] += s * table[k, 5]
        g[q + sy] += s * table[k, 6]
        g[q + sy + 1] += s * table[k, 7]
