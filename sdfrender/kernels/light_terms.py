"""Diffuse shading of one point: `color_c = albedo_c · Σ_k b_k(n, d, t) · I[k, c]`.

Each light is one term `b_k`, a row of `lights` `[K, 4 + C]`: its kind, the unit vector towards it
(of a directional light), and its intensity in each channel. See `sdfrender.view.lighting`.
"""

from __future__ import annotations

import math

from sdfrender.kernels.arrays import Doubles
from sdfrender.kernels.compiled import inlined
from sdfrender.kernels.trilinear_cell import Vector

AMBIENT, HEADLIGHT, FALLOFF, DIRECTIONAL = 0, 1, 2, 3
SH = 4  # and the 8 after it
DIRECTION, INTENSITY = 1, 4  # columns

# Factors of the spherical harmonics of order 0, 1 and 2, as in `lighting.sh_basis`.
SH0, SH1, SH2, SH3 = (math.sqrt(k / math.pi) for k in (1 / 4, 3 / 4, 15 / 4, 5 / 16))


@inlined
def kind_and_direction(lights: Doubles, k: int) -> tuple[int, Vector]:
    """The first columns of light k of `[K, 4 + C]`."""
    return int(lights[k, 0]), (lights[k, 1], lights[k, 2], lights[k, 3])


@inlined
def term(kind: int, to: Vector, n: Vector, d: Vector, t: float) -> float:
    """`b_k` at a point with normal `n` seen along `d` from the distance `t`."""
    x, y, z = n
    if kind == AMBIENT:
        return 1.0
    if kind == HEADLIGHT:
        return max(-(x * d[0] + y * d[1] + z * d[2]), 0.0)
    if kind == FALLOFF:
        return max(-(x * d[0] + y * d[1] + z * d[2]), 0.0) / (t * t)
    if kind == DIRECTIONAL:
        return max(x * to[0] + y * to[1] + z * to[2], 0.0)
    if kind == SH:
        return SH0
    if kind == SH + 1:
        return SH1 * y
    if kind == SH + 2:
        return SH1 * z
    if kind == SH + 3:
        return SH1 * x
    if kind == SH + 4:
        return SH2 * x * y
    if kind == SH + 5:
        return SH2 * y * z
    if kind == SH + 6:
        return SH3 * (3 * z * z - 1)
    if kind == SH + 7:
        return SH2 * x * z
    return 0.5 * SH2 * (x * x - y * y)


@inlined
def term_slopes(
    kind: int, to: Vector, n: Vector, d: Vector, t: float
) -> tuple[Vector, Vector, float]:
    """Derivatives of `b_k` in `n`, in `d` and in `t`."""
    x, y, z = n
    zero = (0.0, 0.0, 0.0)
    if kind in (HEADLIGHT, FALLOFF):
        facing = -(x * d[0] + y * d[1] + z * d[2])
        if facing < 0:
            return zero, zero, 0.0
        s = -1.0 if kind == HEADLIGHT else -1.0 / (t * t)
        fall = 0.0 if kind == HEADLIGHT else -2 * facing / (t * t * t)
        return (s * d[0], s * d[1], s * d[2]), (s * x, s * y, s * z), fall
    if kind == DIRECTIONAL:
        if x * to[0] + y * to[1] + z * to[2] < 0:
            return zero, zero, 0.0
        return to, zero, 0.0
    if kind == SH + 1:
        return (0.0, SH1, 0.0), zero, 0.0
    if kind == SH + 2:
        return (0.0, 0.0, SH1), zero, 0.0
    if kind == SH + 3:
        return (SH1, 0.0, 0.0), zero, 0.0
    if kind == SH + 4:
        return (SH2 * y, SH2 * x, 0.0), zero, 0.0
    if kind == SH + 5:
        return (0.0, SH2 * z, SH2 * y), zero, 0.0
    if kind == SH + 6:
        return (0.0, 0.0, 6 * SH3 * z), zero, 0.0
    if kind == SH + 7:
        return (SH2 * z, 0.0, SH2 * x), zero, 0.0
    if kind == SH + 8:
        return (SH2 * x, -SH2 * y, 0.0), zero, 0.0
    return zero, zero, 0.0


@inlined
def irradiance(lights: Doubles, n: Vector, d: Vector, t: float, out: Doubles) -> None:
    """Fill `out` `[C]` with `Σ_k b_k I[k, c]`."""
    for c in range(len(out)):
        out[c] = 0.0
    for k in range(len(lights)):
        kind, to = kind_and_direction(lights, k)
        b = term(kind, to, n, d, t)
        for c in range(len(out)):
            out[c] += b * lights[k, INTENSITY + c]
