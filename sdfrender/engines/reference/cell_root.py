"""A trilinear function along a ray: one cubic per cell, its first root and its closest approach.

Notation, for S segments, each the part of a ray inside one cell:
    `s ∈ [0, 1]` runs along the segment, `t = L (a + s)` is the distance from the eye;
    `f(s) = c0 + c1 s + c2 s² + c3 s³` is φ along it;
    `q(s) = f(s) / (a + s)` is proportional to φ/t, the distance to the surface in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

Cubic = tuple[Tensor, Tensor, Tensor, Tensor]
NEWTON_STEPS = 40  # safeguarded, so this bounds the bisection; 5 or 6 are typical


def coefficients(corners: Tensor, start: Tensor, step: Tensor) -> Cubic:
    """The cubic of each segment.

    Args:
        corners: `[8, S]` values at the cell's corners, corner `4i + 2j + k` at `(i, j, k)`.
        start: `[3, S]` where the segment starts, in cell units (0 … 1).
        step: `[3, S]` the segment's extent, in cell units.
    """
    v000, v001, v010, v011, v100, v101, v110, v111 = corners
    # φ = v + kx x + ky y + kz z + kxy xy + kxz xz + kyz yz + kxyz xyz
    kx, ky, kz = v100 - v000, v010 - v000, v001 - v000
    kxy, kxz, kyz = v110 - v100 - ky, v101 - v100 - kz, v011 - v010 - kz
    kxyz = (v111 - v110 - v101 + v100) - kyz
    x, y, z = start
    u, v, w = step
    # partial sums shared by the four coefficients
    xy, xv_yu, uv = x * y, x * v + y * u, u * v
    c0 = v000 + kx * x + ky * y + kxy * xy + z * (kz + kxz * x + kyz * y + kxyz * xy)
    c1 = kx * u + ky * v + kxy * xv_yu + w * (kz + kxz * x + kyz * y + kxyz * xy)
    c1 = c1 + z * (kxz * u + kyz * v + kxyz * xv_yu)
    c2 = kxy * uv + w * (kxz * u + kyz * v + kxyz * xv_yu) + z * kxyz * uv
    c3 = kxyz * uv * w
    return c0, c1, c2, c3


def evaluate(c: Cubic, s: Tensor) -> Tensor:
    """`f(s)` of cubics of `[S]` coefficients, at `s` `[S]`."""
    c0, c1, c2, c3 = c
    return ((c3 * s + c2) * s + c1) * s + c0


def first_root(c: Cubic) -> Tensor:
    """`[S]` the first `s` in [0, 1] with `f(s) ≤ 0`; infinity where there is none."""
    c0, c1, c2, c3 = c
    zero, one = torch.zeros_like(c0), torch.ones_like(c0)
    lower, upper = _quadratic_roots(3 * c3, 2 * c2, c1)  # f is monotone between these
    knots = (zero, lower.clamp(0, 1), upper.clamp(0, 1), one)
    left, right = zero, torch.full_like(c0, torch.inf)
    for k in (2, 1, 0):  # the earliest piece that ends inside overwrites the later ones
        ends_inside = evaluate(c, knots[k + 1]) <= 0
        left = torch.where(ends_inside, knots[k], left)
        right = torch.where(ends_inside, knots[k + 1], right)
    root = torch.where(c0 <= 0, zero, right)
    todo = ((c0 > 0) & torch.isfinite(right)).nonzero()[:, 0]
    if len(todo):
        c0, c1, c2, c3 = (x[todo] for x in c)
        polynomial = (c0, c1, c2, c3)
        derivative = (c1, 2 * c2, 3 * c3, torch.zeros_like(c0))
        root[todo] = _bracketed_root(polynomial, derivative, left[todo], right[todo])
    return root


def closest_approach(c: Cubic, a: Tensor) -> tuple[Tensor, Tensor]:
    """The minimum of `q(s)` over the segment.

    Stationary points of q are roots of `h = f'·(a + s) − f`. As `h' = (a + s) f''`, h rises exactly
    where f is convex, so at most one minimum lies strictly inside.

    Returns:
        `s` `[S]` and `q` `[S]` there.
    """
    c0, c1, c2, c3 = c
    h = (a * c1 - c0, 2 * a * c2, c2 + 3 * a * c3, 2 * c3)
    inflection = -c2 / torch.where(c3 == 0, torch.ones_like(c3), 3 * c3)
    lo = torch.where(c3 > 0, inflection, 0.0).clamp(0, 1)
    hi = torch.where(c3 < 0, inflection, 1.0).clamp(0, 1)
    convex = (c3 != 0) | (c2 > 0)
    q0, q1 = c0 / a, evaluate(c, torch.ones_like(a)) / (a + 1)
    s = (q1 < q0).to(a)
    q = torch.minimum(q0, q1)
    inside = convex & (hi > lo) & (evaluate(h, lo) < 0) & (evaluate(h, hi) > 0)
    todo = inside.nonzero()[:, 0]
    if len(todo):
        ct, ht, at = (
            tuple(x[todo] for x in c),
            tuple(x[todo] for x in h),
            a[todo],
        )
        minus_h = tuple(-x for x in ht)
        slope = (-ht[1], -2 * ht[2], -3 * ht[3], torch.zeros_like(at))
        si = _bracketed_root(minus_h, slope, lo[todo], hi[todo])  # type: ignore[arg-type]
        qi = evaluate(ct, si) / (at + si)  # type: ignore[arg-type]
        better = qi < q[todo]
        s[todo] = torch.where(better, si, s[todo])
        q[todo] = torch.where(better, qi, q[todo])
    return s, q


def _quadratic_roots(A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """Real roots of `A s² + B s + C` in order; 0 stands in for a root that does not exist."""
    D = B * B - 4 * A * C
    w = -0.5 * (B + torch.where(B >= 0, 1.0, -1.0) * D.clamp(min=0).sqrt())
    r1 = torch.where((A != 0) & (D > 0), w / torch.where(A == 0, 1.0, A), 0.0)
    r2 = torch.where((w != 0) & (D > 0), C / torch.where(w == 0, 1.0, w), 0.0)
    return torch.minimum(r1, r2), torch.maximum(r1, r2)


def _bracketed_root(f: Cubic, df: Cubic, lo: Tensor, hi: Tensor) -> Tensor:
    """Newton's method kept inside a bracket with `f(lo) > 0 ≥ f(hi)`; bisects when it leaves."""
    tolerance = 4 * torch.finfo(lo.dtype).eps
    f_lo, f_hi = evaluate(f, lo), evaluate(f, hi)
    s = lo + (hi - lo) * (f_lo / (f_lo - f_hi)).clamp(0, 1)
    for _ in range(NEWTON_STEPS):
        y = evaluate(f, s)
        lo, hi = torch.where(y > 0, s, lo), torch.where(y > 0, hi, s)
        newton = s - y / evaluate(df, s)
        # not (lo ≤ newton ≤ hi) is also true for NaN
        following = torch.where((newton >= lo) & (newton <= hi), newton, 0.5 * (lo + hi))
        moved = float((following - s).abs().max())
        s = following
        if moved <= tolerance:
            break
    return s
