"""Object-order search for first hits: each near cell is drawn into the image, nearest wins.

Images are tiles of 4×4 pixels whose 16 rays go through a cell together, in float32. Notation: `z`
is depth along the optical axis; the ray of pixel `(u, v)` is `U + z·(D + u·Du + v·Dv)` in vertex
indices; `e` is a cell's first corner minus U.
"""

from __future__ import annotations

import numpy as np
from numba import float32 as f32

from sdfrender.engines.cpu.forward.near_cells import BOX, LOW, SLOPES
from sdfrender.engines.cpu.forward.raster_tile import (
    FAR,
    LANES,
    Box,
    Corner,
    Float,
    falling_tile,
    hit_tile,
    mark_tile,
    scratch,
    tile_rays,
)
from sdfrender.kernels.arrays import Doubles, Singles
from sdfrender.kernels.compiled import inlined_lanes, lane_kernel

# A view's numbers, float32: D, Du, Dv, U, and the rows of the matrix that takes `c − U` to
# (u z, v z, z).
VIEW = 21


def raster_numbers(A: Doubles, U: Doubles, h: Doubles) -> Singles:
    """Pack a view.

    Args:
        A: `[3, 3]` takes `(u, v, 1)`, pixels, to a world direction of depth 1.
        U: `[3]` eye in vertex indices.
        h: `[3]` spacing.
    """
    columns = A / h[:, None]
    corner = columns @ np.array([0.5, 0.5, 1.0])
    parts = (corner, columns[:, 0], columns[:, 1], U, np.linalg.inv(columns).ravel())
    return np.concatenate(parts).astype(np.float32)


def draw(
    records: Singles,
    surface: int,
    view: Singles,
    half_pixel: float | None,
    width: int,
    y0: int,
    y1: int,
) -> tuple[Singles, Singles]:
    """Depths at which the rays of some rows first hit, and at which to look for grazes before.

    Args:
        records: `[C, COLUMNS]` near cells, the first `surface` of them hold surface.
        surface: see `records`.
        view: `[VIEW]`.
        half_pixel: half a pixel's size per unit of z; None if grazes are not wanted.
        width: of the image.
        y0: first row, a multiple of 4.
        y1: one past the last row.

    Returns:
        `[tiles, 16]` each, of 4 × 4 pixels; FAR where there is nothing.
    """
    tiles = np.full((((width + 3) >> 2) * ((y1 - y0 + 3) >> 2), LANES), FAR, np.float32)
    draw_hits(records[:surface], view, width, y0, y1, tiles, scratch())
    if half_pixel is None:
        return tiles, tiles
    marks = np.full_like(tiles, FAR)
    draw_marks(records, view, half_pixel, width, y0, y1, tiles, _farthest(tiles), marks, scratch())
    return tiles, marks


def _farthest(tiles: Singles) -> Singles:
    """`tiles.max(1)` of `[tiles, 16]`; numpy is several times slower along so short an axis."""
    while tiles.shape[1] > 1:
        half = tiles.shape[1] // 2
        tiles = np.maximum(tiles[:, :half], tiles[:, half:])
    return tiles[:, 0]


@lane_kernel
def draw_hits(
    records: Singles, view: Singles, width: int, y0: int, y1: int, tiles: Singles, w: Singles
) -> None:
    """Draw the surface cells into rows `y0 … y1` of the image.

    Args:
        records: `[C, COLUMNS]` surface cells.
        view: `[VIEW]`.
        width: of the image.
        y0: first row, a multiple of 4.
        y1: one past the last row.
        tiles: `[rows of tiles · tiles in a row, 16]` depths, FAR at first.
        w: `scratch()`.
    """
    across = (width + 3) >> 2
    for n in range(len(records)):
        e = _first_corner(records, n, view)
        box = (
            e[0] + records[n, BOX], e[1] + records[n, BOX + 1], e[2] + records[n, BOX + 2],
            e[0] + records[n, BOX + 3], e[1] + records[n, BOX + 4], e[2] + records[n, BOX + 5],
        )  # fmt: skip
        if _least_slope(records, n, f32(1), box) > f32(0):
            continue  # every ray leaves the solid here
        x0, x1, ya, yb, _, _ = _rectangle(view, box)
        a0, a1 = max(x0, 0), min(x1, width - 1)
        b0, b1 = max(ya, y0), min(yb, y1 - 1)
        if a0 > a1 or b0 > b1:
            continue
        falls = _least_slope(records, n, f32(-1), box) > f32(0)
        for b in range(b0 >> 2, (b1 >> 2) + 1):
            for a in range(a0 >> 2, (a1 >> 2) + 1):
                tile = (b - (y0 >> 2)) * across + a
                rays = tile_rays(view, f32(a * 4), f32(b * 4))
                if falls:
                    falling_tile(tiles, tile, records, n, rays, box, e)
                else:
                    hit_tile(tiles, tile, records, n, rays, box, e, w)


