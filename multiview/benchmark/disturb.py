"""Photographs as people take them: what differs from view to view, or is too bright for a sensor.

What becomes of a view's straight colours c, by the kind of disturbance:

- views: `g cᵞ + s` with a gain g from .6 to 1.6, γ from .75 to 1.35, and s a highlight of Blinn and
  Phong under a lamp near the camera; others in each view.
- drift: `g c`; the gain grows from .6 to 1.6 from the first view to the last.
- shadow: without the first lamp where an unseen rod along its rays keeps that off. The rod moves
  across the object from the first view to the last.
- saturation: `g c`, with the gain at which a third of all pixels are saturated.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sdfrender import Cameras, Lighting

GAINS, GAMMAS = (0.6, 1.6), (0.75, 1.35)
HIGHLIGHT, EXPONENT = 0.5, 30.0
LAMP_SPREAD = 0.6  # how far the lamp is from the camera, of its distance
SHADOW, EDGE = 0.25, 0.05  # radius and width of the soft edge, world units
PATH = 0.6  # world units from the middle at which the shadow begins and ends
SATURATED = 1 / 3  # of the pixels inside the masks


def disturbed(
    images: Tensor, silhouettes: Tensor, normals: Tensor, cameras: Cameras, seed: int
) -> Tensor:
    """The same photographs, each with an exposure, a tone curve and highlights of its own.

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


def drifting(images: Tensor, silhouettes: Tensor) -> Tensor:
    """The same photographs at an exposure that grows from view to view.

    Args:
        images: `[N, H, W, C]` premultiplied by the silhouettes, in the order they were taken.
        silhouettes: `[N, H, W]` coverage.
    """
    low, high = map(math.log, GAINS)
    gains = torch.linspace(low, high, len(images)).exp()
    return exposed_at(images, silhouettes, gains)


def saturated(images: Tensor, silhouettes: Tensor) -> Tensor:
    """The same photographs, so bright that a third of all pixels have a saturated channel.

    Args:
        images: `[N, H, W, C]` premultiplied by the silhouettes.
        silhouettes: `[N, H, W]` coverage.
    """
    brightest = images.amax(-1)[silhouettes > 0.999]
    level = np.quantile(brightest.numpy(), 1 - SATURATED)
    return exposed_at(images, silhouettes, torch.full((len(images),), 1 / float(level)))


def exposed_at(images: Tensor, silhouettes: Tensor, gains: Tensor) -> Tensor:
    """Premultiplied images `[N, H, W, C]` times `gains` `[N]`, straight colours held to 1."""
    return torch.minimum(images * gains[:, None, None, None].to(images), silhouettes[..., None])


def shadowed(images: Tensor, unlit: Tensor, points: Tensor, lights: list[Lighting]) -> Tensor:
    """The same photographs with the shadow of a thing that is not seen, at another place in each.

    Args:
        images: `[N, H, W, C]`.
        unlit: `[N, H, W, C]` the same without the first lamp.
        points: `[N, H, W, 3]` what pixels show, world frame; any values outside.
        lights: of each view; their first lamp is what casts the shadow.
    """
    out = []
    for n, light in enumerate(lights):
        axis = normalize(torch.as_tensor(light.directional[0].to_light).double(), dim=0)
        across = normalize(torch.linalg.cross(axis, torch.tensor([0.0, 1.0, 0.0]).double()), dim=0)
        middle = PATH * (2 * n / max(len(lights) - 1, 1) - 1) * across
        off = points[n].double() - middle
        off = off - (off @ axis)[..., None] * axis
        lit = ((off.norm(dim=-1) - SHADOW) / EDGE + 0.5).clamp(0, 1)[..., None].to(images)
        out.append(lit * images[n] + (1 - lit) * unlit[n])
    return torch.stack(out)


def without_first(light: Lighting) -> Lighting:
    """The light without its first lamp."""
    return Lighting(light.ambient, light.headlight, light.directional[1:], light.sh)


def cameras_of(cameras: Cameras) -> list[Cameras]:
    """Each camera by itself."""
    return [cameras[n] for n in range(len(cameras))]
