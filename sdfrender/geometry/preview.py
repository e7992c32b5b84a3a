"""What a lattice looks like from its sides, at its own resolution, without a renderer."""

from __future__ import annotations

import torch
from torch import Tensor

SIDES = {"from +x": 0, "from −y": 1, "from +z": 2}  # seen along which axis
AMBIENT = 0.15  # of a surface that is seen edge on


def sides(values: Tensor, spacing: Tensor) -> dict[str, Tensor]:
    """Parallel views along the three axes, lit from where they are seen.

    Not differentiable. The surface is found between the first two samples of a line of the grid
    that differ in sign, by linear interpolation; its normal from differences of heights.

    Args:
        values: `[X, Y, Z]`, world units, negative inside.
        spacing: `[3]` world units.

    Returns:
        By the name of the side, `[H, W, 1]` in [0, 1]; 0 where there is no surface.
    """
    values, spacing = values.detach().cpu().double(), spacing.detach().cpu().double()
    pictures = {}
    for name, axis in SIDES.items():
        across = [k for k in range(3) if k != axis]
        lines = values.movedim(axis, -1)
        lines = lines.flip(-1) if "+" in name else lines
        shade = _headlit(lines, spacing[axis], spacing[across])
        # the later axis goes up: z seen from x and y, y seen from z
        pictures[name] = shade.T.flip(0)[..., None]
    return pictures


def _headlit(lines: Tensor, step: Tensor, across: Tensor) -> Tensor:
    """`[H, W]` cosines between the view and the normals of what `[H, W, N]` lines meet first."""
    inside = lines < 0
    hit = inside.any(-1)
    first = inside.to(torch.uint8).argmax(-1)
    before = (first - 1).clamp(min=0)
    a, b = (lines.gather(-1, k[..., None])[..., 0] for k in (before, first))
    share = torch.where(first > 0, a / (a - b).clamp(min=1e-12), 0.0)
    height = -step * (before + share)
    slopes = torch.gradient(height, spacing=(float(across[0]), float(across[1])))
    cosine = (1 + slopes[0] ** 2 + slopes[1] ** 2) ** -0.5
    return torch.where(hit, AMBIENT + (1 - AMBIENT) * cosine, 0.0)
