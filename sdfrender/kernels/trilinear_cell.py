"""One cell of the lattice: its eight corners, the trilinear function in it, and the normal field.

Notation: a cell's corner `4a + 2b + c` is at `(a, b, c)`; `x, y, z ∈ [0, 1]` is a position in the
cell. `v` holds values of vertices, flat; `p` is where that of a cell's first corner is, `sx` and
`sy` are the steps from one x to the next and from one y to the next. The vertex behind a face of
the box continues the outermost two linearly, so that a central difference there is one-sided.
Either all is one lattice with a margin, or it is in bricks, see `bricks`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import float64, uint64

from sdfrender.kernels.arrays import Doubles, Floats
from sdfrender.kernels.compiled import add_at, floor, inlined, inlined_lanes, rounded

Vector = tuple[float, float, float]
Corners = tuple[float, float, float, float, float, float, float, float]
Stencil = tuple[float, ...]  # 32


Index: TypeAlias = Any  # a whole number; unsigned, it needs no check for counting from the end
ONE, TWO = np.uint64(1), np.uint64(2)


class Grid(NamedTuple):
    """Size and place of a lattice.

    Args:
        X: samples along x; Y and Z likewise.
        sx: step of flat indices from one x to the next, see `bricks`; `sy` likewise.
        lo: `(x, y, z)` world position of the first vertex.
        h: `(x, y, z)` spacing.
        ih: `1 / h`.
        h_min: the smallest spacing.
    """

    X: int
    Y: int
    Z: int
    sx: int
    sy: int
    lo: tuple[float, float, float]
    h: tuple[float, float, float]
    ih: tuple[float, float, float]
    h_min: float


def numbers(x: tuple[Any, ...]) -> Doubles:
    """A named tuple of numbers as `[n]` float64; numba takes long to look at a tuple's type."""
    return np.hstack(x).astype(np.float64)


@inlined
def grid_of(n: Doubles) -> Grid:
    """The `Grid` of its `numbers` `[15]`."""
    lo, h, ih = (n[5], n[6], n[7]), (n[8], n[9], n[10]), (n[11], n[12], n[13])
    return Grid(int(n[0]), int(n[1]), int(n[2]), int(n[3]), int(n[4]), lo, h, ih, n[14])


@inlined
def in_cells(grid: Grid, o: Vector, d: Vector) -> tuple[Vector, Vector]:
    """A ray's origin in vertex indices, and its direction in those per unit of t."""
    U = (
        (o[0] - grid.lo[0]) * grid.ih[0],
        (o[1] - grid.lo[1]) * grid.ih[1],
        (o[2] - grid.lo[2]) * grid.ih[2],
    )
    return U, (d[0] * grid.ih[0], d[1] * grid.ih[1], d[2] * grid.ih[2])


@inlined
def locate(grid: Grid, u: float, v: float, w: float) -> tuple[float, float, float, float]:
    """The cell of fractional vertex index `(u, v, w)`, clamped to the box.

    Returns:
        Its flat index, a whole number, and the position in it.
    """
    u = min(max(u, 0.0), grid.X - 1.0)
    v = min(max(v, 0.0), grid.Y - 1.0)
    w = min(max(w, 0.0), grid.Z - 1.0)
    i = min(floor(u), grid.X - 2.0)
    j = min(floor(v), grid.Y - 2.0)
    k = min(floor(w), grid.Z - 2.0)
    return (i + 1) * grid.sx + (j + 1) * grid.sy + k + 1, u - i, v - j, w - k


@inlined
def corners(v: Floats, p: Index, sx: Index, sy: Index) -> Corners:
    """Values at the corners of the cell at `p`."""
    p, sx, sy = uint64(p), uint64(sx), uint64(sy)
    return (
        float64(v[p]),
        float64(v[p + ONE]),
        float64(v[p + sy]),
        float64(v[p + sy + ONE]),
        float64(v[p + sx]),
        float64(v[p + sx + ONE]),
        float64(v[p + sx + sy]),
        float64(v[p + sx + sy + ONE]),
    )


@inlined
def differences(v: Floats, p: Index, sx: Index, sy: Index, step: Index) -> Corners:
    """`φ(vertex + step) − φ(vertex − step)` at the corners; `step` is `sx`, `sy` or 1.

    In the own precision of the lattice, which is all that a difference of its samples has.
    """
    p, sx, sy, step = uint64(p), uint64(sx), uint64(sy), uint64(step)
    return (
        float64(v[p + step] - v[p - step]),
        float64(v[p + ONE + step] - v[p + ONE - step]),
        float64(v[p + sy + step] - v[p + sy - step]),
        float64(v[p + sy + ONE + step] - v[p + sy + ONE - step]),
        float64(v[p + sx + step] - v[p + sx - step]),
        float64(v[p + sx + ONE + step] - v[p + sx + ONE - step]),
        float64(v[p + sx + sy + step] - v[p + sx + sy - step]),
        float64(v[p + sx + sy + ONE + step] - v[p + sx + sy + ONE - step]),
    )


