"""One event on the surface: its cell, its normal, its albedo.

The scalar twin of `sdfrender.rendering.shade`. `t` is the event's distance, `G` the normal field
(blended central differences).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import float64, int64

from sdfrender.kernels.arrays import Doubles, Floats
from sdfrender.kernels.bricks import cell_corners, stored
from sdfrender.kernels.compiled import inlined
from sdfrender.kernels.ray_walk import CAP
from sdfrender.kernels.trilinear_cell import (
    Corners,
    Grid,
    Vector,
    blend,
    blend_gradient,
    differences,
    dot,
    locate,
    weights,
)


class Place(NamedTuple):
    """A point in its cell.

    Args:
        p: flat index of the cell.
        x: position in the cell, 0 … 1; y and z likewise.
    """

    p: int
    x: float
    y: float
    z: float


class Point(NamedTuple):
    """A point with its normal.

    Args:
        at: its cell.
        n: unit normal, world.
        length: `|G|`.
        corners: values at the cell's corners.
        differences: at the corners, along x, y and z.
    """

    at: Place
    n: Vector
    length: float
    corners: Corners
    differences: tuple[Corners, Corners, Corners]


@inlined
def place(grid: Grid, o: Vector, d: Vector, t: float) -> Place:
    """The cell of the point at distance `t` along a ray, world units."""
    p, x, y, z = locate_along(grid, o, d, t)
    return Place(int(p), x, y, z)


@inlined
def locate_along(grid: Grid, o: Vector, d: Vector, t: float) -> tuple[float, float, float, float]:
    """`locate` of the point at distance `t` along a ray, world units."""
    return locate(
        grid,
        (o[0] + t * d[0] - grid.lo[0]) * grid.ih[0],
        (o[1] + t * d[1] - grid.lo[1]) * grid.ih[1],
        (o[2] + t * d[2] - grid.lo[2]) * grid.ih[2],
    )


@inlined
def vertex_differences(v: Floats, grid: Grid, p: int) -> tuple[Corners, Corners, Corners]:
    """Differences along x, y and z at the corners of the cell `p`: `2 h` times the derivatives.

    `v` has the values of the lattice, see `bricks.stored`.
    """
    q, sx, sy = stored(grid, p)
    return (
        differences(v, q, sx, sy, sx),
        differences(v, q, sx, sy, sy),
        differences(v, q, sx, sy, int64(1)),
    )


@inlined
def normal_at(
    grid: Grid, at: Place, diff: tuple[Corners, Corners, Corners]
) -> tuple[Vector, float]:
    """Unit normal `G / |G|`, zero where G is, and `|G|`."""
    w = weights(at.x, at.y, at.z)
    gx = dot(w, diff[0]) * (0.5 * grid.ih[0])
    gy = dot(w, diff[1]) * (0.5 * grid.ih[1])
    gz = dot(w, diff[2]) * (0.5 * grid.ih[2])
    length = math.sqrt(gx * gx + gy * gy + gz * gz)
    s = 1 / length if length > 0 else 0.0
    return (gx * s, gy * s, gz * s), length


@inlined
def surface_point(v: Floats, grid: Grid, o: Vector, d: Vector, t: float, flags: int) -> Point:
    """The point of an event at the distance `t`, world units, along a ray.

    `v` has the values of the lattice, see `bricks.stored`.
    """
    at = place(grid, o, d, t)
    diff = vertex_differences(v, grid, at.p)
    n, length = normal_at(grid, at, diff)
    if flags & CAP:
        n = cap_normal(grid, at, d)
    return Point(at, n, length, cell_corners(v, grid, at.p), diff)


@inlined
def cap_normal(grid: Grid, at: Place, d: Vector) -> Vector:
    """Outward normal of the face of the box through which a ray enters."""
    axis = face_axis(grid, at, d)
    s = -1.0 if d[axis] > 0 else 1.0
    return (s if axis == 0 else 0.0, s if axis == 1 else 0.0, s if axis == 2 else 0.0)


@inlined
def face_axis(grid: Grid, at: Place, d: Vector) -> int:
    """Normal axis of the face between cells that a ray crosses nearest to a point."""
    axis, least = 0, math.inf
    for n, f in enumerate((at.x, at.y, at.z)):
        if d[n] != 0:
            gap = min(f, 1 - f) * grid.h[n] / abs(d[n])
            if gap < least:
                axis, least = n, gap
    return axis


@inlined
def cell_gradient(grid: Grid, c: Corners, at: Place) -> Vector:
    """`g`, world units."""
    gx, gy, gz = blend_gradient(c, at.x, at.y, at.z)
    return gx * grid.ih[0], gy * grid.ih[1], gz * grid.ih[2]


@inlined
def albedo_at(albedo: Floats, grid: Grid, o: Vector, d: Vector, t: float, out: Doubles) -> None:
    """Fill `out` `[C]` with the albedo of a point; leave it as it is without an albedo lattice."""
    if albedo.shape[0] == 0:
        return
    i, j, k, x, y, z = albedo_place(albedo, grid, o, d, t)
    for c in range(len(out)):
        out[c] = blend(albedo_corners(albedo, i, j, k, c), x, y, z)


@inlined
def albedo_place(
    albedo: Floats, grid: Grid, o: Vector, d: Vector, t: float
) -> tuple[int, int, int, float, float, float]:
    """The cell of a point in the albedo lattice `[X, Y, Z, C]`, and the position in it, 0 … 1."""
    nx, ny, nz = albedo.shape[0] - 1, albedo.shape[1] - 1, albedo.shape[2] - 1
    u = (o[0] + t * d[0] - grid.lo[0]) / (grid.h[0] * (grid.X - 1)) * nx
    v = (o[1] + t * d[1] - grid.lo[1]) / (grid.h[1] * (grid.Y - 1)) * ny
    w = (o[2] + t * d[2] - grid.lo[2]) / (grid.h[2] * (grid.Z - 1)) * nz
    u, v, w = min(max(u, 0.0), nx), min(max(v, 0.0), ny), min(max(w, 0.0), nz)
    i, j, k = min(int(u), nx - 1), min(int(v), ny - 1), min(int(w), nz - 1)
    return i, j, k, u - i, v - j, w - k


@inlined
def albedo_corners(albedo: Floats, i: int, j: int, k: int, c: int) -> Corners:
    """Channel c at the corners of cell `(i, j, k)` of the albedo lattice `[X, Y, Z, C]`."""
    return (
        float64(albedo[i, j, k, c]),
        float64(albedo[i, j, k + 1, c]),
        float64(albedo[i, j + 1, k, c]),
        float64(albedo[i, j + 1, k + 1, c]),
        float64(albedo[i + 1, j, k, c]),
        float64(albedo[i + 1, j, k + 1, c]),
        float64(albedo[i + 1, j + 1, k, c]),
        float64(albedo[i + 1, j + 1, k + 1, c]),
    )
