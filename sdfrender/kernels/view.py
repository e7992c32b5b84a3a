"""A camera as the kernels see it, and the ray of a pixel."""

from __future__ import annotations

import math
from typing import NamedTuple

from sdfrender.kernels.arrays import Doubles
from sdfrender.kernels.compiled import inlined
from sdfrender.kernels.trilinear_cell import Vector


class View(NamedTuple):
    """A pinhole camera.

    Args:
        A: rows of the 3×3 matrix that takes `(u, v, 1)`, pixels, to a world direction of depth 1.
        o: `(x, y, z)` eye, world.
        axis: `(x, y, z)` optical axis, world.
        focal: `√(fx fy)`, pixels.
        width: pixels.
        height: pixels.
    """

    A: tuple[float, float, float, float, float, float, float, float, float]
    o: Vector
    axis: Vector
    focal: float
    width: int
    height: int


@inlined
def view_of(n: Doubles) -> View:
    """The `View` of its `numbers` `[18]`."""
    A = (n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8])
    return View(A, (n[9], n[10], n[11]), (n[12], n[13], n[14]), n[15], int(n[16]), int(n[17]))


@inlined
def direction(view: View, x: float, y: float) -> tuple[float, float, float, float]:
    """World direction of depth 1 through the centre of pixel `(x, y)`, and its length."""
    A, u, v = view.A, x + 0.5, y + 0.5
    dx, dy, dz = A[0] * u + A[1] * v + A[2], A[3] * u + A[4] * v + A[5], A[6] * u + A[7] * v + A[8]
    return dx, dy, dz, math.sqrt(dx * dx + dy * dy + dz * dz)


@inlined
def pixel_ray(view: View, pixel: int) -> tuple[Vector, float]:
    """Unit direction of a pixel's ray, and the cosine of its angle to the optical axis."""
    y = pixel // view.width
    dx, dy, dz, length = direction(view, float(pixel - y * view.width), float(y))
    s = 1 / length
    dx, dy, dz = dx * s, dy * s, dz * s
    return (dx, dy, dz), dx * view.axis[0] + dy * view.axis[1] + dz * view.axis[2]
