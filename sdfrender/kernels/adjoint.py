"""The derivatives of one event, transposed: from what it shows back to what it depends on.

`v_x` is the derivative of the loss in `x`. The moving parts are `dt` of `reattach`, and always
`x = o + t d` and `n = G(x)/|G(x)|`; what covers a pixel in part is in `coverage`.
"""

from __future__ import annotations

from typing import NamedTuple

from sdfrender.kernels.arrays import Doubles, Floats
from sdfrender.kernels.bricks import stored
from sdfrender.kernels.compiled import add_at, inlined
from sdfrender.kernels.light_terms import (
    DIRECTION,
    INTENSITY,
    kind_and_direction,
    term,
    term_slopes,
)
from sdfrender.kernels.ray_walk import CAP
from sdfrender.kernels.reattach import motion_adjoint
from sdfrender.kernels.surface_point import Place, Point, albedo_corners, albedo_place
from sdfrender.kernels.trilinear_cell import (
    Grid,
    Stencil,
    Vector,
    add_to_corners,
    add_to_stencil,
    blend_gradient,
    combine,
    stencil,
    weight_slopes,
    weights,
)

# Places in the 16 numbers of a view.
V_A, V_O, V_AXIS, V_FOCAL = 0, 9, 12, 15


class PointAdjoint(NamedTuple):
    """How the loss depends on a point of the surface.

    Args:
        v_phi: on φ there, through the point's motion along its ray.
        v_slope: on `dφ/dt` along the ray, in the same way (grazes only).
        v_G: on the normal field.
        v_o: on the ray's origin.
        v_d: on its unit direction.
    """

    v_phi: float
    v_slope: float
    v_G: Vector
    v_o: Vector
    v_d: Vector


@inlined
def light_adjoint(
    lights: Doubles,
    n: Vector,
    d: Vector,
    t: float,
    v_light: Doubles,
    v_lights: Doubles,
    wanted: bool,
) -> tuple[Vector, Vector, float]:
    """Back through `irradiance` from `v_light` `[C]`: `v_n`, `v_d` and `v_t`.

    Adds to `v_lights`, which is laid out as `lights` is, if that is wanted.
    """
    v_n, v_d, v_t = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0
    for k in range(len(lights)):
        s = 0.0
        for c in range(len(v_light)):
            s += v_light[c] * lights[k, INTENSITY + c]
        kind, to = kind_and_direction(lights, k)
        dn, dd, dt = term_slopes(kind, to, n, d, t)
        v_n = (v_n[0] + s * dn[0], v_n[1] + s * dn[1], v_n[2] + s * dn[2])
        v_d = (v_d[0] + s * dd[0], v_d[1] + s * dd[1], v_d[2] + s * dd[2])
        v_t += s * dt
        if wanted:
            b = term(kind, to, n, d, t)
            for c in range(len(v_light)):
                add_at(v_lights, (k, INTENSITY + c), v_light[c] * b)
            if b > 0:
                for axis in range(3):
                    add_at(v_lights, (k, DIRECTION + axis), s * n[axis])
    return v_n, v_d, v_t


@inlined
def albedo_adjoint(
    albedo: Floats, grid: Grid, o: Vector, d: Vector, t: float,
    v_reflected: Doubles, v_albedo: Floats, wanted: bool,
) -> Vector:  # fmt: skip
    """Back through the albedo lattice from `v_reflected` `[C]`: `v_x` of the point.

    Adds to `v_albedo`, which is laid out as `albedo` is, if that is wanted.
    """
    if albedo.shape[0] == 0:
        return 0.0, 0.0, 0.0
    i, j, k, x, y, z = albedo_place(albedo, grid, o, d, t)
    w = weights(x, y, z)
    gx, gy, gz = 0.0, 0.0, 0.0
    for c in range(len(v_reflected)):
        s = v_reflected[c]
        slopes = blend_gradient(albedo_corners(albedo, i, j, k, c), x, y, z)
        gx, gy, gz = gx + s * slopes[0], gy + s * slopes[1], gz + s * slopes[2]
        if wanted:
            for n in range(8):
                vertex = (i + (n >> 2), j + (n >> 1 & 1), k + (n & 1), c)
                add_at(v_albedo, vertex, s * w[n])
    return (
        gx * (albedo.shape[0] - 1) / (grid.h[0] * (grid.X - 1)),
        gy * (albedo.shape[1] - 1) / (grid.h[1] * (grid.Y - 1)),
        gz * (albedo.shape[2] - 1) / (grid.h[2] * (grid.Z - 1)),
    )


