"""Which views are compared with which: near enough to look alike, far enough to tell depths."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdfrender import Cameras

LEAST_ANGLE, MOST_ANGLE = 3.0, 60.0  # degrees between lines of sight
CANDIDATES = 12  # of each view; those that see a point are taken from them, the nearest first

Ints = NDArray[np.int64]


def neighbours(cameras: Cameras, middle: Tensor, count: int = CANDIDATES) -> list[Ints]:
    """The views nearest in angle to each of N views, as the object is seen.

    Args:
        cameras: N views.
        middle: `[3]` of the object, world units.
        count: of neighbours, at most.

    Returns:
        For each view the numbers of others, from `LEAST_ANGLE` to `MOST_ANGLE` away, the nearest
        first; none where there are none.
    """
    away = torch.nn.functional.normalize(cameras.centers.double() - middle.double(), dim=-1)
    angles = torch.rad2deg(torch.arccos((away @ away.T).clamp(-1, 1))).numpy()
    found = []
    for view, angle in enumerate(angles):
        order = np.argsort(angle, kind="stable")
        near = (angle[order] >= LEAST_ANGLE) & (angle[order] <= MOST_ANGLE) & (order != view)
        found.append(order[near][:count].astype(np.int64))
    return found
