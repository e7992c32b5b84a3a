"""The coloured meshes of a run: colours as a screen shows the photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from tqdm import tqdm

from multiview.photo.targets import Targets
from multiview.results.report.views import displayed
from multiview.scenes import Scene
from multiview.texture.surface_colors import vertex_colors
from multiview.texture.texture import bake, compare_with_vertex_colors
from sdfrender.far import moved
from sdfrender.meshes.colors import save_colored_mesh, save_textured_mesh

GREY = 0.5  # of what no view saw, in a mesh that is kept closed


def save_photographed(
    folder: Path,
    mesh: trimesh.Trimesh,
    scene: Scene,
    quiet: bool,
    grey: NDArray[np.bool_] | None = None,
) -> None:
    """Write `mesh.ply` and `mesh.glb`, with the photographs' colours at the vertices.

    Args:
        folder: where to.
        mesh: about the scene's offset.
        scene: the photographs.
        quiet: no progress bar.
        grey: `[V]` vertices that have no colour.
    """
    targets = Targets.of(scene, scene.train)
    with tqdm(total=len(targets.cameras), desc="colours", disable=quiet, leave=False) as bar:
        colors = displayed(scene, vertex_colors(mesh, targets, lambda: bar.update(1)))
    if grey is not None:
        colors[torch.from_numpy(grey)] = GREY
    for name in ("mesh.ply", "mesh.glb"):
        save_colored_mesh(folder / name, moved(mesh, scene.offset), colors)


def save_texture(
    folder: Path, mesh: trimesh.Trimesh, scene: Scene, size: int | None, faces: int, quiet: bool
) -> dict[str, Any]:
    """Write `textured.glb`; returns its size and how close it comes to the photographs."""
    textured = bake(mesh, Targets.of(scene, scene.train), size, faces, quiet)
    atlas = textured.atlas
    in_place = replace(atlas, mesh=moved(atlas.mesh, scene.offset))
    save_textured_mesh(folder / "textured.glb", in_place, displayed(scene, textured.texture))
    return {
        "size": [atlas.width, atlas.height],
        "faces": len(atlas.faces),
        **compare_with_vertex_colors(textured, mesh, scene, quiet),
    }
