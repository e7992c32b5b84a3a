"""Scenes of `linearize`: all that can be in one, small, off-centre and not cubic."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

import sdfrender as sr
from sdfrender import primitives as sdf

BOUNDS = torch.tensor([[-1.0, -1.2, -0.9], [1.1, 1.2, 1.0]], dtype=torch.float64)
RESOLUTION = (19, 26, 23)
WIDTH, HEIGHT = 47, 39
STEP = 1e-6


@dataclass(frozen=True)
class Scene:
    """What `linearize` and `render` are given, and a direction to move the values in."""

    lattice: sr.Lattice
    cameras: sr.Cameras
    direction: Tensor
    options: dict[str, Any] = field(default_factory=dict)

    def linearize(self) -> sr.Linearization:
        return sr.linearize(self.lattice, self.cameras, **self.options)

    def render(self, values: Tensor | None = None) -> sr.Rendering:
        lattice = self.lattice if values is None else self.lattice.with_values(values)
        return sr.render(lattice, self.cameras, **self.options, engine="cpu")

    def cotangents(self, J: sr.Linearization) -> tuple[Tensor, Tensor]:
        out = J.rendering
        return noise(out.images.shape, 1).to(out.images), noise(out.images.shape[:-1], 2).to(
            out.images
        )


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(shape)))


def rough(seed: int, sigma: float, resolution: tuple[int, ...] | None = None) -> Tensor:
    return torch.from_numpy(gaussian_filter(noise(resolution or RESOLUTION, seed).numpy(), sigma))


def views(*eyes: tuple[float, float, float]) -> sr.Cameras:
    cameras = sr.Cameras.look_at(
        torch.tensor(eyes, dtype=torch.float64), width=WIDTH, height=HEIGHT, fov=math.radians(48)
    )
    Ks = cameras.Ks.double().clone()
    Ks[:, 0, 0] *= 1.1
    Ks[:, :2, 2] += torch.tensor([3.3, -2.1])
    return sr.Cameras(cameras.c2w, Ks, WIDTH, HEIGHT)


def blobs(seed: int = 0) -> Tensor:
    """Two rough blobs, one in front of the other: contours before surface, and crumbs."""
    shape = sdf.union(sdf.sphere(0.45, (-0.2, 0.0, 0.0)), sdf.sphere(0.25, (0.4, 0.2, 0.5)))
    base = sr.Lattice.from_function(shape, RESOLUTION, BOUNDS, torch.float64).values
    return base + 0.15 * rough(seed, 1.0)


def scene(name: str, dtype: torch.dtype = torch.float64) -> Scene:
    """A scene by name."""
    values, cameras, options = blobs(), views((0.9, 0.7, 3.0), (-1.5, 2.0, 1.6)), {}
    if name == "colours":
        options = {
            "lighting": sr.Lighting(
                ambient=0.1,
                headlight=sr.Headlight(torch.tensor([0.7, 0.6, 0.5]), falloff=True),
                directional=[sr.Directional((0.3, 0.8, 0.5), 0.3)],
                sh=0.2 * noise((9, 3), 3),
            ),
            "albedo": noise((5, 6, 7, 3), 4).abs(),
            "background": noise((3,), 5).abs(),
        }
    elif name == "light of each view":
        options = {"lighting": sr.Lighting(ambient=0.4, sh=0.2 * noise((2, 9, 3), 3))}
    elif name == "coloured background":
        options = {"background": noise((2, HEIGHT, WIDTH, 3), 5).abs()}
    elif name == "grey albedo":
        options = {"albedo": noise((4, 5, 3, 1), 6).abs(), "background": 0.3}
    elif name == "one ray per pixel":
        options = {"coverage": False, "background": 0.2}
    elif name == "one step":
        options = {"reattach": "one_step"}
    elif name == "cut by the box":
        values = values - 0.5
    elif name == "crumbs":
        values = 0.1 + 0.4 * rough(7, 0.6)
        options = {"background": 0.5}
    elif name == "batch":
        values = torch.stack((values, blobs(8), torch.full_like(values, 1.0)))
    elif name == "two samples":
        values = noise((2, 3, 2), 9) * 0.2 + 0.05
    else:
        assert name == "plain"
    like = tuple(values.shape)
    direction = gaussian_filter(noise(like, 10).numpy(), (0, 1, 1, 1)[-len(like) :])
    lattice = sr.Lattice(values.to(dtype), BOUNDS)
    return Scene(lattice, cameras, torch.from_numpy(direction).to(dtype), options)


NAMES = [
    "plain", "colours", "coloured background", "grey albedo", "one ray per pixel", "one step",
    "cut by the box", "crumbs", "batch", "two samples",
]  # fmt: skip
