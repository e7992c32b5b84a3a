"""Photographs as people take them: an exposure and a tone curve of each view, and highlights.

A view's straight colours c become `g cᵞ + s`, with a gain g from .6 to 1.6, γ from .75 to 1.35 and
s a highlight of Blinn and Phong under a lamp near the camera that is another one in each view.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sdfrender import Cameras

GAINS, GAMMAS = (0.6, 1.6), (0.75, 1.35)
HIGHLIGHT, EXPONENT = 0.5, 30.0
LAMP_SPREAD = 0.6  # how far the lamp is from the camera, of its distance


def disturbed(
    images: Tensor, silhouettes: Tensor, normals: Tensor, cameras: Cameras, seed: int
) -> Tensor:
    """The same photographs, disturbed.

    Args:
        images: `[N, H, W, C]` premultiplied by the silhouettes.
        silhouettes: `[N, H, W]` coverage.
        normals: `[N, H, W, 3]` of the surface, world frame; any length, any values outside.
        cameras: N views.
        seed: of gains, tone curves and lamps.
    """
    random = np.random.default_rng(seed)
    out = []
    views = zip(images, silhouettes, normals, cameras_of(cameras), strict=True)
    for image, coverage, normal, camera in views:
        _, rays = camera.rays()
        lamp = -rays[0].mean((0, 1)) + torch.tensor(random.normal(0, LAMP_SPREAD, 3)).float()
        half = normalize(normalize(lamp, dim=0) - rays[0], dim=-1)
        facing = (normalize(normal.float(), dim=-1) * half).sum(-1).clamp(0, 1)
        gain = math.exp(random.uniform(math.log(GAINS[0]), math.log(GAINS[1])))
        gamma = random.uniform(*GAMMAS)
        alpha = coverage[..., None]
        straight = (image / alpha.clamp(min=1e-6)).clamp(0, 1)
        bright = gain * straight**gamma + HIGHLIGHT * facing[..., None] ** EXPONENT
        out.append((bright * alpha).clamp(max=1) * (alpha > 0))
    return torch.stack(out).to(images)


def cameras_of(cameras: Cameras) -> list[Cameras]:
    """Each camera by itself."""
    return [cameras[n] for n in range(len(cameras))]
