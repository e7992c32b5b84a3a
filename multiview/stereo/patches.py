"""Patches of a tangent plane as a view shows them, and how well two of them correlate.

The plane through x with normal n is seen by the reference view i along the rays `e_i + z D_q` of
the patch's pixels q, at depths `z_q = z (n·D) / (n·D_q)`, with z and D those of the middle. In view
j with projection M_j = K_j R_jᵀ these points are, in homogeneous pixels and up to the factor n·D_q,

    p_q = M_j (e_i − e_j) (n·D_q) + z (n·D) M_j D_q        ∂p_q/∂z = (n·D) M_j D_q

Both are linear in the place of q in view i, so a patch takes one division per pixel. Surfaces bend:
`relief` adds what they are behind the plane as they stand, c_q, to z_q, and `c_q (n·D_q) M_j D_q`
to p_q. Without it a ball's best depths would lie inside of it.
"""

from __future__ import annotations

import math
from typing import Any

from sdfrender.kernels.compiled import inlined, scalar

MOST = 6  # neighbours of a pixel
BEST = 0.5  # of its neighbours that are believed: the others may have something in front
FEWEST = 2  # that must be


@scalar
def lines_of_patch(base: Any, rays: Any, normal: Any, depth: float, lines: Any) -> None:
    """Write p and ∂p/∂z of the middle of a patch, and their steps along u and v.

    Args:
        base: `[3]` M_j (e_i − e_j).
        rays: `[6, 3]` D of the middle and its steps along u and v; then M_j of the three.
        normal: `[3]`.
        depth: z of the middle.
        lines: `[6, 3]` written: p, its steps along u and v; ∂p/∂z, its steps.
    """
    nd = normal[0] * rays[0, 0] + normal[1] * rays[0, 1] + normal[2] * rays[0, 2]
    for k in range(3):
        n_ray = normal[0] * rays[k, 0] + normal[1] * rays[k, 1] + normal[2] * rays[k, 2]
        for c in range(3):
            slope = nd * rays[3 + k, c]
            lines[k, c] = base[c] * n_ray + depth * slope
            lines[3 + k, c] = slope


@scalar
def sample_patch(
    picture: Any, known: Any, lines: Any, relief: Any, half: int, slopes: bool, b: Any, db: Any
) -> bool:
    """Read a patch of (2 half + 1)² pixels; False if some of them are not known.

    Args:
        picture: `[H, W]`.
        known: `[H, W]` bool.
        lines: see `lines_of_patch`.
        relief: `[(2 half + 1)²]` c_q (n·D_q) / (n·D).
        half: pixels on each side of the middle.
        slopes: whether derivatives are asked for.
        b: `[(2 half + 1)²]` written.
        db: `[(2 half + 1)²]` written if `slopes`: ∂b/∂z.
    """
    H, W = picture.shape
    q = 0
    for dv in range(-half, half + 1):
        for du in range(-half, half + 1):
            d0 = lines[3, 0] + du * lines[4, 0] + dv * lines[5, 0]
            d1 = lines[3, 1] + du * lines[4, 1] + dv * lines[5, 1]
            d2 = lines[3, 2] + du * lines[4, 2] + dv * lines[5, 2]
            bulge = relief[q]
            w = lines[0, 2] + du * lines[1, 2] + dv * lines[2, 2] + bulge * d2
            # Planes that the patch's rays meet behind the eye have the other sign.
            if w * lines[0, 2] <= 0:
                return False
            x = (lines[0, 0] + du * lines[1, 0] + dv * lines[2, 0] + bulge * d0) / w
            y = (lines[0, 1] + du * lines[1, 1] + dv * lines[2, 1] + bulge * d1) / w
            u, v = x - 0.5, y - 0.5
            if not (u >= 0 and v >= 0 and u < W - 1.001 and v < H - 1.001):
                return False
            column, row = int(u), int(v)
            if not (known[row, column] and known[row + 1, column + 1]):
                return False
            fu, fv = u - column, v - row
            a00, a01 = picture[row, column], picture[row, column + 1]
            a10, a11 = picture[row + 1, column], picture[row + 1, column + 1]
            top = a00 + fu * (a01 - a00)
            bottom = a10 + fu * (a11 - a10)
            b[q] = top + fv * (bottom - top)
            if slopes:
                along_u = (1 - fv) * (a01 - a00) + fv * (a11 - a10)
                db[q] = (along_u * (d0 - x * d2) + (bottom - top) * (d1 - y * d2)) / w
            q += 1
    return True


@scalar
def normalise(b: Any, count: int, floor: float) -> float:
    """Give `count` numbers a mean of 0 and, but for the floor, a variance of 1, in place.

    Returns:
        What they were divided by: `σ = √(variance + floor²)`.
    """
    mean = 0.0
    for q in range(count):
        mean += b[q]
    mean /= count
    square = 0.0
    for q in range(count):
        b[q] -= mean
        square += b[q] * b[q]
    deviation = math.sqrt(square / count + floor * floor)
    for q in range(count):
        b[q] /= deviation
    return deviation


@inlined
def correlation(a: Any, b: Any, count: int) -> float:
    """Mean product of two normalised patches."""
    total = 0.0
    for q in range(count):
        total += a[q] * b[q]
    return total / count


@scalar
def curvature_and_pull(
    a: Any, b: Any, db: Any, deviation: float, half: int, own: int
) -> tuple[float, float]:
    """Mean g² and mean g r of the residual `r = b̂ − â` with `g = ∂r/∂z`, over the own pixels.

    `g = (db − mean db)/σ − b̂ mean(b̂ db)/σ`: the derivative of a patch that is normalised.

    Args:
        a: `[(2 half + 1)²]` a normalised patch.
        b: `[(2 half + 1)²]` the one that moves.
        db: `[(2 half + 1)²]` derivative of the second one before it was.
        deviation: σ of the second one.
        half: of the patch beside its middle, pixels.
        own: of the part of it that counts.
    """
    size = 2 * half + 1
    count = size * size
    mean, along = 0.0, 0.0
    for q in range(count):
        mean += db[q]
        along += b[q] * db[q]
    mean, along = mean / count, along / (count * deviation)
    squares, product = 0.0, 0.0
    for row in range(half - own, half + own + 1):
        for q in range(row * size + half - own, row * size + half + own + 1):
            g = (db[q] - mean) / deviation - b[q] * along
            squares += g * g
            product += g * (b[q] - a[q])
    counted = (2 * own + 1) ** 2
    return squares / counted, product / counted


@scalar
def best_first(scores: Any, count: int, order: Any) -> int:
    """Sort `count` neighbours by score, the best first; returns how many are believed."""
    for n in range(count):
        order[n] = n
    for n in range(1, count):
        this, k = order[n], n - 1
        while k >= 0 and scores[order[k]] < scores[this]:
            order[k + 1] = order[k]
            k -= 1
        order[k + 1] = this
    return max(min(FEWEST, count), math.ceil(BEST * count))
