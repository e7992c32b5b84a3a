"""The regularisers of `energies` and their derivatives, in one sweep over the vertices."""

from __future__ import annotations

import numpy as np

from sdfrender.geometry.padding import add_unpadded, pad
from sdfrender.kernels.arrays import Doubles, Floats
from sdfrender.kernels.compiled import kernel


def sweep(values: Floats, spacing: Doubles, width: float) -> tuple[float, float, Floats, Floats]:
    """Both sums over the vertices with `|φ| < width`, and what each is in the values.

    Args:
        values: `[X, Y, Z]`.
        spacing: `[3]` float64, world units.
        width: world units; infinity takes every vertex.

    Returns:
        `Σ ((|∇φ|² − 1) / 2)²`, `Σ (h Δφ)²`, and the derivative of each, `[X, Y, Z]`.
    """
    padded = pad(values, 1)
    v_eikonal, v_laplacian = np.zeros_like(padded), np.zeros_like(padded)
    h = np.exp(np.log(spacing).mean())
    sums = add_vertices(padded, 0.5 / spacing, h / spacing**2, width, v_eikonal, v_laplacian)
    gradients = np.zeros_like(values), np.zeros_like(values)
    for margined, out in zip((v_eikonal, v_laplacian), gradients, strict=True):
        add_unpadded([margined], out, 1)
    return *sums, *gradients


@kernel
def add_vertices(
    p: Floats,
    per_step: Doubles,
    curved: Doubles,
    width: float,
    v_eikonal: Floats,
    v_laplacian: Floats,
) -> tuple[float, float]:
    """`sweep` on the padded lattice.

    Args:
        p: `[X+2, Y+2, Z+2]`.
        per_step: `[3]` makes a difference over two cells a slope.
        curved: `[3]` makes a second difference a part of `h Δφ`.
        width: see `sweep`.
        v_eikonal: added to: the padded lattice.
        v_laplacian: added to: the padded lattice.
    """
    ax, ay, az = per_step[0], per_step[1], per_step[2]
    cx, cy, cz = curved[0], curved[1], curved[2]
    eikonal, laplacian = 0.0, 0.0
    for i in range(1, p.shape[0] - 1):
        for j in range(1, p.shape[1] - 1):
            for k in range(1, p.shape[2] - 1):
                middle = p[i, j, k]
                if not abs(middle) < width:
                    continue
                gx = (p[i + 1, j, k] - p[i - 1, j, k]) * ax
                gy = (p[i, j + 1, k] - p[i, j - 1, k]) * ay
                gz = (p[i, j, k + 1] - p[i, j, k - 1]) * az
                r = 0.5 * (gx * gx + gy * gy + gz * gz - 1)
                eikonal += r * r
                v_eikonal[i + 1, j, k] += 2 * r * gx * ax
                v_eikonal[i - 1, j, k] -= 2 * r * gx * ax
                v_eikonal[i, j + 1, k] += 2 * r * gy * ay
                v_eikonal[i, j - 1, k] -= 2 * r * gy * ay
                v_eikonal[i, j, k + 1] += 2 * r * gz * az
                v_eikonal[i, j, k - 1] -= 2 * r * gz * az
                s = (
                    (p[i + 1, j, k] - middle + (p[i - 1, j, k] - middle)) * cx
                    + (p[i, j + 1, k] - middle + (p[i, j - 1, k] - middle)) * cy
                    + (p[i, j, k + 1] - middle + (p[i, j, k - 1] - middle)) * cz
                )
                laplacian += s * s
                v_laplacian[i + 1, j, k] += 2 * s * cx
                v_laplacian[i - 1, j, k] += 2 * s * cx
                v_laplacian[i, j + 1, k] += 2 * s * cy
                v_laplacian[i, j - 1, k] += 2 * s * cy
                v_laplacian[i, j, k + 1] += 2 * s * cz
                v_laplacian[i, j, k - 1] += 2 * s * cz
                v_laplacian[i, j, k] -= 4 * s * (cx + cy + cz)
    return eikonal, laplacian
