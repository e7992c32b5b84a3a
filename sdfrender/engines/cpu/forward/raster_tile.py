"""One cell drawn into one tile: 16 rays through it together, in float32.

The notation is that of `raster.py`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import float32 as f32

from sdfrender.engines.cpu.forward.near_cells import CUBIC, HUGE, SLOPES
from sdfrender.kernels.arrays import Singles
from sdfrender.kernels.compiled import inlined_lanes, lanes

Float: TypeAlias = Any  # float32: a wider number would widen all that it meets
Corner = tuple[Float, Float, Float]
Rays = tuple[Float, Float, Float, Float, Float, Float, Float, Float, Float]
Cubic = tuple[Float, Float, Float, Float, Float, Float, Float, Float]  # see `near_cells.CUBIC`
Box = tuple[Float, Float, Float, Float, Float, Float]  # from x, y, z to x, y, z, less U
FAR = np.float32(1e30)  # depth of a pixel that nothing covers
NEWTON_STEPS = 2  # in a bracket, from the secant; what is found is polished in float64
LANES = 16
ROWS = 8  # of scratch


def scratch() -> Singles:
    """Room for one tile's lanes."""
    return np.zeros(ROWS * LANES, np.float32)


@inlined_lanes
def tile_rays(view: Singles, X: Float, Y: Float) -> Rays:
    """Ray of a tile's first pixel `(X, Y)` in a view `[VIEW]`, and the steps to the next ones."""
    return (
        view[0] + X * view[3] + Y * view[6],
        view[1] + X * view[4] + Y * view[7],
        view[2] + X * view[5] + Y * view[8],
        view[3], view[4], view[5], view[6], view[7], view[8],
    )  # fmt: skip


@inlined_lanes
def _through(rays: Rays, n: int, box: Box) -> tuple[Float, Float, Float, Float, Float]:
    """Direction of a tile's nth ray, and the depths where it enters and leaves a box."""
    D0, D1, D2, u0, u1, u2, v0, v1, v2 = rays
    l0, l1, l2, h0, h1, h2 = box
    one, tiny = f32(1), f32(1e-20)
    px, py = f32(n & 3), f32(n >> 2)
    dx, dy, dz = D0 + px * u0 + py * v0, D1 + px * u1 + py * v1, D2 + px * u2 + py * v2
    dx = dx if abs(dx) > tiny else tiny
    dy = dy if abs(dy) > tiny else tiny
    dz = dz if abs(dz) > tiny else tiny
    ix, iy, iz = one / dx, one / dy, one / dz
    a, c = l0 * ix, h0 * ix
    t0, t1 = min(a, c), max(a, c)
    a, c = l1 * iy, h1 * iy
    t0, t1 = max(t0, min(a, c)), min(t1, max(a, c))
    a, c = l2 * iz, h2 * iz
    return dx, dy, dz, max(t0, min(a, c)), min(t1, max(a, c))


@inlined_lanes
def _cubic(r: Singles, i: int) -> Cubic:
    """Coefficients of φ in cell i."""
    return (
        r[i, CUBIC], r[i, CUBIC + 1], r[i, CUBIC + 2], r[i, CUBIC + 3],
        r[i, CUBIC + 4], r[i, CUBIC + 5], r[i, CUBIC + 6], r[i, CUBIC + 7],
    )  # fmt: skip


@lanes
def _cubics(
    w: Singles, limit: Singles, tile: int, r: Singles, i: int, rays: Rays, box: Box, e: Corner
) -> Float:
    """For 16 rays: entry, length and cubic in a box of cell i; how many meet it.

    Rows of 16 in `w`: 0 entry depth, 1 length or -1, 2 to 5 the cubic's coefficients in depth.
    """
    k0, k1, k2, k3, k4, k5, k6, k7 = _cubic(r, i)
    e0, e1, e2 = e
    zero, one = f32(0), f32(1)
    live = zero
    for n in range(LANES):
        dx, dy, dz, t0, t1 = _through(rays, n, box)
        t0 = max(t0, zero)
        L = t1 - t0
        L = L if t0 < limit[tile, n] else -one
        live += one if zero <= L else zero
        x, y, z = dx * t0 - e0, dy * t0 - e1, dz * t0 - e2
        xy, dxy, m = x * y, dx * dy, x * dy + y * dx
        p, q = k3 + k5 * x + k6 * y + k7 * xy, k5 * dx + k6 * dy + k7 * m
        w[n] = t0
        w[16 + n] = L
        w[32 + n] = k0 + k1 * x + k2 * y + k4 * xy + z * p
        w[48 + n] = k1 * dx + k2 * dy + k4 * m + dz * p + z * q
        w[64 + n] = k4 * dxy + dz * q + k7 * dxy * z
        w[80 + n] = k7 * dxy * dz
    return live