@inlined
def point_adjoint(
    grid: Grid, point: Point, d: Vector, t: float, flags: int, reattach: int,
    v_n: Vector, v_x: Vector, v_d: Vector, v_t: float,
) -> PointAdjoint:  # fmt: skip
    """Back through the point's normal, position and motion.

    Args:
        grid: size and place of the lattice.
        point: the point.
        d: the ray's direction.
        t: the point's distance.
        flags: of the event.
        reattach: IMPLICIT or ONE_STEP.
        v_n: on the normal.
        v_x: on the position, not through the normal.
        v_d: on the direction, at a fixed point.
        v_t: on the distance, not through the position.
    """
    at, n, diff = point.at, point.n, point.differences
    v_G = (0.0, 0.0, 0.0)
    if flags & CAP == 0:
        if point.length > 0:
            along = v_n[0] * n[0] + v_n[1] * n[1] + v_n[2] * n[2]
            s = 1 / point.length
            v_G = (
                (v_n[0] - along * n[0]) * s,
                (v_n[1] - along * n[1]) * s,
                (v_n[2] - along * n[2]) * s,
            )
        ex, ey, ez = v_G[0] * grid.ih[0], v_G[1] * grid.ih[1], v_G[2] * grid.ih[2]
        q = combine(0.5 * ex, diff[0], 0.5 * ey, diff[1], 0.5 * ez, diff[2])
        gx, gy, gz = blend_gradient(q, at.x, at.y, at.z)
        v_x = (v_x[0] + gx * grid.ih[0], v_x[1] + gy * grid.ih[1], v_x[2] + gz * grid.ih[2])
    v_t += v_x[0] * d[0] + v_x[1] * d[1] + v_x[2] * d[2]

    v_phi, v_slope, v_fixed, v_d = motion_adjoint(grid, point, d, t, flags, reattach, v_t, v_d)
    v_o = (v_x[0] + v_fixed[0], v_x[1] + v_fixed[1], v_x[2] + v_fixed[2])
    v_d = (v_d[0] + t * v_o[0], v_d[1] + t * v_o[1], v_d[2] + t * v_o[2])
    return PointAdjoint(v_phi, v_slope, v_G, v_o, v_d)


@inlined
def point_stencil(grid: Grid, at: Place, a: PointAdjoint) -> Stencil:
    """What a point says about the values around it, but for `v_slope`."""
    return stencil(
        weights(at.x, at.y, at.z),
        a.v_phi,
        0.5 * a.v_G[0] * grid.ih[0],
        0.5 * a.v_G[1] * grid.ih[1],
        0.5 * a.v_G[2] * grid.ih[2],
    )


@inlined
def add_point(g: Floats, grid: Grid, at: Place, d: Vector, a: PointAdjoint) -> None:
    """Add what a point says about the values to `g`, which is laid out as the lattice is."""
    q, sx, sy = stored(grid, at.p)
    add_to_stencil(g, q, sx, sy, point_stencil(grid, at, a))
    if a.v_slope != 0:
        slopes = weight_slopes(
            at.x, at.y, at.z, d[0] * grid.ih[0], d[1] * grid.ih[1], d[2] * grid.ih[2]
        )
        add_to_corners(g, q, sx, sy, slopes, a.v_slope)
