"""A family of ellipsoids, learned in a second: a network small enough to make in a test."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from sdfrender.latent.field import FieldShape, LatentField

SHAPE = FieldShape(code=4, width=32, layers=4, octaves=1)
AXES = [(0.75, a, b) for a in (0.35, 0.5, 0.65) for b in (0.35, 0.5, 0.65)]  # half axes

STEPS, RATE = 400, 4e-3


def ellipsoid(points: Tensor, axes: tuple[float, float, float]) -> Tensor:
    """Distances to an ellipsoid to first order, negative inside: `[P]` of `[P, 3]`."""
    scale = torch.tensor(axes).to(points)
    k = (points / scale).norm(dim=-1)
    slope = (points / scale.square()).norm(dim=-1)
    return k * (k - 1) / slope.clamp(min=1e-6)


def random_field(seed: int = 0, shape: FieldShape = SHAPE, normed: bool = False) -> LatentField:
    """A network that has learned nothing, in float64, with two codes."""
    torch.manual_seed(seed)
    codes = torch.randn(2, shape.code)
    return LatentField(shape, ["ball/0", "ball/1"], codes, normed).double()


@lru_cache(maxsize=1)
def ellipsoids() -> LatentField:
    """The network; its codes are those of `AXES`. Do not change it."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    codes = torch.randn(len(AXES), SHAPE.code) / math.sqrt(SHAPE.code)
    names = [f"ball/{i}" for i in range(len(AXES))]
    field = LatentField(SHAPE, names, codes)
    rates = [
        {"params": [x for x in field.parameters() if x is not field.codes], "lr": RATE},
        {"params": [field.codes], "lr": 2 * RATE},
    ]
    optimizer = torch.optim.Adam(rates)
    for step in range(STEPS):
        for group, rate in zip(optimizer.param_groups, (RATE, 2 * RATE), strict=True):
            group["lr"] = rate * (1 - step / STEPS)
        points = 1.8 * torch.rand(len(AXES), 100, 3, generator=generator) - 0.9
        truth = torch.stack([ellipsoid(p, a) for p, a in zip(points, AXES, strict=True)])
        error = field(field.codes, points) - truth.clamp(-0.3, 0.3)
        loss = error.abs().mean() + 1e-4 * field.codes.square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return field.requires_grad_(False)
