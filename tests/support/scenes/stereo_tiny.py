"""A painted ball before a few cameras, each with an exposure of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from multiview.photo.targets import Targets
from sdfrender import Cameras, Lattice, render

BOX = torch.tensor([[-1.0, -0.9, -1.1], [1.0, 0.9, 1.1]])
RADIUS = 0.62


def cameras(count: int = 7, width: int = 64, height: int = 50) -> Cameras:
    """On one side, 16° apart; an off-centre principal point, odd focal lengths."""
    angle = torch.arange(count, dtype=torch.float64) * 0.28 - 0.8
    eyes = 3.1 * torch.stack((angle.sin(), 0.3 * (3 * angle).cos(), angle.cos()), -1)
    found = Cameras.look_at(eyes.float(), width=width, height=height, fov=0.62)
    Ks = found.Ks.clone()
    Ks[:, 0, 0] *= 1.04
    Ks[:, 0, 2] += 2.3
    Ks[:, 1, 2] -= 1.7
    return Cameras(found.c2w, Ks, width, height)


def paint(points: Tensor) -> Tensor:
    """Texture in space, `[P, 3]` to `[P, 1]`: waves of some .15 to .5 world units."""
    random = torch.Generator().manual_seed(3)
    total = torch.zeros(points.shape[:-1])
    for wavelength in (0.5, 0.3, 0.2, 0.15):
        for _ in range(4):
            way = torch.randn(3, generator=random)
            phase = 6.28 * torch.rand(1, generator=random)
            total = total + 0.25 * torch.sin(
                points @ way * (6.28 / wavelength / way.norm()) + phase
            )
    return (0.5 + 0.4 * torch.tanh(total))[..., None]


def ball(radius: float = RADIUS, resolution: int = 24) -> Lattice:
    return Lattice.sphere(radius, (0.02, -0.03, 0.05), resolution, BOX)


def photographs(views: Cameras, gains: bool = True) -> Targets:
    """Of the painted ball, each view at an exposure of its own."""
    out = render(ball(resolution=48), views)
    points = views.unproject(out.depths, out.hit_mask)
    images = torch.zeros(*out.silhouettes.shape, 1)
    images[out.hit_mask] = paint(points)
    if gains:
        images = images * torch.linspace(0.4, 1.0, len(views))[:, None, None, None]
    mask = out.hit_mask.float()
    return Targets(views, images, mask, torch.ones_like(mask), torch.ones_like(mask))
