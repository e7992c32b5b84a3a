"""How depths of the surface change with the lattice: a sparse row of 8 weights for each pixel.

On a ray `x = e + z D` the surface is where φ = 0, so `∂z/∂φ_m = −w_m / (∇φ·D)` with w the trilinear
weights of the 8 vertices of the cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multiview.optimize.band import Band
from sdfrender.geometry.trilinear import gather_corners

FLATTEST = 0.15  # cosine between ray and normal: a row of a surface seen flatter grows no more


def depth_rows(band: Band, points: Tensor, rays: Tensor) -> Any:
    """Derivative of depths in the unknowns, in cells per cell: sparse `[P, M]`.

    Args:
        band: the unknowns.
        points: `[P, 3]` of the surface, world units.
        rays: `[P, 3]` D, at the scale at which its z-depth is 1.
    """
    rows, _ = band.samples(points)
    scale = (-1 / slopes(band.lattice.values, band.lattice, points, rays)).numpy()
    rows.data *= np.repeat(scale.astype(np.float32), np.diff(rows.indptr))
    return rows


def slopes(values: Tensor, lattice: Any, points: Tensor, rays: Tensor) -> Tensor:
    """`∇φ·D` of the trilinear function at `[P, 3]` points, held to at most −FLATTEST |∇φ| |D|."""
    corners, f = gather_corners(values[..., None], lattice.to_index(points))
    corners = corners[..., 0].reshape(-1, 2, 2, 2)
    parts = []
    for axis in range(3):
        rest = [k for k in range(3) if k != axis]
        step = corners.select(1 + axis, 1) - corners.select(1 + axis, 0)  # (P, 2, 2)
        for k in rest[::-1]:
            step = step[..., 0] + f[:, k].reshape(-1, *[1] * (step.ndim - 2)) * (
                step[..., 1] - step[..., 0]
            )
        parts.append(step / lattice.spacing[axis])
    gradient = torch.stack(parts, -1)
    steepest = -FLATTEST * gradient.norm(dim=-1) * rays.norm(dim=-1)
    return torch.minimum((gradient * rays).sum(-1), steepest - 1e-9)


def rays_of(cameras: Any, pixels: NDArray[np.int64]) -> Tensor:
    """World directions `[P, 3]` with a z-depth of 1 of pixels `[P, 3]` (view, row, column)."""
    view, row, column = torch.from_numpy(pixels).T
    places = torch.stack((column + 0.5, row + 0.5, torch.ones(len(pixels))), -1).to(cameras.Ks)
    back = cameras.c2w[:, :3, :3] @ torch.linalg.inv(cameras.Ks)
    return torch.einsum("pij,pj->pi", back[view], places)
