"""Scale and shift of depth maps that are known up to these: `z ≈ a d + b` in each view."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 10  # of reweighting
FEWEST = 10  # pixels of a view that tell two numbers
LEAST_SPREAD = 1e-6  # of depths, relative to their mean: less tells a shift only


def fit_scales(z: Tensor, depths: Tensor, weights: Tensor, near: float) -> Tensor:
    """`[N, 2]` scale a > 0 and shift b of each view, robust; those of no depths at all are 1, 0.

    Args:
        z: `[N, H, W]` depths of the surface, world units.
        depths: `[N, H, W]` of the maps.
        weights: `[N, H, W]` at least 0; 0 where either is unknown.
        near: differences beyond it count linearly, world units.
    """
    each = [
        _line(d[w > 0].double(), y[w > 0].double(), w[w > 0].double(), near)
        for y, d, w in zip(z, depths, weights, strict=True)
    ]
    return torch.tensor(each, dtype=torch.float64).to(z).reshape(-1, 2)


def _line(x: Tensor, y: Tensor, weights: Tensor, near: float) -> tuple[float, float]:
    """Slope and intercept of a line through points `[P]`, by Huber's weights."""
    if len(x) < FEWEST:
        return 1.0, 0.0
    middle, spread = x.median(), (x - x.median()).abs().median()
    if not spread > LEAST_SPREAD * middle.abs():
        return 1.0, float(y.median() - middle)
    first = (y - y.median()).abs().median() / spread
    a, b = first, y.median() - first * middle
    for _ in range(ROUNDS):
        r = (a * x + b - y).abs()
        w = weights * near / r.clamp(min=near)
        w = w / w.sum()
        mx, my = (w * x).sum(), (w * y).sum()
        slope = (w * (x - mx) * (y - my)).sum() / (w * (x - mx) ** 2).sum()
        a = slope if slope > 0 else first  # nearer is nearer
        b = my - a * mx
    return float(a), float(b)
