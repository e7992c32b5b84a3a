"""Gradients of pictures, spread in space before a network learns from them.

What a picture asks for it asks of the few cells that its rays hit. A network whose lattices follow
that cell by cell learns noise: each cell goes its own way, and the surface falls to pieces. So the
gradient is smoothed, widely at first and less and less: whole parts move before their details do,
as on coarse lattices that become finer (SDFDiff §5). Smoothing is symmetric and positive, so that
what was a way down stays one (descent in a Sobolev norm: Sundaramoorthi, Yezzi and Mennucci, IJCV
73, 2007).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv3d

LEAST = 0.3  # cells: less than that does nothing


def spread(gradient: Tensor, width: float) -> Tensor:
    """Gradients `[B, X, Y, Z]` of lattices times a Gaussian; beyond the box there is none.

    Args:
        gradient: in values of lattices.
        width: standard deviation, cells; 0 leaves the gradient as it is.
    """
    if width < LEAST:
        return gradient
    reach = math.ceil(3 * width)
    steps = torch.arange(-reach, reach + 1, dtype=gradient.dtype, device=gradient.device)
    bell = (-(steps**2) / (2 * width**2)).exp()
    bell = bell / bell.sum()
    out = gradient[:, None]
    for shape, pad in (
        ((1, 1, -1, 1, 1), (reach, 0, 0)),
        ((1, 1, 1, -1, 1), (0, reach, 0)),
        ((1, 1, 1, 1, -1), (0, 0, reach)),
    ):
        out = conv3d(out, bell.reshape(shape), padding=pad)
    return out[:, 0]
