"""Small problems for Gauss-Newton: shapes, lights, photographs of a torus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import tiny
import torch

from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from sdfrender import Headlight, Lattice, Lighting
from sdfrender.geometry.primitives import torus

WEIGHTS = replace(tiny.WEIGHTS, band=1.9)
BAND = 3.2  # of unknowns, cells: at least one more than where the regularisers act
RESOLUTION = (17, 11, 15)  # three spacings in tiny.BOX
COLORED = Lighting(ambient=0.1, headlight=Headlight(torch.tensor([0.8, 0.5, 0.3])))


def ring_of(major: float, minor: float, resolution: Any = RESOLUTION) -> Lattice:
    """A torus about the middle, sizes in those of `tiny.true_lattice`."""
    field = torus(major * tiny.SCALE, minor * tiny.SCALE, tiny.CENTER)
    return Lattice.from_function(field, resolution, tiny.BOX)


def ball(resolution: Any = RESOLUTION) -> Lattice:
    middle = torch.tensor(tiny.CENTER) + torch.tensor([0.13, -0.06, 0.09])
    return Lattice.sphere(0.5 * tiny.SCALE, middle.tolist(), resolution, tiny.BOX)


SHAPES: dict[str, Callable[[], Lattice]] = {
    "torus": lambda: ring_of(0.57, 0.25),
    "sphere": ball,  # hides pixels that must be empty
    "cut by the box": lambda: ring_of(0.75, 0.5),  # on five of its faces
}
LIGHTS: dict[str, Callable[[], Appearance]] = {
    "grey": lambda: Appearance(1, tiny.LIGHT),
    "RGB": lambda: with_albedo(Appearance(3, COLORED), [0.9, 0.6, 1.1]),
    "unknown light": lambda: with_sh(Appearance(3, None)),
    "light of the camera": lambda: with_sh(Appearance(3, None, fixed_to="camera")),
    "light of each view": lambda: with_sh(Appearance(3, None, fixed_to="view", views=3)),
    "painted, blurred": lambda: blurred(with_sh(Appearance(3, None, "albedo"))),
}


def with_albedo(look: Appearance, albedo: list[float]) -> Appearance:
    look.albedo = torch.tensor(albedo)
    return look


def with_sh(look: Appearance) -> Appearance:
    sh = 0.2 * torch.randn(look.light.sh.shape, generator=torch.Generator().manual_seed(3))
    sh[..., 0, :] = 0.7
    look.light = replace(look.light, sh=sh)
    return look


def blurred(look: Appearance) -> Appearance:
    """Also with a lattice of colours of its own resolution."""
    look.albedo = torch.rand((9, 8, 7, 3), generator=torch.Generator().manual_seed(4))
    look.blur = 0.03
    return look


def photographs(look: Appearance, count: int = 3, width: int = 37, height: int = 29) -> Targets:
    """Of the torus, not quite as it would be rendered, and each pixel trusted by its own.

    Each view has its own focal length, so that its pixels have their own size.
    """
    cameras = tiny.ring(count, width, height)
    cameras.Ks[:, :2, :2] *= torch.linspace(0.9, 1.2, count)[:, None, None]
    blank = Targets(cameras, *[torch.zeros(count, height, width)] * 4)
    out = look.render(tiny.true_lattice(), blank)
    random = torch.Generator().manual_seed(1)
    noise = 0.1 * torch.randn(out.images.shape, generator=random)
    trust = torch.rand((2, *out.silhouettes.shape), generator=random)
    trust[1] = torch.where(trust[1] > 0.4, 1.0, trust[1])  # carving asks for certain masks
    return Targets(cameras, out.images + noise, out.silhouettes, trust[1], trust[0])
