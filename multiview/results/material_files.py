"""The files of materials: `materials.safetensors`, `environment.hdr`, `materials.glb`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import trimesh

from multiview.materials.estimate import MaterialSettings, estimate_materials
from multiview.materials.exported import export
from multiview.scenes import Scene
from sdfrender import Lattice
from sdfrender.far import moved
from sdfrender.materials.surface import FILE

ENVIRONMENT = "environment.hdr"
GLB = "materials.glb"


def save_materials(
    folder: Path, lattice: Lattice, mesh: trimesh.Trimesh, scene: Scene, settings: MaterialSettings
) -> dict[str, Any]:
    """Solve for materials, write them, and return their figures.

    Args:
        folder: the run folder.
        lattice: its surface, about the scene's offset.
        mesh: the same.
        scene: the photographs.
        settings: what to take for granted.
    """
    surface, figures = estimate_materials(lattice, mesh, scene, settings)
    export(folder / GLB, surface, lattice, scene.offset)
    surface = replace(surface, mesh=moved(surface.mesh, scene.offset))
    surface.save(folder / FILE)
    surface.environment.save(folder / ENVIRONMENT)
    return figures
