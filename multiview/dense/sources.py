"""Which views a view is compared with: they see the same part of the box, at a good angle.

Views side by side look alike but tell depths badly; views far apart tell depths well but look
different. After the score of Yao et al. 2018 (MVSNet, https://arxiv.org/abs/1804.02505), section
4.1, with the points of a grid in the box in the place of those of a sparse reconstruction:

    s_ij = Σ_x  v_i(x) v_j(x) exp(−(θ_ij(x) − θ₀)² / 2σ²),   σ = σ₁ for θ ≤ θ₀, else σ₂

with θ_ij(x) the angle between the lines of sight to x and v whether the frame holds x.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdfrender import Cameras

BEST_ANGLE, NARROWER, WIDER = 14.0, 6.0, 14.0  # θ₀, σ₁ and σ₂, degrees
GRID = 5  # points along each side of the box
LEAST = 0.02  # of the largest possible score: less is no view to compare with
COUNT = 6  # sources of a view, at most

Ints = NDArray[np.int64]


def choose_sources(cameras: Cameras, bounds: Tensor, count: int = COUNT) -> list[Ints]:
    """For each of N views the numbers of the others to compare it with, the best first.

    Args:
        cameras: N views.
        bounds: `[2, 3]` the box, world units.
        count: of sources, at most. A view that shares nothing with others has none.
    """
    scores = pair_scores(cameras, bounds)
    found = []
    for row in scores:
        order = np.argsort(-row, kind="stable")[:count]
        found.append(order[row[order] > LEAST].astype(np.int64))
    return found


def pair_scores(cameras: Cameras, bounds: Tensor) -> NDArray[np.float64]:
    """`[N, N]` s_ij as a fraction of the number of grid points; 0 of a view with itself."""
    lower, upper = bounds.double()
    steps = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    points = lower + (upper - lower) * torch.cartesian_prod(steps, steps, steps)  # (P, 3)
    seen = in_frame(cameras, points).double()
    sight = points - cameras.centers.double()[:, None]  # (N, P, 3)
    sight = sight / sight.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    N = len(cameras)
    scores = np.zeros((N, N))
    for i in range(N):
        angle = torch.rad2deg(torch.arccos((sight[i] * sight).sum(-1).clamp(-1, 1)))  # (N, P)
        width = torch.where(angle <= BEST_ANGLE, NARROWER, WIDER)
        good = torch.exp(-((angle - BEST_ANGLE) ** 2) / (2 * width**2))
        scores[i] = (good * seen[i] * seen).mean(1).numpy()
        scores[i, i] = 0
    return scores


def in_frame(cameras: Cameras, points: Tensor) -> Tensor:
    """`[N, P]` whether each of N views has each of `points` `[P, 3]` in front of it, in frame."""
    x = points.double() - cameras.centers.double()[:, None]
    x = x @ cameras.c2w[:, :3, :3].double()  # (N, P, 3) camera axes
    z = x[..., 2]
    pixels = (x @ cameras.Ks.double().mT)[..., :2] / z.clamp(min=1e-12)[..., None]
    size = torch.tensor((cameras.width, cameras.height), dtype=torch.float64)
    return (z > 0) & ((pixels >= 0) & (pixels <= size)).all(-1)