@inlined
def dot(w: Corners, c: Corners) -> float:
    """`Σ w c`: trilinear interpolation with `weights`."""
    return ((w[0] * c[0] + w[1] * c[1]) + (w[2] * c[2] + w[3] * c[3])) + (
        (w[4] * c[4] + w[5] * c[5]) + (w[6] * c[6] + w[7] * c[7])
    )


@inlined_lanes
def plus(a: Corners, s: Any, w: Corners) -> Corners:
    """`a + s w`: what adds up to sums over the corners, the transpose of `dot`."""
    return (
        a[0] + s * w[0], a[1] + s * w[1], a[2] + s * w[2], a[3] + s * w[3],
        a[4] + s * w[4], a[5] + s * w[5], a[6] + s * w[6], a[7] + s * w[7],
    )  # fmt: skip


@inlined
def blend(c: Corners, x: float, y: float, z: float) -> float:
    """Trilinear interpolation."""
    c00, c01 = c[0] + (c[1] - c[0]) * z, c[2] + (c[3] - c[2]) * z
    c10, c11 = c[4] + (c[5] - c[4]) * z, c[6] + (c[7] - c[6]) * z
    c0, c1 = c00 + (c01 - c00) * y, c10 + (c11 - c10) * y
    return c0 + (c1 - c0) * x


