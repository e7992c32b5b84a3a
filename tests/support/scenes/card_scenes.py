"""Scenes for the CUDA engine, tiny: each thread of a simulated card takes a millisecond."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from linearize_scenes import BOUNDS, noise, rough
from torch import Tensor

import sdfrender as sr
from sdfrender import primitives as sdf

RESOLUTION = (9, 12, 10)  # not a cube; more cells than a block has along one axis
WIDTH, HEIGHT = 13, 11
OUTPUTS = ("images", "silhouettes", "depths", "normals")


@dataclass(frozen=True)
class CardScene:
    """What `render` is given; gradients are taken in all that has one."""

    values: Tensor
    options: dict[str, Any] = field(default_factory=dict)

    def results(
        self, engine: str, device: str = "cpu", deterministic: bool = False
    ) -> dict[str, Tensor]:
        """Images, and derivatives of a sum of all of them with random weights, by name."""
        values = self.values.to(device).requires_grad_()
        c2w, Ks = (x.clone().to(device).requires_grad_() for x in camera_tensors())
        leaves = {"values": values, "c2w": c2w, "Ks": Ks}
        options = dict(self.options)
        if isinstance(options.get("albedo"), Tensor):
            leaves["albedo"] = options["albedo"].to(values).requires_grad_()
            options["albedo"] = leaves["albedo"]
        if "sh" in options:
            leaves["sh"] = options.pop("sh").to(values).requires_grad_()
            options["lighting"] = sr.Lighting(
                ambient=0.1, headlight=sr.Headlight(0.7, falloff=True), sh=leaves["sh"]
            )
        cameras = sr.Cameras(c2w, Ks, WIDTH, HEIGHT)
        options |= {"engine": engine, "deterministic": deterministic}
        out = sr.render(sr.Lattice(values, BOUNDS), cameras, **options)
        fields = {name: getattr(out, name) for name in OUTPUTS}
        loss = 0.0
        for n, x in enumerate(fields.values()):
            weights = noise(tuple(x.shape), n).to(x) * torch.isfinite(x)
            loss = loss + (weights * torch.where(torch.isfinite(x), x, 0.0)).sum()
        derivatives = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)  # type: ignore[arg-type]
        found = {name: x.detach().cpu() for name, x in fields.items()}
        found["hits"] = out.hit_mask.cpu()
        for name, x in zip(leaves, derivatives, strict=True):
            if x is not None:
                found[f"v_{name}"] = x.cpu()
        return found

    def not_finite(self, engine: str, device: str = "cpu") -> Tensor:
        """The derivative in the values of what is not a number."""
        values = self.values.to(device).requires_grad_()
        cameras = sr.Cameras(*camera_tensors(), WIDTH, HEIGHT)
        lattice = sr.Lattice(values, BOUNDS)
        out = sr.render(lattice, cameras, engine=engine, deterministic=True)
        (out.silhouettes.sum() + math.nan * out.images[0, HEIGHT // 2, WIDTH // 2].sum()).backward()
        assert values.grad is not None
        return values.grad.cpu()

    def products(self, engine: str, device: str = "cpu") -> dict[str, Tensor]:
        """Products with the Jacobian of all outputs and its transpose, by name."""
        c2w, Ks = camera_tensors()
        lattice = sr.Lattice(self.values.to(device), BOUNDS)
        options = dict(self.options)
        if "sh" in options:
            options["lighting"] = sr.Lighting(ambient=0.1, sh=options.pop("sh").to(lattice.values))
        if isinstance(options.get("albedo"), Tensor):
            options["albedo"] = options["albedo"].to(lattice.values)
        cameras = sr.Cameras(c2w, Ks, WIDTH, HEIGHT)
        J = sr.linearize(lattice, cameras, outputs=OUTPUTS, engine=engine, **options)
        direction = noise(tuple(self.values.shape), 20).to(lattice.values)
        tangents = dict(zip(OUTPUTS, J.jvp(direction), strict=True))
        given = {
            name: noise(tuple(x.shape), 30 + n).to(x)
            for n, (name, x) in enumerate(tangents.items())
        }
        weights = {name: x.square() for name, x in given.items()}
        found = {f"jvp/{name}": x for name, x in tangents.items()}
        found["vjp"] = J.vjp(**given)
        found["vjp of images"] = J.vjp(given["images"])
        found["squares"] = J.squared_vjp(**weights, exact=False)
        found["exact squares"] = J.squared_vjp(**weights)
        if self.values.ndim == 3:
            found |= self.products_on_some(engine, lattice, cameras, options)
        return {name: x.cpu() for name, x in found.items()}

    def products_on_some(
        self, engine: str, lattice: sr.Lattice, cameras: sr.Cameras, options: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Products on every vertex near the surface alone, faces of the box among them."""
        J = sr.linearize(lattice, cameras, engine=engine, **options)
        near = (lattice.values.abs() < 0.3).flatten().nonzero()[:, 0]
        of_engine = near if engine == "cuda" else near.cpu().numpy()
        some = J.on(of_engine)
        x = noise((len(near),), 40).to(lattice.values)
        image, mask = (
            noise(tuple(y.shape), n).abs()
            for n, y in ((41, J.rendering.images), (42, J.rendering.silhouettes))
        )
        image, mask = image.to(x), mask.to(x)
        given = x if engine == "cuda" else x.cpu().numpy()
        found = {
            "on/normal": some.normal(image, mask)(given),
            "on/normal of silhouettes": some.normal(silhouettes=mask)(given),
            "on/vjp": some.vjp(image, mask),
            "on/squares": some.squared_vjp(image, mask),
            "on/jvp": torch.cat([y.flatten() for y in some.jvp(given)]),
        }
        return {name: torch.as_tensor(y) for name, y in found.items()}


