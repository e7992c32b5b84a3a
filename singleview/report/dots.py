"""Pictures of points: the nearest point of a pixel's neighbourhood hides those behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from sdfrender import Cameras
from sdfrender.report.pictures import for_display
from sdfrender.report.turntable import AMBIENT, CLAY, HEADLIGHT

REACH = 1  # pixels that a point covers on each side of its own
PLAIN = (0.34, 0.71, 0.91)  # of points that have no normal: light blue


def draw_points(points: Tensor, normals: Tensor | None, camera: Cameras) -> Tensor:
    """One picture `[H, W, 4]` for a screen, with alpha, of points lit from the camera.

    Args:
        points: `[P, 3]`, world frame.
        normals: `[P, 3]` outward unit normals; without, all points have one colour.
        camera: one view.
    """
    H, W = camera.height, camera.width
    picture = torch.zeros(H * W, 4)
    uv, z = (x[0] for x in camera.project(points.float()))
    if normals is None:
        colors = torch.tensor(PLAIN).expand(len(points), 3)
    else:
        to_eye = torch.nn.functional.normalize(camera.centers - points, dim=-1)
        light = AMBIENT + HEADLIGHT * (normals.float() * to_eye).sum(-1).abs()
        colors = for_display(light)[:, None] * torch.tensor(CLAY)
    steps = torch.cartesian_prod(*[torch.arange(-REACH, REACH + 1)] * 2)  # (9, 2)
    column, row = (uv.floor().long()[:, None] + steps).unbind(-1)  # (P, 9)
    shown = (column >= 0) & (column < W) & (row >= 0) & (row < H) & (z > 0)[:, None]
    pixels = (row * W + column)[shown]
    owners = torch.arange(len(points))[:, None].expand_as(shown)[shown]
    depths = z[owners]
    nearest = torch.full((H * W,), torch.inf).scatter_reduce(0, pixels, depths, "amin")
    first = depths == nearest[pixels]
    picture[pixels[first]] = torch.cat((colors, torch.ones(len(points), 1)), 1)[owners[first]]
    return picture.reshape(H, W, 4)
