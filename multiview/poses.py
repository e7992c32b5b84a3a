"""Corrections of the cameras: where photographs say that they stood a little elsewhere.

Each view's pose is moved by a rotation about the middle of the box and a translation, so that its
rendering agrees better with its photograph; the shape is held fixed. Six unknowns a view are few:
the derivative of an image in them is taken by central differences, and a step of Gauss-Newton
solves for all views at once. The motion that all views share would move the shape along with
them; it is taken out, as is a common change of distance, which would scale it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from multiview.appearance import Appearance
from multiview.optimize.energy import Weights, pixel_weights, residuals
from multiview.optimize.targets import Targets
from multiview.scenes import Scene
from sdfrender import Cameras, Lattice

DIFFERENCE = 0.25  # pixels that a central difference moves the picture by
LARGEST_STEP = 2.0  # pixels
SPREAD = math.radians(1.0)  # of corrections that are likely: an angle, and a fraction of distance
NOISE = 0.5  # of pixels, against which the likely corrections count


@dataclass(frozen=True)
class Corrections:
    """How the N training views' cameras were moved.

    Args:
        rotations: `[N, 3]` about `center`: axis times angle, radians, world frame.
        translations: `[N, 3]` after that, world units.
        center: `[3]` the middle of the box.
    """

    rotations: Tensor
    translations: Tensor
    center: Tensor

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
        return Cameras(c2w, cameras.Ks, cameras.width, cameras.height)

    def moved(self, step: Tensor) -> Corrections:
        """With `step` `[N, 6]` added, rotations first."""
        return replace(
            self,
            rotations=self.rotations + step[:, :3],
            translations=self.translations + step[:, 3:],
        )


def refine_cameras(
    corrections: Corrections,
    lattice: Lattice,
    targets: Targets,
    appearance: Appearance,
    weights: Weights,
) -> Corrections:
    """One step of Gauss-Newton for the poses of all views. Not differentiable.

    Args:
        corrections: so far.
        lattice: the shape, held fixed.
        targets: N views with their cameras as they were given, not corrected.
        appearance: colour, light and lens, held fixed.
        weights: of the energy.
    """
    given = targets.cameras
    distances = (given.centers - corrections.center).norm(dim=-1)
    pixel = targets.pixel_sizes(lattice)  # (N,)
    radius = 0.25 * float((lattice.bounds[1] - lattice.bounds[0]).norm())
    units = torch.cat(((pixel / radius)[:, None].expand(-1, 3), pixel[:, None].expand(-1, 3)), 1)

    def weighted_residuals(at: Corrections) -> Tensor:  # (N, R)
        moved = replace(targets, cameras=at.apply(given))
        out = appearance.render(lattice, moved.cameras)
        r_color, r_silhouette = residuals(moved, out, appearance)
        w_color, w_silhouette = pixel_weights(lattice, targets, appearance, weights)
        color = r_color * (w_color[..., None] / r_color.shape[-1]).sqrt()
        return torch.cat((color.flatten(1), (r_silhouette * w_silhouette.sqrt()).flatten(1)), 1)

    with torch.no_grad():
        r = weighted_residuals(corrections)
        columns = []
        for k in range(6):  # in pixels
            step = torch.zeros(len(given), 6)
            step[:, k] = DIFFERENCE * units[:, k]
            ahead, behind = (weighted_residuals(corrections.moved(s)) for s in (step, -step))
            columns.append((ahead - behind) / (2 * DIFFERENCE))
        J = torch.stack(columns, -1)  # (N, R, 6)
        now = torch.cat((corrections.rotations, corrections.translations), 1) / units
        likely = torch.cat(
            (torch.full_like(units[:, :3], SPREAD), SPREAD * distances[:, None].expand(-1, 3)), 1
        )
        cells = (pixel / lattice.spacing.max())[:, None] ** 2
        prior = cells * (NOISE * units / likely) ** 2  # (N, 6)
        A = J.mT @ J + torch.diag_embed(prior)
        b = (J.mT @ r[..., None])[..., 0] + prior * now
        x = torch.linalg.solve(A.double(), -b.double()).float()
        x = x.clamp(-LARGEST_STEP, LARGEST_STEP) * units
    return without_common_motion(corrections.moved(x), given)


def without_common_motion(corrections: Corrections, cameras: Cameras) -> Corrections:
    """The same but for a motion, and a change of distance, that all views have in common."""
    rotations = corrections.rotations - corrections.rotations.mean(0)
    translations = corrections.translations - corrections.translations.mean(0)
    arms = cameras.centers - cameras.centers.mean(0)
    stretch = (translations * arms).sum() / (arms * arms).sum()
    return replace(corrections, rotations=rotations, translations=translations - stretch * arms)


def on_scene(corrections: Corrections, scene: Scene) -> Scene:
    """The scene with its training views' cameras where they were moved to."""
    train = list(scene.train)
    c2w = scene.cameras.c2w.clone()
    c2w[train] = corrections.apply(scene.cameras[train]).c2w
    cameras = Cameras(c2w, scene.cameras.Ks, scene.cameras.width, scene.cameras.height)
    return replace(scene, cameras=cameras)


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
    return {"center": corrections.center.tolist(), "views": views}


def from_description(found: dict[str, Any]) -> Corrections:
    """What `description` was made of."""
    views = found["views"].values()
    return Corrections(
        torch.tensor([view["rotation"] for view in views]),
        torch.tensor([view["translation"] for view in views]),
        torch.tensor(found["center"]),
    )


def rotation_matrices(rotations: Tensor) -> Tensor:
    """`[N, 3, 3]` of axis times angle `[N, 3]`: the exponential of the cross product."""
    x, y, z = rotations.unbind(-1)
    o = torch.zeros_like(x)
    cross = torch.stack((o, -z, y, z, o, -x, -y, x, o), -1).reshape(-1, 3, 3)
    R: Tensor = torch.linalg.matrix_exp(cross)
    return R
