"""A family of shapes learned in seconds: slabs on two legs, by their height and their depth."""

from __future__ import annotations

import itertools
from functools import cache

import torch
from torch import Tensor

from sdfrender.geometry.primitives import SDF, box, union
from sdfrender.latent.field import FieldShape, LatentField

HEIGHTS, DEPTHS = (0.3, 0.5, 0.7), (0.25, 0.45, 0.65)  # half sides; the longest is 0.75


def bench(height: float, depth: float) -> SDF:
    """A slab as a seat on two walls, and a back on one side, in the canonical frame."""
    wall = box((0.12, height, depth), (0.63, 0.0, 0.0))
    other = box((0.12, height, depth), (-0.63, 0.0, 0.0))
    seat = box((0.75, 0.12, depth), (0.0, 0.0, 0.0))
    back = box((0.75, height, 0.1), (0.0, 0.0, depth - 0.1))
    return union(wall, other, seat, back)


@cache
def family(steps: int = 500) -> LatentField:
    """The family, trained; known shapes are all pairs of `HEIGHTS` and `DEPTHS` but the middle."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _train(steps)


def _train(steps: int) -> LatentField:
    sizes = [pair for pair in itertools.product(HEIGHTS, DEPTHS) if pair != (0.5, 0.45)]
    names = [f"bench/{h:g}-{d:g}" for h, d in sizes]
    codes = torch.tensor(sizes) * 2 - 1
    field = LatentField(FieldShape(code=2, width=48, layers=4, octaves=2), names, codes)
    uniform = 2 * torch.rand(len(sizes), 6000, 3) - 1
    points = torch.cat((uniform, _near(sizes, uniform)), 1)
    truth = torch.stack([bench(*s)(p) for s, p in zip(sizes, points, strict=True)])
    optimizer = torch.optim.Adam(field.parameters(), lr=5e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 1e-4)
    for _ in range(steps):
        ids = torch.randint(points.shape[1], (600,))
        found = field(field.codes, points[:, ids])
        loss = (found.clamp(-0.1, 0.1) - truth[:, ids].clamp(-0.1, 0.1)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    return field.plain().requires_grad_(False)


def _near(sizes: list[tuple[float, float]], points: Tensor) -> Tensor:
    """Points pulled most of the way to the surface, along the gradient."""
    near = []
    for size, some in zip(sizes, points, strict=True):
        x = some.clone().requires_grad_()
        values = bench(*size)(x)
        (slope,) = torch.autograd.grad(values.sum(), x)
        near.append((x - 0.9 * values[:, None] * slope).detach())
    return torch.stack(near)
