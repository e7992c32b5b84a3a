"""What can be done with a finished run: measure it again, texture its mesh, solve for materials."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from trimesh import Trimesh

from multiview.levels.state import Fit
from multiview.materials.estimate import MaterialSettings
from multiview.photo.appearance import Appearance
from multiview.photo.known_light import choose_light
from multiview.results.material_files import save_materials
from multiview.results.observed import scene_of_part
from multiview.results.results import KEPT, measure, placed, surface
from multiview.results.textured_files import save_texture
from multiview.run_folder import RunFolder, read_config, read_metrics
from multiview.scenes import Scene
from multiview.scenes.run_scene import scene_of, with_channels
from sdfrender import Lattice, load_lattice, load_mesh
from sdfrender.far import moved
from sdfrender.files.atomic import read_bytes, write_json
from sdfrender.files.locks import locked
from sdfrender.files.tensors import expect
from sdfrender.meshes.atlas import need_xatlas

log = logging.getLogger("multiview")


def evaluate_run(folder: Path, mesh: Path | None) -> dict[str, Any]:
    """Measure a finished run again and rebuild its report.

    Args:
        folder: the run folder.
        mesh: reference mesh in the scene's frame. Default: the one that the run was last compared
            with, else the one that the scene states. When that one has gone, its figures stay, with
            a warning.

    Raises:
        InputError: no such run or mesh, or its scene has gone.
    """
    config = read_config(folder)
    stored = load_lattice(folder / "lattice.safetensors")
    run = RunFolder(config)
    colors = run.load_appearance()
    with expect(folder / "appearance.safetensors", "the appearance of a run"):
        channels = colors["albedo"].shape[-1]
    scene = with_channels(scene_of(config), channels)
    lattice = placed(stored, -scene.offset)
    observed = run.load_observed() if run.has_observed else None
    if observed is not None:
        scene = scene_of_part(replace(scene, maps=None), lattice, observed)
    appearance = Appearance(scene.images.shape[-1], choose_light(config.light, scene))
    with expect(folder / "appearance.safetensors", "the appearance of a run"):
        appearance.restore(colors, stored.values.numel())
    before = read_metrics(folder / "metrics.json")
    kept = {key: before[key] for key in KEPT[1:] if key in before}
    if mesh is not None:
        kept["reference_mesh"] = str(mesh.resolve())
    elif "reference_mesh" in kept and not Path(kept["reference_mesh"]).is_file():
        log.warning(
            "%s: the reference mesh has gone; metrics.json keeps what it gave "
            "(to compare with another: multiview evaluate RUN --mesh MESH)",
            kept["reference_mesh"],
        )
        kept["reference"] = before.get("reference")
    reference = None
    if "reference" not in kept:
        reference = Path(kept["reference_mesh"]) if "reference_mesh" in kept else scene.mesh
    state = Fit(
        scene,
        lattice,
        appearance,
        stereo=stereo_was_on(folder),
        seconds=before["seconds"],
        interrupted=before.get("interrupted", False),
        peak_memory_mb=before["peak_memory_mb"],
        observed=observed,
    )
    loaded = moved(load_mesh(reference), -scene.offset) if reference else None
    mesh_now = surface(lattice, observed, config.closed)
    with run.held():
        return measure(state, mesh_now, run, loaded, kept)


def stereo_was_on(folder: Path) -> bool:
    """Whether a finished run compared photographs with each other."""
    file = folder / "appearance.json"
    with expect(file, "the appearance of a run"):
        return bool(json.loads(read_bytes(file)).get("stereo", False))


def texture_run(folder: Path, size: int | None, faces: int, quiet: bool = True) -> dict[str, Any]:
    """Texture a finished run: writes `textured.glb`, and `texture` in `metrics.json`.

    Args:
        folder: the run folder.
        size: texels along the longer side of the texture; see `bake`.
        faces: triangles of the mesh.
        quiet: no progress bar.

    Returns:
        The `texture` group.

    Raises:
        InputError: no such run, its scene has gone, or xatlas is not installed.
    """
    need_xatlas()
    surface_now = _finished(folder)
    with locked(folder):
        texture = save_texture(folder, surface_now.mesh, surface_now.scene, size, faces, quiet)
        _add(folder, "texture", texture)
    return texture


def materials_of_run(folder: Path, settings: MaterialSettings) -> dict[str, Any]:
    """Materials of a finished run: writes their files, and `materials` in `metrics.json`.

    Args:
        folder: the run folder.
        settings: what to take for granted.

    Returns:
        The `materials` group.

    Raises:
        InputError: no such run, its scene has gone, its photographs say too little, or xatlas is
            not installed.
    """
    need_xatlas()
    now = _finished(folder)
    with locked(folder):
        found = save_materials(folder, now.lattice, now.mesh, now.scene, settings)
        _add(folder, "materials", found)
    return found


class _Finished(NamedTuple):
    """The surface of a run and its photographs, about the scene's offset."""

    lattice: Lattice
    mesh: Trimesh
    scene: Scene


def _finished(folder: Path) -> _Finished:
    """Read a finished run and the scene it was made from."""
    config = read_config(folder)
    read_metrics(folder / "metrics.json")
    stored = load_lattice(folder / "lattice.safetensors")
    scene = scene_of(config)
    lattice = placed(stored, -scene.offset)
    run = RunFolder(config)
    observed = run.load_observed() if run.has_observed else None
    if observed is not None:
        scene = scene_of_part(scene, lattice, observed)
    return _Finished(lattice, surface(lattice, observed, config.closed), scene)


def _add(folder: Path, group: str, found: dict[str, Any]) -> None:
    """Write a group of `metrics.json`; the others stay."""
    file = folder / "metrics.json"
    write_json(file, {**read_metrics(file), group: found})
