"""Noise of depth and normal maps, from themselves: what differs from both neighbours in a row."""

from __future__ import annotations

import torch
from torch import Tensor

FEWEST = 100  # pixels that tell a noise
DEVIATION = 1.4826  # standard deviation of a normal distribution with a median of 1


def depth_noise(depths: Tensor, weights: Tensor) -> float:
    """Standard deviation of the noise of depths `[N, H, W]`, in their units.

    The median of `|z₋ − 2 z₀ + z₊|` along rows and columns, over √6: edges hardly count, and a
    plane has none. Zero where too little is known.
    """
    return _second_differences(depths[..., None], weights > 0)


def normal_noise(normals: Tensor, weights: Tensor) -> float:
    """The same of the coordinates of normals `[N, H, W, 3]`."""
    return _second_differences(normals, weights > 0)


def _second_differences(planes: Tensor, known: Tensor) -> float:
    found = []
    for axis in (1, 2):
        n = planes.shape[axis] - 2
        if n < 1:
            continue
        left, here, right = (planes.narrow(axis, k, n) for k in range(3))
        all_known = torch.stack([known.narrow(axis, k, n) for k in range(3)]).all(0)
        found.append((left - 2 * here + right)[all_known].abs().flatten())
    differences = torch.cat(found) if found else torch.zeros(0)
    if len(differences) < FEWEST:
        return 0.0
    return DEVIATION * float(differences.median()) / 6**0.5
