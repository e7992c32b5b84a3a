"""A painted wall with a relief, which no silhouette bounds, before a few cameras in a row."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import torch
import trimesh
from stereo_tiny import paint
from torch import Tensor

from multiview.photo.targets import Targets
from sdfrender import Cameras, Lattice, Lighting, render
from sdfrender.io.scene_writer import RenderedScene, write_scene

BOX = torch.tensor([[-0.9, -0.7, -0.5], [0.9, 0.65, 0.45]])  # the part that is fitted
WHOLE = torch.tensor([[-2.4, -2.1, -0.8], [2.4, 2.1, 0.5]])  # more than the pictures show


def height(x: Tensor, y: Tensor) -> Tensor:
    """Z of the wall: a broad bump, a round boss and a groove."""
    bump = 0.12 * torch.cos(1.7 * x) * torch.cos(2.1 * y)
    boss = 0.28 * torch.exp(-((x - 0.25) ** 2 + (y + 0.1) ** 2) / 0.05)
    groove = -0.1 * torch.exp(-((x + 0.45) ** 2) / 0.01)
    return bump + boss + groove - 0.1


def wall(resolution: int = 96) -> Lattice:
    """Solid below the height, in more than the box."""
    return Lattice.from_function(
        lambda p: (p[..., 2] - height(p[..., 0], p[..., 1])) / 1.5, resolution, WHOLE
    ).redistance()


def cameras(count: int = 6, width: int = 96, height: int = 72) -> Cameras:
    """In a row 13° apart, off-centre, focal lengths that differ."""
    angle = torch.deg2rad(13.0 * (torch.arange(count, dtype=torch.float64) - (count - 1) / 2))
    eyes = torch.stack((3 * angle.sin(), 0.4 * (2 * angle).cos(), 3 * angle.cos()), -1)
    found = Cameras.look_at(eyes.float(), width=width, height=height, fov=math.radians(40))
    Ks = found.Ks.clone()
    Ks[:, 0, 0] *= 1.03
    Ks[:, 0, 2] += 2.3 * width / 96
    Ks[:, 1, 2] -= 1.7 * height / 72
    return Cameras(found.c2w, Ks, width, height)


def photographs(views: Cameras) -> Targets:
    """Of the whole wall, in its paint; silhouettes say nothing."""
    out = render(wall(), views, lighting=Lighting(ambient=1.0, headlight=None))
    images = torch.full((*out.depths.shape, 1), 0.5)
    images[out.hit_mask] = paint(views.unproject(out.depths, out.hit_mask))
    one = torch.ones(out.depths.shape)
    return Targets(views, images, one, 0 * one, one)


def write_wall(folder: Path, bounds: bool = True, **changes: int) -> Path:
    """The scene on disk, with opaque pictures and no masks."""
    targets = photographs(cameras(**changes))
    images = targets.images.expand(-1, -1, -1, 3).clone()
    images[..., 1] *= 0.8
    write_scene(
        folder,
        RenderedScene(
            images=images,
            silhouettes=targets.silhouettes,
            cameras=targets.cameras,
            lighting=None,
            bounds=BOX,
            mesh=trimesh.creation.box(),
        ),
    )
    shutil.rmtree(folder / "masks")
    file = folder / "transforms.json"
    table = json.loads(file.read_text())
    table["sdfrender"].pop("mesh")
    if not bounds:
        table["sdfrender"].pop("bounds")
    for frame in table["frames"]:
        for key in [key for key in frame if "mask" in key]:
            frame.pop(key)
    file.write_text(json.dumps(table))
    return folder


def off(points: Tensor) -> Tensor:
    """How far points `[P, 3]` are above the wall along z: `[P]`."""
    return points[:, 2] - height(points[:, 0], points[:, 1])