@inlined_lanes
def falling_tile(
    tiles: Singles, tile: int, r: Singles, i: int, rays: Rays, box: Box, e: Corner
) -> None:
    """Lower the depths of 16 pixels to where they meet a cell in which φ falls along every ray.

    φ at both ends tells whether there is a root, and the chord between them about where; which of
    two cells is nearer does not depend on it. Arguments as in `hit_tile`.
    """
    k0, k1, k2, k3, k4, k5, k6, k7 = _cubic(r, i)
    e0, e1, e2 = e
    zero, one = f32(0), f32(1)
    for n in range(LANES):
        dx, dy, dz, t0, t1 = _through(rays, n, box)
        x, y, z = dx * t0 - e0, dy * t0 - e1, dz * t0 - e2
        f0 = k0 + k1 * x + k2 * y + k4 * x * y + z * (k3 + k5 * x + k6 * y + k7 * x * y)
        x, y, z = dx * t1 - e0, dy * t1 - e1, dz * t1 - e2
        f1 = k0 + k1 * x + k2 * y + k4 * x * y + z * (k3 + k5 * x + k6 * y + k7 * x * y)
        s = f0 / max(f0 - f1, f32(1e-30))
        t = t0 + min(max(s, zero), one) * (t1 - t0)
        t = t if t1 >= t0 else FAR
        t = t if f1 <= zero else FAR
        tiles[tile, n] = min(t, tiles[tile, n])


@lanes
def hit_tile(
    tiles: Singles, tile: int, r: Singles, i: int, rays: Rays, box: Box, e: Corner, w: Singles
) -> None:
    """Lower the depths of 16 pixels to their first roots in one cell.

    Args:
        tiles: `[tiles, 16]` depths.
        tile: which of them.
        r: `[C, COLUMNS]` records of cells, see `near_cells`.
        i: which of them.
        rays: of the tile.
        box: the part of the cell to look into, less the eye, in vertex indices.
        e: the cell's first corner, less the eye, in vertex indices.
        w: `scratch()`.
    """
    zero, one, two, three, half = f32(0), f32(1), f32(2), f32(3), f32(0.5)
    if _cubics(w, tiles, tile, r, i, rays, box, e) == zero:
        return
    hits, turns = zero, zero
    for n in range(LANES):
        L, c0, c1, c2, c3 = w[16 + n], w[32 + n], w[48 + n], w[64 + n], w[80 + n]
        end = ((c3 * L + c2) * L + c1) * L + c0
        low = min(c0, end)
        w[96 + n] = L if low <= zero else -one  # right end of the bracket
        w[112 + n] = end
        hits += one if min(L, -low) >= zero else zero
        middle, last = c1 + c2 * L, c1 + two * c2 * L + three * c3 * L * L
        rises, falls = max(max(c1, middle), last), min(min(c1, middle), last)
        turns += one if min(min(rises, -falls), min(L, c0)) > zero else zero
    if turns > zero:  # f may dip below zero and come up again: then its minimum ends the bracket
        for n in range(LANES):
            L, c0, c1, c2, c3 = w[16 + n], w[32 + n], w[48 + n], w[64 + n], w[80 + n]
            D = c2 * c2 - three * c3 * c1
            if zero <= L and c0 > zero and zero < D:
                root = np.sqrt(D)
                m = -c1 / (c2 + root) if c2 > zero else (root - c2) / (three * c3)
                if m > zero and m < L:
                    least = ((c3 * m + c2) * m + c1) * m + c0
                    if least <= zero:
                        w[96 + n] = m
                        w[112 + n] = least
                        hits += one
    if hits == zero:
        return
    for n in range(LANES):
        right, end = w[96 + n], w[112 + n]
        c0, c1, c2, c3 = w[32 + n], w[48 + n], w[64 + n], w[80 + n]
        lo, hi = zero, right
        s = c0 / (c0 - end) * right
        for _ in range(NEWTON_STEPS):
            f = ((c3 * s + c2) * s + c1) * s + c0
            g = min((three * c3 * s + two * c2) * s + c1, -f32(1e-30))
            lo = s if f > zero else lo
            hi = hi if f > zero else s
            following = s - f / g
            halfway = half * (lo + hi)
            following = following if following >= lo else halfway
            s = following if following <= hi else halfway
        s = zero if c0 <= zero else s
        tiles[tile, n] = min(w[n] + s if right >= zero else FAR, tiles[tile, n])


@lanes
def mark_tile(
    tiles: Singles, marks: Singles, tile: int, r: Singles, i: int, rays: Rays, box: Box, e: Corner,
    half: Float, w: Singles,
) -> None:  # fmt: skip
    """Mark those of 16 pixels along whose ray φ/z may rise from below half a pixel in one cell.

    Arguments as in `hit_tile`, and `marks` `[tiles, 16]`: depths at which to begin; `half` is half
    a pixel's size per unit of z.
    """
    zero, two, three, third = f32(0), f32(2), f32(3), f32(1 / 3)
    if _cubics(w, tiles, tile, r, i, rays, box, e) == zero:
        return
    for n in range(LANES):
        z, L, c0, c1, c2, c3 = w[n], w[16 + n], w[32 + n], w[48 + n], w[64 + n], w[80 + n]
        L = min(L, tiles[tile, n] - z)
        # φ and its slope lie within their control points
        end = ((c3 * L + c2) * L + c1) * L + c0
        b1 = c0 + third * c1 * L
        low = min(min(c0, end), min(b1, b1 + third * (c1 + c2 * L) * L))
        rise = max(max(c1, c1 + c2 * L), c1 + two * c2 * L + three * c3 * L * L)
        rise = rise if r[i, SLOPES + 3] < HUGE else L  # leaving the box ends a dip as a rise does
        graze = zero <= L and low < half * (z + L) and rise > zero
        marks[tile, n] = min(z, marks[tile, n]) if graze else marks[tile, n]
