"""Which way is up, by the cameras that took photographs.

People hold a camera level, whichever way it looks: the horizontal axis of its picture lies in the
plane of the ground, however far it is tilted up or down. So up is the direction that all these
axes are perpendicular to. The mean of the cameras' own upward directions is not: it leans towards
the viewer where all cameras look down from one side. It only tells up from down, and stands in
where the horizontal axes are all alike or the cameras are rolled.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_AGREEMENT = 0.2  # length of a mean of directions that is believed
LEAST_TURN = 1e-3  # mean squared sine that the horizontal axes turn by, about 2 degrees
LEVEL = 0.05  # of that: what is left of them along up, squared, where cameras are level


def up_direction(c2w: Tensor) -> Tensor | None:
    """Up `[3]`, a unit vector, float64, or None where the cameras do not agree. No gradient.

    Args:
        c2w: `[N, 4, 4]` or `[N, 3, 3]` camera to world, rotations, OpenCV axes.
    """
    right, down, forward = c2w.detach().double()[:, :3, :3].unbind(-1)  # (N, 3) each
    up, back = -down.mean(0), -forward.mean(0)
    variances, axes = torch.linalg.eigh(right.mT @ right / len(right))  # ascending
    if variances[1] > LEAST_TURN and variances[0] < LEVEL * variances[1]:
        for told in (up, back):  # from straight above, what is up is where the cameras are
            along = float(axes[:, 0] @ told)
            if abs(along) >= LEAST_AGREEMENT:
                found: Tensor = axes[:, 0] * (1.0 if along > 0 else -1.0)
                return found
    return up / up.norm() if float(up.norm()) >= LEAST_AGREEMENT else None


def upright_frame(c2w: Tensor) -> Tensor:
    """Rotation `[3, 3]`, float64, from the world to right, up and towards the viewer.

    Up is `up_direction`, y if there is none; the first camera looks from the front.

    Args:
        c2w: as in `up_direction`.
    """
    up = up_direction(c2w)
    if up is None:
        up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    _, down, forward = c2w.detach().double()[0, :3, :3].unbind(-1)
    front = -forward + (forward @ up) * up
    if float(front.norm()) < 0.1:  # it looks along up
        front = down - (down @ up) * up
    front = front / front.norm()
    return torch.stack((torch.linalg.cross(up, front), up, front))
