"""Small fits for a card that is simulated: what is known, and a few steps of Gauss-Newton."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tiny
import torch
from newton_problems import WEIGHTS, with_sh
from torch import Tensor

from multiview.optimize.gauss_newton import GaussNewton
from multiview.optimize.hold import Hold
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.recipes import NewtonLevel, NewtonRecipe
from multiview.scenes.maps.maps import Maps
from sdfrender import Cameras, Lattice

RESOLUTION = (11, 9, 10)
WIDTH, HEIGHT = 13, 11
LEVEL = NewtonLevel(0.5, passes=2, pixels_per_cell=1.0, laplacian=0.05)
FITS = ("one light", "painted, blurred, in turns", "held, with maps")
PICTURES = ("images", "silhouettes", "silhouette_weights", "image_weights")


def look_of(name: str) -> Appearance:
    """Colour, light and lens at first."""
    if name == "painted, blurred, in turns":
        look = with_sh(Appearance(3, None, "albedo", lens=True))
        look.blur = 0.08
        return look
    return with_sh(Appearance(1 if name == "one light" else 3, None))


def start(resolution: Any = RESOLUTION) -> Lattice:
    """Where fits start: a ball beside the middle."""
    middle = torch.tensor(tiny.CENTER) + torch.tensor([0.06, -0.03, 0.04])
    return Lattice.sphere(0.55 * tiny.SCALE, middle.tolist(), resolution, tiny.BOX)


def given(name: str) -> dict[str, Tensor]:
    """Cameras and photographs, and maps, as tensors; rendered on the CPU."""
    count = 4 if "turns" in name else 3
    cameras = tiny.ring(count, WIDTH, HEIGHT)
    cameras.Ks[:, :2, 2] += torch.tensor([0.7, -0.4])
    blank = Targets(cameras, *[torch.zeros(count, HEIGHT, WIDTH)] * 4)
    look = look_of(name)
    out = look.render(tiny.true_lattice(), blank)
    random = torch.Generator().manual_seed(1)
    noise = 0.05 * torch.randn(out.images.shape, generator=random)
    trust = torch.rand((2, *out.silhouettes.shape), generator=random)
    trust = torch.where(trust > 0.2, 1.0, trust)
    pictures = (look.photograph(out.images) + noise, out.silhouettes, trust[0], trust[1])
    known = {"c2w": cameras.c2w, "Ks": cameras.Ks, **dict(zip(PICTURES, pictures, strict=True))}
    if "maps" in name:
        hit = out.hit_mask.float()
        depths = torch.where(out.hit_mask, out.depths, 0.0)
        known |= {"depths": depths, "depth_weights": hit, "normals": out.normals}
    return {key: x.contiguous() for key, x in known.items()}


def method_of(name: str, known: dict[str, Tensor], device: torch.device) -> GaussNewton:
    """What fits, on a device."""
    cameras = Cameras(known["c2w"], known["Ks"], WIDTH, HEIGHT)
    maps, hold = None, None
    if "maps" in name:
        sure = known["depth_weights"]
        maps = Maps(known["depths"], sure, known["normals"], sure, scaled=True)
        hold = Hold(start((6, 7, 8)), 0.02)
    targets = Targets(cameras, *(known[key] for key in PICTURES), maps=maps)
    recipe = NewtonRecipe((LEVEL,), weights=replace(WEIGHTS, huber=0.1), iterations=5, views=3)
    look = look_of(name)
    return GaussNewton(start(), targets, look, recipe, LEVEL, hold, device=device)


def results(name: str, known: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Two steps, each with colours and light after it."""
    method = method_of(name, known, device)
    look, energies = method._given, []
    method.estimate_appearance()
    for index in range(2):
        energies += [terms.total for _, terms in method.run_pass(index)]
        method.solve_appearance()
    found = {
        "values": method.lattice.values,
        "albedo": look.albedo,
        "rest": look.rest,
        "sh": look.light.sh,
        "blur": torch.tensor(look.blur),
        "energies": torch.stack([x.float() for x in energies]),
        "progress": method.state()["progress"],
    }
    return {key: x.contiguous() for key, x in found.items()}
