"""Regularisers of a lattice: near the surface it should be a distance field, and smooth.

Each is a sum over the vertices of a narrow band of a squared, dimensionless residual, so that its
weight against a sum over pixels does not depend on units. The band chooses vertices; it multiplies
the residual, never the field (which would put a jump at the band's edge).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdfrender.lattice import Lattice
from sdfrender.trilinear import vertex_gradients


def narrow_band(lattice: Lattice, width: float) -> Tensor:
    """Vertices with `|φ| < width · spacing` (largest spacing): bool, the shape of `values`.

    Not differentiable. `width` is in cells; infinity takes every vertex.
    """
    return lattice.values.detach().abs() < width * float(lattice.spacing.max())


def eikonal(lattice: Lattice, width: float = 3.2) -> Tensor:
    """`Σ_band ((|∇φ|² − 1) / 2)²`, ∇φ by central differences; one number per lattice.

    Differentiable in `values`. Zero for a distance field with linear level sets. Source: SDFDiff
    §5, with the factor ½ that makes the residual `|∇φ| − 1` to first order.

    Args:
        lattice: one lattice or a batch.
        width: half width of the band, in cells.

    Returns:
        `[]`, or `[B]` for a batch.
    """
    g = vertex_gradients(lattice.values, lattice.spacing)
    residual = ((g * g).sum(-1) - 1) / 2
    return _sum_of_squares(residual, lattice, width)


def laplacian(lattice: Lattice, width: float = 3.2) -> Tensor:
    """`Σ_band (h Δφ)²`, h the geometric mean of the spacing; one number per lattice.

    Differentiable in `values`. The second difference along an axis is zero at the box's faces, so
    a linear field costs nothing and face vertices are still smoothed along the face.

    Args:
        lattice: one lattice or a batch.
        width: half width of the band, in cells.

    Returns:
        `[]`, or `[B]` for a batch.
    """
    h = lattice.spacing.log().mean().exp()
    total = torch.zeros_like(lattice.values)
    for dim, spacing in zip((-3, -2, -1), lattice.spacing, strict=True):
        n = lattice.values.shape[dim]
        if n < 3:
            continue
        left, middle, right = (lattice.values.narrow(dim, k, n - 2) for k in (0, 1, 2))
        second = (left - 2 * middle + right) * (h / spacing**2)
        pad = [0] * 6
        pad[2 * (-1 - dim)] = pad[2 * (-1 - dim) + 1] = 1
        total = total + torch.nn.functional.pad(second, pad)
    return _sum_of_squares(total, lattice, width)


def _sum_of_squares(residual: Tensor, lattice: Lattice, width: float) -> Tensor:
    return (residual * residual * narrow_band(lattice, width)).sum((-3, -2, -1))
