"""What `sdfrender view` shows of a run beside its shape: cameras, small photographs, errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh

from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.results.evaluate import predictions
from multiview.results.report.views import displayed
from multiview.scenes import Scene
from multiview.texture.surface_colors import vertex_colors
from sdfrender import Lattice
from sdfrender.geometry.mesh_distance import signed_distances
from sdfrender.viewer.exhibit import VIEWS, Errors, Views, save_views

PICTURE_SIZE = 192  # pixels along the longer side
DISTANCE = "distance to the reference, of its longest side"
RESIDUAL = "difference from the photographs, of full scale"


def save_viewed(
    folder: Path,
    scene: Scene,
    lattice: Lattice,
    appearance: Appearance,
    mesh: trimesh.Trimesh,
    reference: trimesh.Trimesh | None,
) -> None:
    """Write `views.safetensors` into a run's folder."""
    errors = (
        residuals(Targets.of(scene, scene.train).within(PICTURE_SIZE), lattice, appearance, mesh)
        if reference is None
        else distances(mesh, reference)
    )
    save_views(folder / VIEWS, views_of(scene), errors, scene.offset)


def views_of(scene: Scene) -> Views:
    """The cameras that were fitted or held out, with small pictures."""
    chosen = sorted((*scene.train, *scene.held_out))
    targets = Targets.of(scene, chosen).within(PICTURE_SIZE)
    pictures = displayed(scene, targets.images).clamp(0, 1).expand(-1, -1, -1, 3)
    names = tuple(scene.names[k] for k in chosen)
    fitted = tuple(k in scene.train for k in chosen)
    return Views(names, fitted, targets.cameras, (pictures * 255).round().byte())


def distances(mesh: trimesh.Trimesh, reference: trimesh.Trimesh) -> Errors:
    """From each vertex to the reference's surface."""
    apart = np.abs(signed_distances(reference, np.asarray(mesh.vertices, np.float64)))
    return Errors(torch.from_numpy(apart / reference.extents.max()).float(), DISTANCE)


def residuals(
    targets: Targets, lattice: Lattice, appearance: Appearance, mesh: trimesh.Trimesh
) -> Errors:
    """How far renderings are from the photographs at each vertex: rms over channels, over views.

    Blended over the views that see the vertex as their colours are; smooth where none does.
    """
    targets = targets[range(len(targets.cameras))]  # small, and needed at once
    pairs = zip(predictions(lattice, appearance, targets), targets.images, strict=True)
    apart = [(image - shown).square().mean(-1, keepdim=True).sqrt() for (image, _), shown in pairs]
    found = vertex_colors(mesh, replace(targets, images=torch.stack(apart)))
    return Errors(found[:, 0].clamp(min=0), RESIDUAL)
