"""The kernel that lights points of a shiny mesh; see `gloss` for the equation."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sdfrender.kernels.compiled import kernel, scalar
from sdfrender.materials.visibility import blocked

Floats = NDArray[np.float64]

SKY_SAMPLES = 4  # of the sky's reflection, per ray from the eye
# Steps of sequences whose fractional parts are spread evenly (Roberts 2018).
ACROSS, AROUND, LAMPS = 0.7548776662466927, 0.5698402909980532, 0.6180339887498949


@scalar
def _spread(n: int, seed: int, step: float) -> float:
    """The n-th number of a sequence in [0, 1)."""
    x = n * step + seed * 0.3819
    return x - math.floor(x)


@scalar
def _g1(cosine: float, alpha: float) -> float:
    """Smith's shadowing of GGX."""
    c2 = cosine * cosine
    return 2 * cosine / (cosine + math.sqrt(alpha * alpha * (1 - c2) + c2))


@scalar
def _schlick(cosine: float, specular: float) -> float:
    return specular + (1 - specular) * (1 - cosine) ** 5


@scalar
def _lobe(nl: float, nv: float, nh: float, alpha: float) -> float:
    """The reflected part of the integrand but for F, per solid angle: D G / (4 n·v)."""
    a2 = alpha * alpha
    d = nh * nh * (a2 - 1) + 1
    return a2 / (math.pi * d * d) * _g1(nl, alpha) * _g1(nv, alpha) / (4 * nv)


@kernel
def shine(
    starts: Floats,
    normals: Floats,
    to_eye: Floats,
    base: Floats,
    rough: Floats,
    lobes: Floats,
    lamps: Floats,
    strength: Floats,
    values: NDArray[np.float32],
    scale: Floats,
    cell: float,
    specular: float,
    seed: int,
    out: Floats,
) -> None:
    """Add what lamps do to points, and the sky's reflection.

    Args:
        starts: `[P, 3]` where shadow rays begin, samples of the lattice.
        normals: `[P, 3]` unit.
        to_eye: `[P, 3]` unit.
        base: `[P, 3]` base colour.
        rough: `[P]` roughness.
        lobes: `[S, 7]` see `GlossLight`.
        lamps: `[M, Q, 3]` directions.
        strength: `[M, 3]` radiance times solid angle of each of them.
        values: `[X, Y, Z]` the lattice.
        scale: `[3]` its samples per world unit.
        cell: its smallest spacing.
        specular: F₀.
        seed: of the sky's samples.
        out: `[P, 3]` radiance; written.
    """
    for p in range(len(starts)):
        n, v = normals[p], to_eye[p]
        nv = max(n[0] * v[0] + n[1] * v[1] + n[2] * v[2], 1e-3)
        alpha = rough[p] * rough[p]
        sx, sy, sz = starts[p]
        for m in range(len(lamps)):
            paint = shine = 0.0
            lit = 0
            for q in range(lamps.shape[1]):
                d = lamps[m, q]
                nl = n[0] * d[0] + n[1] * d[1] + n[2] * d[2]
                if nl <= 0:
                    continue
                hx, hy, hz = v[0] + d[0], v[1] + d[1], v[2] + d[2]
                length = math.sqrt(hx * hx + hy * hy + hz * hz)
                nh = (n[0] * hx + n[1] * hy + n[2] * hz) / length
                vh = (v[0] * hx + v[1] * hy + v[2] * hz) / length
                paint += nl / math.pi
                shine += _lobe(nl, nv, nh, alpha) * _schlick(vh, specular)
                lit += 1
            if lit == 0:
                continue
            # Of a lamp that is partly hidden, this ray sees another point than the next one.
            d = lamps[m, int(_spread(p, seed + m, LAMPS) * lamps.shape[1])]
            if n[0] * d[0] + n[1] * d[1] + n[2] * d[2] > 0 and blocked(
                values, sx, sy, sz, d[0] * scale[0], d[1] * scale[1], d[2] * scale[2], cell
            ):
                continue
            for c in range(3):
                out[p, c] += strength[m, c] * (base[p, c] * paint + shine)
        # A frame whose third axis is the normal, the eye in it.
        sign = 1.0 if n[2] >= 0 else -1.0
        a = -1 / (sign + n[2])
        b = n[0] * n[1] * a
        tx, ty, tz = 1 + sign * n[0] * n[0] * a, sign * b, -sign * n[0]
        ux, uy, uz = b, sign + n[1] * n[1] * a, -n[1]
        ex, ey = v[0] * tx + v[1] * ty + v[2] * tz, v[0] * ux + v[1] * uy + v[2] * uz
        for s in range(SKY_SAMPLES):
            hx, hy, hz = _visible_normal(
                ex,
                ey,
                nv,
                alpha,
                (s + _spread(p, seed, ACROSS)) / SKY_SAMPLES,
                _spread(SKY_SAMPLES * p + s, seed, AROUND),
            )
            vh = max(ex * hx + ey * hy + nv * hz, 0.0)
            lx, ly, lz = 2 * vh * hx - ex, 2 * vh * hy - ey, 2 * vh * hz - nv
            if lz <= 0:
                continue
            dx = lx * tx + ly * ux + lz * n[0]
            dy = lx * ty + ly * uy + lz * n[1]
            dz = lx * tz + ly * uz + lz * n[2]
            if blocked(values, sx, sy, sz, dx * scale[0], dy * scale[1], dz * scale[2], cell):
                continue
            weight = _schlick(vh, specular) * _g1(lz, alpha) / SKY_SAMPLES
            for lobe in lobes:
                power = lobe[3] * (dx * lobe[0] + dy * lobe[1] + dz * lobe[2] - 1)
                for c in range(3):
                    out[p, c] += weight * math.exp(power) * lobe[4 + c]


@scalar
def _visible_normal(
    ex: float, ey: float, ez: float, alpha: float, u: float, w: float
) -> tuple[float, float, float]:
    """A normal of GGX that the eye `(ex, ey, ez)` sees; Heitz 2018, listing 1."""
    vx, vy, vz = alpha * ex, alpha * ey, ez
    length = math.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx / length, vy / length, vz / length
    flat = math.sqrt(vx * vx + vy * vy)
    if flat > 1e-9:
        ax, ay = -vy / flat, vx / flat
    else:
        ax, ay = 1.0, 0.0
    bx, by, bz = -vz * ay, vz * ax, vx * ay - vy * ax
    r, phi = math.sqrt(u), 2 * math.pi * w
    p, q = r * math.cos(phi), r * math.sin(phi)
    s = 0.5 * (1 + vz)
    q = (1 - s) * math.sqrt(1 - p * p) + s * q
    t = math.sqrt(max(0.0, 1 - p * p - q * q))
    hx = alpha * (p * ax + q * bx + t * vx)
    hy = alpha * (p * ay + q * by + t * vy)
    hz = max(1e-9, q * bz + t * vz)
    length = math.sqrt(hx * hx + hy * hy + hz * hz)
    return hx / length, hy / length, hz / length
