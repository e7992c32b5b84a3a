"""Signed distance functions of simple solids, and how to combine them.

Each returns a function of points `[..., 3]` (world units) that gives `[...]` distances, negative
inside: exact for single primitives, a lower bound near the joints of combinations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

SDF = Callable[[Tensor], Tensor]


def sphere(radius: float, center: Sequence[float] = (0.0, 0.0, 0.0)) -> SDF:
    """Ball of `radius` about `center`."""

    def distance(p: Tensor) -> Tensor:
        return _length(p - torch.tensor(center).to(p)) - radius

    return distance


def box(half_size: Sequence[float], center: Sequence[float] = (0.0, 0.0, 0.0)) -> SDF:
    """Axis-aligned box with half side lengths `half_size`."""

    def distance(p: Tensor) -> Tensor:
        q = (p - torch.tensor(center).to(p)).abs() - torch.tensor(half_size).to(p)
        return _length(q.clamp(min=0)) + q.amax(-1).clamp(max=0)

    return distance


def torus(radius: float, tube: float, center: Sequence[float] = (0.0, 0.0, 0.0)) -> SDF:
    """Torus about the y axis: `radius` to the middle of a tube of radius `tube`."""

    def distance(p: Tensor) -> Tensor:
        q = p - torch.tensor(center).to(p)
        ring = _length(q[..., (0, 2)]) - radius
        return torch.hypot(ring, q[..., 1]) - tube

    return distance


def capsule(a: Sequence[float], b: Sequence[float], radius: float) -> SDF:
    """All points within `radius` of the segment from `a` to `b`."""

    def distance(p: Tensor) -> Tensor:
        start, axis = torch.tensor(a).to(p), (torch.tensor(b) - torch.tensor(a)).to(p)
        t = ((p - start) @ axis / (axis @ axis)).clamp(0, 1)
        return _length(p - start - t[..., None] * axis) - radius

    return distance


def union(*parts: SDF) -> SDF:
    """Points in any of the parts."""
    return lambda p: torch.stack([part(p) for part in parts]).amin(0)


def intersection(*parts: SDF) -> SDF:
    """Points in all of the parts."""
    return lambda p: torch.stack([part(p) for part in parts]).amax(0)


def difference(solid: SDF, *cut: SDF) -> SDF:
    """Points of `solid` outside every `cut`."""
    return lambda p: torch.maximum(solid(p), -union(*cut)(p))


def smooth_union(a: SDF, b: SDF, radius: float) -> SDF:
    """Union with a fillet of about `radius` (quadratic blend)."""

    def distance(p: Tensor) -> Tensor:
        da, db = a(p), b(p)
        h = (radius - (da - db).abs()).clamp(min=0) / radius
        return torch.minimum(da, db) - h * h * radius / 4

    return distance


def _length(v: Tensor) -> Tensor:
    """Euclidean length along the last axis."""
    length: Tensor = torch.linalg.vector_norm(v, dim=-1)
    return length
