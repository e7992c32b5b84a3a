"""Grids of vertices over a box: how many samples along each axis, and where they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Resolution = int | Sequence[int]
UNIT_BOX = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def grid_points(resolution: tuple[int, int, int], bounds: Tensor) -> Tensor:
    """`[X, Y, Z, 3]` world positions of the vertices of a grid over `bounds`."""
    axes = [
        torch.linspace(float(lo), float(hi), n, dtype=torch.float64)
        for lo, hi, n in zip(*bounds.double().tolist(), resolution, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).to(bounds)


def samples_per_axis(resolution: Resolution, bounds: Tensor) -> tuple[int, int, int]:
    """Samples per axis; one number means the longest side, the others follow with even spacing."""
    if isinstance(resolution, int):
        if resolution < 2:
            raise ValueError(f"resolution: need at least 2 samples, got {resolution}")
        size = (bounds[1] - bounds[0]).double()
        axes = (size / size.max() * (resolution - 1)).round().long().clamp(min=1) + 1
        X, Y, Z = (int(n) for n in axes)
    else:
        if len(resolution) != 3 or min(resolution) < 2:
            raise ValueError(f"resolution: need one number or three of at least 2: {resolution}")
        X, Y, Z = (int(n) for n in resolution)
    return X, Y, Z
