"""Re-attachment: how an event moves along its ray, with the lattice and the camera.

The scalar twin of `sdfrender.rendering.reattach`, with the derivatives written out. With `g` the
derivative of φ inside the cell, the distance of
    a hit       moves by  dt = −dφ / slope, slope = g·d
    a graze               dt = −dh / (t φ''), h = t g·d − φ
    on a face             dt = −(dx)_axis / d_axis
"""

from __future__ import annotations

import math

from sdfrender.kernels.compiled import inlined
from sdfrender.kernels.ray_walk import CAP, CROSSING, FACE
from sdfrender.kernels.surface_point import Place, Point, cell_gradient, face_axis
from sdfrender.kernels.trilinear_cell import Corners, Grid, Vector, blend_hessian

IMPLICIT, ONE_STEP = 0, 1
MIN_SLOPE = 0.15  # least |∇φ·d| / |∇φ| that a hit's motion is divided by
MIN_CURVATURE = 0.05  # least φ'' · spacing along the ray that a graze's motion is divided by


@inlined
def slope_at_hit(g: Vector, d: Vector) -> float:
    """`g·d`, kept at or below `−MIN_SLOPE·|g|`; without a gradient the hit stays: `−inf`."""
    length = math.sqrt(g[0] * g[0] + g[1] * g[1] + g[2] * g[2])
    if length == 0:
        return -math.inf
    return min(g[0] * d[0] + g[1] * d[1] + g[2] * d[2], -MIN_SLOPE * length)


@inlined
def second_derivatives(grid: Grid, c: Corners, at: Place, d: Vector) -> tuple[Vector, float]:
    """`H d`, with H the second derivatives of φ in the cell, and `d·H d`."""
    xy, xz, yz = blend_hessian(c, at.x, at.y, at.z)
    xy, xz = xy * (grid.ih[0] * grid.ih[1]), xz * (grid.ih[0] * grid.ih[2])
    yz = yz * (grid.ih[1] * grid.ih[2])
    hx, hy, hz = xy * d[1] + xz * d[2], xy * d[0] + yz * d[2], xz * d[0] + yz * d[1]
    return (hx, hy, hz), hx * d[0] + hy * d[1] + hz * d[2]


@inlined
def is_graze(flags: int) -> bool:
    """The event's point is a closest approach inside a cell."""
    return flags & (CROSSING | CAP | FACE) == 0


@inlined
def on_face(flags: int) -> bool:
    """The event's point stays on a face between cells, or on the box."""
    return flags & CAP != 0 or (flags & CROSSING == 0 and flags & FACE != 0)


@inlined
def motion_adjoint(
    grid: Grid, point: Point, d: Vector, t: float, flags: int, reattach: int,
    v_t: float, v_d: Vector,
) -> tuple[float, float, Vector, Vector]:  # fmt: skip
    """Back through an event's motion along its ray.

    Args:
        grid: size and place of the lattice.
        point: the point.
        d: the ray's direction.
        t: the point's distance.
        flags: of the event.
        reattach: IMPLICIT or ONE_STEP.
        v_t: on the distance.
        v_d: on the direction, at a fixed point.

    Returns:
        On φ, on its slope along the ray (grazes only), on the point at a fixed distance, and `v_d`
        with what comes in by the slope.
    """
    at, c = point.at, point.corners
    v_phi, v_slope = 0.0, 0.0
    v_fixed = (0.0, 0.0, 0.0)
    if on_face(flags):
        axis = face_axis(grid, at, d)
        s = -v_t / d[axis]
        v_fixed = (s if axis == 0 else 0.0, s if axis == 1 else 0.0, s if axis == 2 else 0.0)
    else:
        g = cell_gradient(grid, c, at)
        if is_graze(flags):
            Hd, curvature = second_derivatives(grid, c, at, d)
            v_h = -v_t / (t * max(curvature, MIN_CURVATURE / grid.h_min))
            v_phi, v_slope = -v_h, v_h * t
            v_fixed = (v_slope * Hd[0], v_slope * Hd[1], v_slope * Hd[2])
            v_d = (v_d[0] + v_slope * g[0], v_d[1] + v_slope * g[1], v_d[2] + v_slope * g[2])
        elif reattach == ONE_STEP:
            v_phi = v_t
        else:
            v_phi = -v_t / slope_at_hit(g, d)
        v_fixed = (
            v_fixed[0] + v_phi * g[0],
            v_fixed[1] + v_phi * g[1],
            v_fixed[2] + v_phi * g[2],
        )
    return v_phi, v_slope, v_fixed, v_d