def camera_tensors() -> tuple[Tensor, Tensor]:
    """Two views in float64, the principal point away from the middle, pixels not square."""
    eyes = torch.tensor([[0.9, 0.7, 3.0], [-1.5, 2.0, 1.6]], dtype=torch.float64)
    cameras = sr.Cameras.look_at(eyes, width=WIDTH, height=HEIGHT, fov=math.radians(48))
    Ks = cameras.Ks.double().clone()
    Ks[:, 0, 0] *= 1.1
    Ks[:, :2, 2] += torch.tensor([1.3, -0.8])
    return cameras.c2w.double(), Ks


def blobs() -> Tensor:
    """Two rough blobs, one in front of the other."""
    shape = sdf.union(sdf.sphere(0.45, (-0.2, 0.0, 0.0)), sdf.sphere(0.3, (0.4, 0.2, 0.5)))
    base = sr.Lattice.from_function(shape, RESOLUTION, BOUNDS, torch.float64).values
    return base + 0.1 * rough(0, 1.0, RESOLUTION)


def scene(name: str) -> CardScene:
    """A scene by name."""
    if name == "colours":
        albedo = noise((4, 5, 3, 3), 4).abs()
        return CardScene(blobs(), {"sh": 0.2 * noise((9, 3), 3), "albedo": albedo})
    if name == "float32":
        return CardScene(blobs().float())
    if name == "one ray per pixel":
        return CardScene(blobs(), {"coverage": False})
    if name == "one step":
        return CardScene(blobs(), {"reattach": "one_step"})
    if name == "cut by the box":
        return CardScene(blobs() - 0.5)
    if name == "crumbs":
        return CardScene(0.1 + 0.4 * rough(7, 0.6, RESOLUTION))
    if name == "light of each view":
        return CardScene(blobs(), {"sh": 0.2 * noise((2, 9, 1), 3)})
    if name == "batch":
        return CardScene(torch.stack((blobs(), torch.full(RESOLUTION, 1.0).double())))
    if name == "coloured background":
        return CardScene(blobs(), {"background": noise((2, HEIGHT, WIDTH, 3), 5).abs()})
    if name == "nothing":
        return CardScene(torch.full(RESOLUTION, 1.0).double())
    if name == "two samples":
        return CardScene(noise((2, 3, 2), 9) * 0.2 + 0.05)
    assert name == "plain"
    return CardScene(blobs())


# Those that are linearised, too.
LINEAR = (
    "colours",
    "float32",
    "one step",
    "cut by the box",
    "crumbs",
    "nothing",
    "one ray per pixel",
    "batch",
    "coloured background",
)
# Those whose derivatives are also added up in whole numbers.
DETERMINISTIC = ("plain", "colours", "float32", "batch")
NAMES = [
    "plain", "colours", "float32", "one ray per pixel", "one step", "cut by the box", "crumbs",
    "light of each view", "batch", "coloured background", "two samples",
]  # fmt: skip
