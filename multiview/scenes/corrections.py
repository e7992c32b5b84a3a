"""Corrections of cameras, as a run finds and keeps them, and the scene that they make.

How they are found: `multiview.optimize.poses`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from multiview.scenes.scene import Scene
from sdfrender import Cameras, Lattice
from sdfrender.far import Doubles
from sdfrender.magnitude import LARGEST


@dataclass(frozen=True, eq=False)
class Corrections:
    """How the N training views' cameras were moved.

    Args:
        rotations: `[N, 3]` about `center`: axis times angle, radians, world frame.
        translations: `[N, 3]` after that, world units.
        center: `[3]` the middle of the box.
        intrinsics: `[3]` logarithm of the focal lengths' factor, and the shift of the principal
            point (right, down) as a fraction of the image's width; of all views.
    """

    rotations: Tensor
    translations: Tensor
    center: Tensor
    intrinsics: Tensor = field(default_factory=lambda: torch.zeros(3))

    @classmethod
    def none(cls, count: int, lattice: Lattice) -> Corrections:
        """No view has moved."""
        return cls(torch.zeros(count, 3), torch.zeros(count, 3), lattice.bounds.mean(0))

    def apply(self, cameras: Cameras) -> Cameras:
        """The cameras where they were moved to."""
        R = rotation_matrices(self.rotations)
        c2w = cameras.c2w.clone()
        c2w[:, :3, :3] = R @ c2w[:, :3, :3]
        arms = (cameras.centers - self.center)[..., None]
        c2w[:, :3, 3] = (R @ arms)[..., 0] + self.center + self.translations
        return Cameras(c2w, self.lens(cameras).Ks, cameras.width, cameras.height)

    def lens(self, cameras: Cameras) -> Cameras:
        """Any cameras of the same lens, with its focal length and principal point corrected."""
        Ks = cameras.Ks.clone()
        Ks[:, :2, :2] *= self.intrinsics[0].exp()
        Ks[:, :2, 2] += cameras.width * self.intrinsics[1:]
        return Cameras(cameras.c2w, Ks, cameras.width, cameras.height)

    def moved(self, step: Tensor, lens: Tensor | float = 0.0) -> Corrections:
        """With `step` `[N, 6]` added, rotations first, and `lens` `[3]` to the intrinsics."""
        return replace(
            self,
            rotations=self.rotations + step[:, :3],
            translations=self.translations + step[:, 3:],
            intrinsics=self.intrinsics + lens,
        )


def on_scene(corrections: Corrections, scene: Scene) -> Scene:
    """The scene with its training views' cameras where they were moved to, and its lens.

    Raises:
        ValueError: corrections of another number of views.
    """
    train = list(scene.train)
    if len(corrections.rotations) != len(train):
        raise ValueError(f"{len(corrections.rotations)} cameras, of {len(train)} training views")
    c2w = scene.cameras.c2w.clone()
    c2w[train] = corrections.apply(scene.cameras[train]).c2w
    lens = corrections.lens(scene.cameras)
    return replace(scene, cameras=Cameras(c2w, lens.Ks, lens.width, lens.height))


def description(corrections: Corrections, scene: Scene) -> dict[str, Any]:
    """As JSON: per training view, and how far that is, in degrees and per cent of the distance."""
    cameras = scene.cameras[list(scene.train)]
    shifts = (corrections.apply(cameras).centers - cameras.centers).norm(dim=-1)
    percent = 100 * shifts / (cameras.centers - corrections.center).norm(dim=-1)
    degrees = corrections.rotations.norm(dim=-1).rad2deg()
    views = {
        scene.names[view]: {
            "rotation": corrections.rotations[n].tolist(),
            "translation": corrections.translations[n].tolist(),
            "degrees": float(degrees[n]),
            "percent_of_distance": float(percent[n]),
        }
        for n, view in enumerate(scene.train)
    }
    log_focal, right, down = corrections.intrinsics.tolist()
    lens = {
        "log_focal": log_focal,
        "principal_point": [right, down],
        "focal_percent": 100 * math.expm1(log_focal),
    }
    center = corrections.center.double().numpy() + scene.offset
    return {"center": center.tolist(), "lens": lens, "views": views}


def from_description(found: dict[str, Any], offset: Doubles) -> Corrections:
    """What `description` was made of, about the scene's `offset` `[3]`.

    Raises:
        ValueError: numbers that are not finite, or not as many as there should be.
    """
    views = list(found["views"].values())
    center = torch.tensor(found["center"], dtype=torch.float64) - torch.from_numpy(offset)
    lens = [found["lens"]["log_focal"], *found["lens"]["principal_point"]]
    rotations, translations, intrinsics = (
        torch.tensor(x, dtype=torch.float32)
        for x in ([v["rotation"] for v in views], [v["translation"] for v in views], lens)
    )
    each = (len(views), 3)
    for name, x, shape in (
        ("rotation", rotations, each),
        ("translation", translations, each),
        ("center", center, (3,)),
        ("lens", intrinsics, (3,)),
    ):
        if x.shape != shape or not bool((x.abs() <= LARGEST).all()):
            raise ValueError(f"{name}: need finite numbers {list(shape)}, got {list(x.shape)}")
    return Corrections(rotations, translations, center.float(), intrinsics)


def rotation_matrices(rotations: Tensor) -> Tensor:
    """`[N, 3, 3]` of axis times angle `[N, 3]`: the exponential of the cross product."""
    x, y, z = rotations.unbind(-1)
    o = torch.zeros_like(x)
    cross = torch.stack((o, -z, y, z, o, -x, -y, x, o), -1).reshape(-1, 3, 3)
    R: Tensor = torch.linalg.matrix_exp(cross)
    return R