@lane_kernel
def draw_marks(
    records: Singles, view: Singles, half_pixel: float, width: int, y0: int, y1: int,
    tiles: Singles, furthest: Singles, marks: Singles, w: Singles,
) -> None:  # fmt: skip
    """Mark the pixels whose ray may graze something before its first hit.

    A dip of φ/z that ends before the hit has a cell where φ/z rises from below half a pixel. Such
    pixels get the depth where the ray enters the first such cell; more may be marked than need be.

    Args:
        records: `[C, COLUMNS]` near cells.
        view: `[VIEW]`.
        half_pixel: half a pixel's size per unit of z.
        width: of the image.
        y0: first row, a multiple of 4.
        y1: one past the last row.
        tiles: depths of the first hits.
        furthest: the largest of each tile.
        marks: depths at which to begin, FAR at first.
        w: `scratch()`.
    """
    across = (width + 3) >> 2
    half = f32(half_pixel)
    for n in range(len(records)):
        e = _first_corner(records, n, view)
        box = (e[0], e[1], e[2], e[0] + f32(1), e[1] + f32(1), e[2] + f32(1))
        if _least_slope(records, n, f32(-1), box) >= f32(0):
            continue  # φ falls along every ray
        x0, x1, ya, yb, near, far = _rectangle(view, box)
        a0, a1 = max(x0, 0), min(x1, width - 1)
        b0, b1 = max(ya, y0), min(yb, y1 - 1)
        if a0 > a1 or b0 > b1 or records[n, LOW] >= half * far:
            continue
        for b in range(b0 >> 2, (b1 >> 2) + 1):
            for a in range(a0 >> 2, (a1 >> 2) + 1):
                tile = (b - (y0 >> 2)) * across + a
                if near < furthest[tile]:
                    rays = tile_rays(view, f32(a * 4), f32(b * 4))
                    mark_tile(tiles, marks, tile, records, n, rays, box, e, half, w)


@inlined_lanes
def _first_corner(r: Singles, n: int, view: Singles) -> Corner:
    """`e` of cell n."""
    return r[n, 0] - view[9], r[n, 1] - view[10], r[n, 2] - view[11]


@inlined_lanes
def _rectangle(view: Singles, box: Box) -> tuple[int, int, int, int, Float, Float]:
    """Pixels whose centres may see a box, and its least and greatest depth."""
    l0, l1, l2, h0, h1, h2 = box
    left, right, top, bottom, near, far = FAR, -FAR, FAR, -FAR, FAR, -FAR
    for n in range(8):
        c0, c1, c2 = h0 if n & 4 else l0, h1 if n & 2 else l1, h2 if n & 1 else l2
        z = view[18] * c0 + view[19] * c1 + view[20] * c2
        iz = f32(1) / z
        u = (view[12] * c0 + view[13] * c1 + view[14] * c2) * iz
        v = (view[15] * c0 + view[16] * c1 + view[17] * c2) * iz
        left, right, top, bottom = min(left, u), max(right, u), min(top, v), max(bottom, v)
        near, far = min(near, z), max(far, z)
    margin = f32(0.01)  # pixels, for rounding
    limit = f32(1e6)
    left = max(left - f32(0.5) - margin, -limit)
    right = min(right - f32(0.5) + margin, limit)
    top = max(top - f32(0.5) - margin, -limit)
    bottom = min(bottom - f32(0.5) + margin, limit)
    return (
        int(np.ceil(left)), int(np.floor(right)), int(np.ceil(top)), int(np.floor(bottom)),
        near, far,
    )  # fmt: skip


@inlined_lanes
def _least_slope(r: Singles, n: int, sign: Float, box: Box) -> Float:
    """A lower bound of `sign · z · dφ/dz` over the rays through a box of the cell.

    Along a ray `z · d(position)/dz = position − U`, which is in the box.
    """
    l0, l1, l2, h0, h1, h2 = box
    x, X = sign * r[n, SLOPES], sign * r[n, SLOPES + 3]
    y, Y = sign * r[n, SLOPES + 1], sign * r[n, SLOPES + 4]
    z, Z = sign * r[n, SLOPES + 2], sign * r[n, SLOPES + 5]
    return (
        min(min(l0 * x, l0 * X), min(h0 * x, h0 * X))
        + min(min(l1 * y, l1 * Y), min(h1 * y, h1 * Y))
        + min(min(l2 * z, l2 * Z), min(h2 * z, h2 * Z))
    )
