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
    N, count = len(cameras), math.ceil(len(cameras) / most)
    if count == 1:
        return [list(range(N))]
    directions = torch.nn.functional.normalize(cameras.centers - middle, dim=-1)
    nearest = torch.full((N,), math.inf)  # of the cameras that were taken; -1 once taken itself
    nearest_of = torch.full((count, N), math.inf)  # of the cameras of each group
    group_of = torch.zeros(N, dtype=torch.int64)
    closed = torch.zeros(count, dtype=torch.bool)
    for taken in range(N):
        if taken % count == 0:  # all groups are of one size
            closed[:] = False
        camera = int(nearest.argmax())
        group = int(nearest_of[:, camera].masked_fill(closed, -1.0).argmax())
        closed[group], group_of[camera] = True, group
        apart = (directions - directions[camera]).norm(dim=-1)  # (N,)
        nearest_of[group] = torch.minimum(nearest_of[group], apart)
        nearest = torch.minimum(nearest, apart)
        nearest[camera] = -1.0
    return [(group_of == group).nonzero()[:, 0].tolist() for group in range(count)]
