"""Views that take turns: a step on some of many views, spread over all directions.

Neighbouring views say nearly the same. A step on a quarter of a hundred views is nearly as good as
one on all, and costs a quarter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdfrender import Cameras


def take_turns(cameras: Cameras, middle: Tensor, most: int) -> list[list[int]]:
    """Share out N cameras among groups of at most `most`, all of about the same size.

    Cameras are taken so that each is as far as can be from all before it (farthest point sampling
    of directions), and each goes to the group whose nearest member is the farthest from it: every
    group sees all sides.

    Args:
        cameras: N cameras.
        middle: `[3]` of the object, world units.
        most: cameras of a group.

    Returns:
        The numbers of the cameras of each group, ascending; one group if all fit.
    """
    N = len(cameras)
    groups: list[list[int]] = [[] for _ in range(math.ceil(N / most))]
    directions = torch.nn.functional.normalize(cameras.centers - middle, dim=-1)
    apart = (directions[:, None] - directions).norm(dim=-1)  # (N, N)
    left, nearest = set(range(N)), torch.full((N,), math.inf)
    while left:
        camera = max(sorted(left), key=lambda n: float(nearest[n]))
        left.remove(camera)
        nearest = torch.minimum(nearest, apart[camera])
        smallest = min(map(len, groups))
        open_ones = [views for views in groups if len(views) == smallest]
        max(open_ones, key=lambda v: _nearest(apart[camera], v)).append(camera)
    return [sorted(views) for views in groups]


def _nearest(distances: Tensor, views: list[int]) -> float:
    return float(distances[views].min()) if views else math.inf
