"""From a finished surface and its photographs to materials and light."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh
from torch.nn.functional import normalize

from multiview.materials.model import Model
from multiview.materials.observations import observe
from multiview.materials.solve import residual, solve
from multiview.photo.targets import Targets
from multiview.scenes import Scene
from multiview.texture.texture import lighter
from sdfrender import InputError, Lattice, metrics
from sdfrender.files.images import srgb_to_linear
from sdfrender.materials.environment import HEIGHT, Environment
from sdfrender.materials.relight import relit
from sdfrender.materials.shading import sky_directions
from sdfrender.materials.surface import MaterialMesh
from sdfrender.materials.visibility import visibility

log = logging.getLogger("multiview")

FACES = 80_000  # of a mesh that gets materials, at most
FEWEST = 3  # views that see a vertex: of fewer, no roughness can be told


@dataclass(frozen=True)
class MaterialSettings:
    """What nobody can tell from photographs.

    Args:
        specular: F₀ of what does not conduct: .04 is glass, plastic, paint, skin, wood.
        metallic: the object is bare metal: what it reflects has its colour.
    """

    specular: float = 0.04
    metallic: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.specular <= 1:
            raise InputError(f"--specular: need a number from 0 to 1, got {self.specular}")


def estimate_materials(
    lattice: Lattice, mesh: trimesh.Trimesh, scene: Scene, settings: MaterialSettings
) -> tuple[MaterialMesh, dict[str, Any]]:
    """Solve for base colour, roughness and light of a surface that is held fixed.

    Args:
        lattice: the surface, for normals and shadows.
        mesh: the same, about the scene's offset.
        scene: the photographs; the views to fit are fitted.
        settings: what to take for granted.

    Returns:
        The mesh with materials, about the scene's offset, and figures for `metrics.json`.

    Raises:
        InputError: grey photographs, or hardly anything is seen of the surface.
    """
    encoded = scene.color_space == "as stored"
    log.info(
        "materials: photographs are taken as %s",
        "sRGB and decoded to linear light (exposures are taken to be the same)"
        if encoded
        else "linear light, as the scene states them",
    )
    mesh = lighter(mesh, FACES)
    verts = torch.from_numpy(np.array(mesh.vertices, np.float32))
    normals = normalize(lattice.gradient(verts).float(), dim=-1)
    observations = observe(mesh, normals, Targets.of(scene, scene.train), encoded)
    seen_by = torch.bincount(observations.vertices, minlength=len(verts))
    told = float((seen_by >= FEWEST).float().mean())
    if told < 0.1:
        raise InputError(
            f"materials: need vertices that {FEWEST} views see, {told:.0%} are: highlights say "
            "nothing in so few views"
        )
    seen = visibility(lattice, verts, normals, sky_directions())
    metallic = 1.0 if settings.metallic else 0.0
    model = Model(seen, normals, observations, settings.specular, metallic)
    found, model = solve(mesh, model)
    surface = MaterialMesh(
        mesh,
        model.normals,
        found.base_color,
        found.roughness,
        seen,
        settings.specular,
        metallic,
        Environment(found.radiance.reshape(HEIGHT, 2 * HEIGHT, 3)),
    )
    figures = {
        "specular": settings.specular,
        "metallic": metallic,
        "decoded": encoded,
        "residual": residual(model, found),
        "roughness": float(found.roughness.median()),
        "vertices": len(verts),
        "vertices_told": told,
        **{f"{name}_psnr": x for name, x in _scores(surface, scene, encoded).items()},
    }
    return surface, figures


def _scores(surface: MaterialMesh, scene: Scene, encoded: bool) -> dict[str, float]:
    """PSNR inside the masks of both groups, of linear values: means over views, dB."""
    found = {}
    for name, views in (("train", scene.train), ("held_out", scene.held_out)):
        if not views:
            continue
        ids = list(views)
        images, _ = relit(surface, scene.cameras[ids], surface.environment)
        scores = []
        for view, image in zip(ids, images, strict=True):
            photo, inside = scene.images[view].expand(-1, -1, 3), scene.silhouettes[view] > 0.5
            if encoded:
                photo = torch.from_numpy(srgb_to_linear(photo.numpy()))
            if inside.any():
                scores.append(metrics.psnr(image.clamp(0, 1), photo, inside))
        if scores:
            found[name] = sum(scores) / len(scores)
    return found