@inlined
def blend_gradient(c: Corners, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Derivatives of `blend` in x, y and z."""
    c00, c01 = c[0] + (c[1] - c[0]) * z, c[2] + (c[3] - c[2]) * z
    c10, c11 = c[4] + (c[5] - c[4]) * z, c[6] + (c[7] - c[6]) * z
    gx = (c10 - c00) + ((c11 - c01) - (c10 - c00)) * y
    gy = (c01 - c00) + ((c11 - c10) - (c01 - c00)) * x
    z0 = (c[1] - c[0]) + ((c[3] - c[2]) - (c[1] - c[0])) * y
    z1 = (c[5] - c[4]) + ((c[7] - c[6]) - (c[5] - c[4])) * y
    return gx, gy, z0 + (z1 - z0) * x


@inlined
def blend_hessian(c: Corners, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Second derivatives of `blend` in xy, xz and yz; those in xx, yy and zz are zero."""
    xy0, xy1 = c[6] - c[4] - c[2] + c[0], c[7] - c[5] - c[3] + c[1]
    xz0, xz1 = c[5] - c[4] - c[1] + c[0], c[7] - c[6] - c[3] + c[2]
    yz0, yz1 = c[3] - c[2] - c[1] + c[0], c[7] - c[6] - c[5] + c[4]
    return xy0 + (xy1 - xy0) * z, xz0 + (xz1 - xz0) * y, yz0 + (yz1 - yz0) * x


@inlined
def weights(x: float, y: float, z: float) -> Corners:
    """Weight of each corner in `blend`."""
    X, Y, Z = 1 - x, 1 - y, 1 - z
    return (
        X * Y * Z,
        X * Y * z,
        X * y * Z,
        X * y * z,
        x * Y * Z,
        x * Y * z,
        x * y * Z,
        x * y * z,
    )


@inlined
def lane_weights(one: Any, x: Any, y: Any, z: Any) -> Corners:
    """`weights` in the precision of the arguments, of which `one` is 1: float32 is not widened."""
    X, Y, Z = one - x, one - y, one - z
    a, b, c, d = X * Y, X * y, x * Y, x * y
    return a * Z, a * z, b * Z, b * z, c * Z, c * z, d * Z, d * z


@inlined
def weight_slopes(x: float, y: float, z: float, u: float, v: float, w: float) -> Corners:
    """Derivative of each of the `weights` along `(u, v, w)`, in cell units."""
    X, Y, Z = 1 - x, 1 - y, 1 - z
    return (
        -u * Y * Z - X * v * Z - X * Y * w,
        -u * Y * z - X * v * z + X * Y * w,
        -u * y * Z + X * v * Z - X * y * w,
        -u * y * z + X * v * z + X * y * w,
        u * Y * Z - x * v * Z - x * Y * w,
        u * Y * z - x * v * z + x * Y * w,
        u * y * Z + x * v * Z - x * y * w,
        u * y * z + x * v * z + x * y * w,
    )


@inlined
def combine(a: float, p: Corners, b: float, q: Corners, c: float, r: Corners) -> Corners:
    """`a p + b q + c r`."""
    return (
        a * p[0] + b * q[0] + c * r[0],
        a * p[1] + b * q[1] + c * r[1],
        a * p[2] + b * q[2] + c * r[2],
        a * p[3] + b * q[3] + c * r[3],
        a * p[4] + b * q[4] + c * r[4],
        a * p[5] + b * q[5] + c * r[5],
        a * p[6] + b * q[6] + c * r[6],
        a * p[7] + b * q[7] + c * r[7],
    )


@inlined
def add_to_corners(g: Floats, p: Index, sx: Index, sy: Index, w: Corners, a: float) -> None:
    """`g[corner] += a · w[corner]`."""
    p, sx, sy = uint64(p), uint64(sx), uint64(sy)
    add_at(g, p, rounded(g, a * w[0]))
    add_at(g, p + ONE, rounded(g, a * w[1]))
    add_at(g, p + sy, rounded(g, a * w[2]))
    add_at(g, p + sy + ONE, rounded(g, a * w[3]))
    add_at(g, p + sx, rounded(g, a * w[4]))
    add_at(g, p + sx + ONE, rounded(g, a * w[5]))
    add_at(g, p + sx + sy, rounded(g, a * w[6]))
    add_at(g, p + sx + sy + ONE, rounded(g, a * w[7]))


@inlined
def stencil(w: Corners, a: float, ex: float, ey: float, ez: float) -> Stencil:
    """The transpose of `a · blend(corners) + Σ e · blend(differences)` at weights `w`.

    What goes to the 8 corners, then to the 24 vertices next to them outside the cell.
    """
    return (
        a * w[0] - ex * w[4] - ey * w[2] - ez * w[1],
        a * w[1] - ex * w[5] - ey * w[3] + ez * w[0],
        a * w[2] - ex * w[6] + ey * w[0] - ez * w[3],
        a * w[3] - ex * w[7] + ey * w[1] + ez * w[2],
        a * w[4] + ex * w[0] - ey * w[6] - ez * w[5],
        a * w[5] + ex * w[1] - ey * w[7] + ez * w[4],
        a * w[6] + ex * w[2] + ey * w[4] - ez * w[7],
        a * w[7] + ex * w[3] + ey * w[5] + ez * w[6],
        -ex * w[0],
        ex * w[4],
        -ex * w[1],
        ex * w[5],
        -ex * w[2],
        ex * w[6],
        -ex * w[3],
        ex * w[7],
        -ey * w[0],
        ey * w[2],
        -ey * w[1],
        ey * w[3],
        -ey * w[4],
        ey * w[6],
        -ey * w[5],
        ey * w[7],
        -ez * w[0],
        ez * w[1],
        -ez * w[2],
        ez * w[3],
        -ez * w[4],
        ez * w[5],
        -ez * w[6],
        ez * w[7],
    )


@inlined
def add_to_stencil(g: Floats, p: Index, sx: Index, sy: Index, s: Stencil) -> None:
    """Add what `stencil` returns to `g`, at the cell at `p` and around it."""
    p, sx, sy = uint64(p), uint64(sx), uint64(sy)
    add_at(g, p, rounded(g, s[0]))
    add_at(g, p + ONE, rounded(g, s[1]))
    add_at(g, p + sy, rounded(g, s[2]))
    add_at(g, p + sy + ONE, rounded(g, s[3]))
    add_at(g, p + sx, rounded(g, s[4]))
    add_at(g, p + sx + ONE, rounded(g, s[5]))
    add_at(g, p + sx + sy, rounded(g, s[6]))
    add_at(g, p + sx + sy + ONE, rounded(g, s[7]))
    add_at(g, p - sx, rounded(g, s[8]))
    add_at(g, p + TWO * sx, rounded(g, s[9]))
    add_at(g, p - sx + ONE, rounded(g, s[10]))
    add_at(g, p + TWO * sx + ONE, rounded(g, s[11]))
    add_at(g, p - sx + sy, rounded(g, s[12]))
    add_at(g, p + TWO * sx + sy, rounded(g, s[13]))
    add_at(g, p - sx + sy + ONE, rounded(g, s[14]))
    add_at(g, p + TWO * sx + sy + ONE, rounded(g, s[15]))
    add_at(g, p - sy, rounded(g, s[16]))
    add_at(g, p + TWO * sy, rounded(g, s[17]))
    add_at(g, p - sy + ONE, rounded(g, s[18]))
    add_at(g, p + TWO * sy + ONE, rounded(g, s[19]))
    add_at(g, p + sx - sy, rounded(g, s[20]))
    add_at(g, p + sx + TWO * sy, rounded(g, s[21]))
    add_at(g, p + sx - sy + ONE, rounded(g, s[22]))
    add_at(g, p + sx + TWO * sy + ONE, rounded(g, s[23]))
    add_at(g, p - ONE, rounded(g, s[24]))
    add_at(g, p + TWO, rounded(g, s[25]))
    add_at(g, p + sy - ONE, rounded(g, s[26]))
    add_at(g, p + sy + TWO, rounded(g, s[27]))
    add_at(g, p + sx - ONE, rounded(g, s[28]))
    add_at(g, p + sx + TWO, rounded(g, s[29]))
    add_at(g, p + sx + sy - ONE, rounded(g, s[30]))
    add_at(g, p + sx + sy + TWO, rounded(g, s[31]))
