"""The in-cell root of one segment at a time: the first root and the closest approach along a ray.

The scalar twin of `sdfrender.engines.reference.cell_root`, whose notation it has:
`f(s) = c0 + c1 s + c2 s² + c3 s³` on `s ∈ [0, 1]`, and `q(s) = f(s) / (a + s)`.
"""

from __future__ import annotations

import math

from sdfrender.kernels.compiled import inlined, scalar
from sdfrender.kernels.trilinear_cell import Corners

Cubic = tuple[float, float, float, float]
STEPS = 40  # safeguarded, so this bounds the bisection; 5 or 6 are typical
TOLERANCE = 4 * 2.0**-52


@inlined
def coefficients(c: Corners, x: float, y: float, z: float, u: float, v: float, w: float) -> Cubic:
    """The cubic along `(x, y, z) + s (u, v, w)`, in cell units."""
    kx, ky, kz = c[4] - c[0], c[2] - c[0], c[1] - c[0]
    kxy, kxz, kyz = c[6] - c[4] - ky, c[5] - c[4] - kz, c[3] - c[2] - kz
    kxyz = (c[7] - c[6] - c[5] + c[4]) - kyz
    xy, xv_yu, uv = x * y, x * v + y * u, u * v
    c0 = c[0] + kx * x + ky * y + kxy * xy + z * (kz + kxz * x + kyz * y + kxyz * xy)
    c1 = kx * u + ky * v + kxy * xv_yu + w * (kz + kxz * x + kyz * y + kxyz * xy)
    c1 += z * (kxz * u + kyz * v + kxyz * xv_yu)
    c2 = kxy * uv + w * (kxz * u + kyz * v + kxyz * xv_yu) + z * kxyz * uv
    return c0, c1, c2, kxyz * uv * w


@inlined
def evaluate(c: Cubic, s: float) -> float:
    """`f(s)`."""
    return ((c[3] * s + c[2]) * s + c[1]) * s + c[0]


@inlined
def first_root(c: Cubic) -> float:
    """The first `s` in [0, 1] with `f(s) ≤ 0`; infinity where there is none."""
    if c[0] <= 0:
        return 0.0
    # With f(0) > 0 there is one root at most up to the minimum m, and if f(m) > 0 up to 1.
    m = minimum(c)
    if 0 < m < 1 and evaluate(c, m) <= 0:
        return bracketed_root(c, 0.0, m)
    if evaluate(c, 1.0) <= 0:
        return bracketed_root(c, 0.0, 1.0)
    return math.inf


@inlined
def minimum(c: Cubic) -> float:
    """Where f has its local minimum; -1 where it has none."""
    D = c[2] * c[2] - 3 * c[3] * c[1]
    if D <= 0:
        return -1.0
    root = math.sqrt(D)
    if c[2] > 0:
        return -c[1] / (c[2] + root)
    return (root - c[2]) / (3 * c[3]) if c[3] != 0 else -1.0


@inlined
def closest_approach(c: Cubic, a: float) -> tuple[float, float]:
    """The minimum of `q(s)`: where, and its value. See the reference engine's."""
    q0, q1 = c[0] / a, evaluate(c, 1.0) / (a + 1)
    s, q = (1.0, q1) if q1 < q0 else (0.0, q0)
    if c[3] == 0 and c[2] <= 0:
        return s, q
    inflection = -c[2] / (3 * c[3]) if c[3] != 0 else 0.0
    lo = min(max(inflection, 0.0), 1.0) if c[3] > 0 else 0.0
    hi = min(max(inflection, 0.0), 1.0) if c[3] < 0 else 1.0
    h = (a * c[1] - c[0], 2 * a * c[2], c[2] + 3 * a * c[3], 2 * c[3])
    if not (hi > lo and evaluate(h, lo) < 0 and evaluate(h, hi) > 0):
        return s, q
    inside = bracketed_root((-h[0], -h[1], -h[2], -h[3]), lo, hi)
    q_inside = evaluate(c, inside) / (a + inside)
    return (inside, q_inside) if q_inside < q else (s, q)


@scalar
def bracketed_root(c: Cubic, lo: float, hi: float) -> float:
    """Newton's method kept inside a bracket with `f(lo) > 0 ≥ f(hi)`; bisects when it leaves."""
    f_lo, f_hi = evaluate(c, lo), evaluate(c, hi)
    s = lo + (hi - lo) * min(max(f_lo / (f_lo - f_hi), 0.0), 1.0)
    for _ in range(STEPS):
        y = evaluate(c, s)
        if y > 0:
            lo = s
        else:
            hi = s
        following = s - y / ((3 * c[3] * s + 2 * c[2]) * s + c[1])
        if not lo <= following <= hi:  # also true for NaN
            following = 0.5 * (lo + hi)
        moved = abs(following - s)
        s = following
        if moved <= TOLERANCE:
            break
    return s
