"""Regularisers of a lattice: near the surface it should be a distance field, and smooth.

Each is a sum over the vertices of a narrow band of a squared, dimensionless residual, so that its
weight against a sum over pixels does not depend on units. The band chooses vertices; it multiplies
the residual, never the field (which would put a jump at the band's edge).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.trilinear import vertex_gradients
from sdfrender.geometry.vertex_sums import sweep


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


def regularizers(lattice: Lattice, width: float = 3.2) -> tuple[Tensor, Tensor]:
    """`eikonal` and `laplacian` at once, of one lattice or a batch.

    Differentiable once in `values`. On the CPU one sweep of a compiled kernel, many times as fast
    as the two functions; anything else goes through them.
    """
    values = lattice.values
    compiled = values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64)
    if not compiled:
        return eikonal(lattice, width), laplacian(lattice, width)
    cells = torch.tensor(lattice.resolution) - 1
    bounds = lattice.bounds.double()
    limit = width * float(lattice.spacing.max())
    sums: tuple[Tensor, Tensor] = _Sweep.apply(  # type: ignore[no-untyped-call]
        values, (bounds[1] - bounds[0]) / cells, limit
    )
    return sums


class _Sweep(torch.autograd.Function):
    """Two sums over the vertices of each lattice, and their derivatives kept for later."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, spacing: Tensor, limit: float) -> tuple[Tensor, Tensor]:
        """`values` `[..., X, Y, Z]`, `spacing` `[3]`; returns two sums `[...]`."""
        batch = values.shape[:-3]
        arrays = values.detach().reshape(-1, *values.shape[-3:]).numpy()
        swept = [sweep(array, spacing.numpy(), limit) for array in arrays]
        gradients = (np.stack([x[n] for x in swept]).reshape(values.shape) for n in (2, 3))
        ctx.save_for_backward(*(torch.from_numpy(g) for g in gradients))
        first, second = (values.new_tensor([x[n] for x in swept]).reshape(batch) for n in (0, 1))
        return first, second

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """The two gradients, each times what is asked for."""
        first, second = ctx.saved_tensors
        v_first, v_second = (g[..., None, None, None] for g in grads)
        return v_first * first + v_second * second, None, None


def _sum_of_squares(residual: Tensor, lattice: Lattice, width: float) -> Tensor:
    return (residual * residual * narrow_band(lattice, width)).sum((-3, -2, -1))
