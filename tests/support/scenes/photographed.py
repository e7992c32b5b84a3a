"""Photographs of a painted stone, rendered, and the cameras that took them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow

import sdfrender as sr

WIDTH, HEIGHT = 360, 270
FOCAL = 400.0
STEP = math.radians(9)
NAMES = "stone {:02d}.jpg"  # with a space, which the library's own files have no room for


def stone() -> tuple[sr.Lattice, torch.Tensor]:
    """A lumpy ball, and its colours `[X, Y, Z, 3]`, as fine as features need."""
    bounds = torch.tensor([[-0.75, -0.75, -0.7], [0.75, 0.75, 0.7]])

    def lumpy(points: torch.Tensor) -> torch.Tensor:
        x, y, z = points.unbind(-1)
        return points.norm(dim=-1) - 0.55 - 0.05 * (7 * x).sin() * (6 * y).cos() * (5 * z).sin()

    lattice = sr.Lattice.from_function(lumpy, (40, 40, 38), bounds)
    random = torch.Generator().manual_seed(5)
    colors = 0.1 + 0.8 * torch.rand(60, 60, 56, 3, generator=random)
    return lattice, colors.mean(-1, keepdim=True).lerp(colors, 0.5)


def cameras(count: int) -> sr.Cameras:
    """`count` cameras on an arc, at two heights in turns."""
    turns = torch.arange(count) * STEP
    eyes = torch.stack((turns.sin(), 0.25 + 0.15 * (torch.arange(count) % 2), turns.cos()), -1)
    seen = sr.Cameras.look_at(2.1 * eyes, width=WIDTH, height=HEIGHT)
    K = torch.tensor([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    return sr.Cameras(seen.c2w, K.expand(count, 3, 3).clone(), WIDTH, HEIGHT)


def placed_model(c2ws: np.ndarray) -> Any:
    """A `pycolmap.Reconstruction` of N pictures with these cameras `[N, 4, 4]`, and no points."""
    import pycolmap

    model = pycolmap.Reconstruction()
    camera = pycolmap.Camera.create_from_model_name(1, "SIMPLE_RADIAL", FOCAL, WIDTH, HEIGHT)
    model.add_camera_with_trivial_rig(camera)
    for n, c2w in enumerate(c2ws):
        w2c = np.linalg.inv(c2w)
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(w2c[:3, :3]), w2c[:3, 3])
        image = pycolmap.Image(name=NAMES.format(n), camera_id=1, image_id=n + 1)
        model.add_image_with_trivial_frame(image, pose)
    return model


def write_photographs(folder: Path, count: int) -> sr.Cameras:
    """JPEG files and masks beside them, in `images` and `masks`; the cameras."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    lattice, colors = stone()
    views = cameras(count)
    light = sr.Lighting(ambient=0.5, headlight=sr.Headlight(0.5))
    with torch.no_grad():
        out = sr.render(lattice, views, lighting=light, albedo=colors)
    for n in range(count):
        pixels = (out.images[n].clamp(0, 1) ** (1 / 2.2) * 255).round().byte().numpy()
        Pillow.fromarray(pixels).save(folder / "images" / NAMES.format(n), quality=95)
        mask = (out.silhouettes[n] > 0.5).numpy().astype(np.uint8) * 255
        Pillow.fromarray(mask).save(folder / "masks" / Path(NAMES.format(n)).with_suffix(".png"))
    return views
