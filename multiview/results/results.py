"""What a run leaves behind: lattice, meshes, light, metrics, report."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import trimesh

from multiview.coarse_to_fine import Fit
from multiview.config import FitConfig
from multiview.optimize import poses
from multiview.photo import exposure
from multiview.photo.appearance import Appearance
from multiview.photo.known_light import choose_light
from multiview.photo.targets import Targets
from multiview.results.evaluate import ViewScore, mean_scores, score_views
from multiview.results.film import write_film
from multiview.results.report.forming import stages
from multiview.results.report.page import write_report
from multiview.results.textured_files import save_photographed, save_texture
from multiview.results.viewed import save_viewed
from multiview.run_folder import RunFolder
from multiview.scenes import Scene, load_scene
from multiview.surgery import floaters
from multiview.surgery.floaters import remove_floaters
from multiview.texture.texture import FACES
from sdfrender import (
    Lattice,
    extract_mesh,
    load_lattice,
    load_mesh,
    metrics,
    save_lattice,
)
from sdfrender.far import Doubles, moved
from sdfrender.files.atomic import read_bytes, write_json
from sdfrender.files.tensors import expect
from sdfrender.meshes.atlas import need_xatlas
from sdfrender.report.turntable import display_frame
from sdfrender.system import peak_memory

LEAST_IOU = 0.8  # silhouettes that agree less well than this are worth a warning
KEPT = ("reference", "reference_mesh", "texture", "removed")  # taken over, not measured again
WORST = 5  # views that a warning names

Scores = dict[str, list[ViewScore]]  # "train" and "held_out"


def save_results(
    state: Fit, run: RunFolder, reference: trimesh.Trimesh | None, quiet: bool = True
) -> dict[str, Any]:
    """Write lattice, meshes, light, metrics, report and film; returns the metrics."""
    if state.corrections is not None:
        told = poses.description(state.corrections, state.scene)
        write_json(run.path / "cameras.json", told)
        state.scene = poses.on_scene(state.corrections, state.scene)
    if state.gains is not None:
        gains = exposure.all_gains(state.gains, state.lattice, state.appearance, state.scene)
        write_json(run.path / "exposures.json", exposure.description(gains, state.scene))
        state.scene = exposure.on_scene(gains, state.scene)
    targets = Targets.of(state.scene, state.scene.train)
    state.lattice, gone = remove_floaters(state.lattice.redistance(), targets)
    state.removed += gone
    if state.scene.held_out:
        state.appearance.meet(state.lattice, Targets.of(state.scene, state.scene.held_out))
    offset = state.scene.offset
    save_lattice(run.path / "lattice.safetensors", placed(state.lattice, offset))
    mesh = surface(state.lattice)
    save_photographed(run.path, mesh, state.scene, quiet)
    write_json(run.path / "appearance.json", state.appearance.description())
    run.save_appearance(state.appearance.state())
    texture = None
    if run.config.texture:
        texture = save_texture(run.path, mesh, state.scene, None, FACES, quiet)
    kept: dict[str, Any] = {} if texture is None else {"texture": texture}
    if state.removed:
        kept["removed"] = floaters.summary(state.removed, offset)
    summary = measure(state, mesh, run, reference, kept)
    frame = display_frame(state.scene.cameras)
    write_film(run.path, stages(run, state.lattice, offset), frame)
    return summary


def surface(lattice: Lattice) -> trimesh.Trimesh:
    """The run's mesh: closed, outward, world units; all bodies of the lattice."""
    return extract_mesh(lattice)


def placed(lattice: Lattice, offset: Doubles) -> Lattice:
    """A lattice with its box moved by `offset` `[3]`, in float64; itself if that is zero.

    Where it is near the origin then, its box comes back in the dtype of its values.
    """
    if not offset.any():
        return lattice
    return Lattice(lattice.values, lattice.bounds.double() + torch.from_numpy(offset))


def measure(
    state: Fit,
    mesh: trimesh.Trimesh,
    run: RunFolder,
    reference: trimesh.Trimesh | None,
    kept: Mapping[str, Any],
) -> dict[str, Any]:
    """Score the views and the mesh; write `metrics.json` and the report.

    Args:
        state: the fit as it ended.
        mesh: its surface, about the scene's offset.
        run: where to write.
        reference: what to compare the mesh with, about the same offset.
        kept: groups of `metrics.json` that are not measured here.
    """
    scores = {
        group: score_views(state.lattice, state.appearance, Targets.of(state.scene, views))
        for group, views in (("train", state.scene.train), ("held_out", state.scene.held_out))
        if views
    }
    summary = summarize(state, scores)
    if reference is not None:
        summary["reference"] = metrics.compare_meshes(mesh, reference)
    summary |= {key: kept[key] for key in KEPT if key in kept}
    if state.interrupted:
        summary["interrupted"] = True
    found = doubts(state.scene, scores["train"])
    if "removed" in kept:
        found += floaters.warnings(kept["removed"])
    if not set(state.scene.masks) <= {"file", "alpha"}:  # some were made by a recipe
        summary["masks"] = dict(state.scene.masks)
    if found or state.scene.warnings:
        summary["warnings"] = [*state.scene.warnings, *found]
    if found:
        print(*(f"warning: {text}" for text in found), sep="\n", file=sys.stderr)
    write_json(run.path / "metrics.json", summary)
    write_report(run, state.scene, state.lattice, state.appearance, scores, summary)
    save_viewed(run.path, state.scene, state.lattice, state.appearance, mesh, reference)
    return summary


def doubts(scene: Scene, scores: list[ViewScore]) -> list[str]:
    """Why a result should not be trusted."""
    found = []
    thin = [
        scene.names[view]
        for view, score in zip(scene.train, scores, strict=True)
        if math.isnan(score.psnr)
    ]
    if thin:
        found.append(
            "the object covers no pixel by more than half, and has no PSNR inside its mask, in "
            f"{len(thin)} of {len(scores)} views ({_some(thin)}): load larger images with "
            "--image-size if there are"
        )
    wrong = [
        f"{scene.names[view]} ({score.silhouette_iou:.2f})"
        for view, score in zip(scene.train, scores, strict=True)
        if not score.silhouette_iou > LEAST_IOU
    ]
    if wrong:
        found.append(
            "no shape has all these silhouettes: masks or cameras contradict each other in "
            f"{len(wrong)} of {len(scores)} views (IoU): {_some(wrong)}"
        )
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:WORST]) + (", …" if len(names) > WORST else "")


def summarize(state: Fit, scores: Scores) -> dict[str, Any]:
    """What the run cost and how well its views fit; groups without views are absent."""
    return {
        "seconds": round(state.seconds, 2),
        "peak_memory_mb": state.peak_memory_mb or peak_memory_mb(),
        "resolution": list(state.lattice.resolution),
        "views": {"train": len(state.scene.train), "held_out": len(state.scene.held_out)},
        **{group: mean_scores(of_views) for group, of_views in scores.items()},
    }


def peak_memory_mb() -> float | None:
    """The most memory that this process has held, MiB; None where the system does not tell."""
    peak = peak_memory()
    return None if peak is None else round(peak / 2**20, 1)


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
    scene = with_channels(scene_of(config), colors["albedo"].shape[-1])
    lattice = placed(stored, -scene.offset)
    appearance = Appearance(scene.images.shape[-1], choose_light(config.light, scene))
    appearance.restore(colors)
    before = read_metrics(folder / "metrics.json")
    kept = {key: before[key] for key in KEPT[1:] if key in before}
    if mesh is not None:
        kept["reference_mesh"] = str(mesh.resolve())
    elif "reference_mesh" in kept and not Path(kept["reference_mesh"]).is_file():
        print(
            f"warning: {kept['reference_mesh']}: the reference mesh has gone; metrics.json keeps "
            "what it gave (to compare with another: multiview evaluate RUN --mesh MESH)",
            file=sys.stderr,
        )
        kept["reference"] = before.get("reference")
    reference = None
    if "reference" not in kept:
        reference = Path(kept["reference_mesh"]) if "reference_mesh" in kept else scene.mesh
    state = Fit(
        scene,
        lattice,
        appearance,
        seconds=before["seconds"],
        interrupted=before.get("interrupted", False),
        peak_memory_mb=before["peak_memory_mb"],
    )
    loaded = moved(load_mesh(reference), -scene.offset) if reference else None
    return measure(state, surface(lattice), run, loaded, kept)


def texture_run(folder: Path, size: int | None, faces: int, quiet: bool = False) -> dict[str, Any]:
    """Texture a finished run: writes `textured.glb`, and `texture` in `metrics.json`.

    Returns:
        The `texture` group.

    Raises:
        InputError: no such run, its scene has gone, or xatlas is not installed.
    """
    need_xatlas()
    config = read_config(folder)
    before = read_metrics(folder / "metrics.json")
    stored = load_lattice(folder / "lattice.safetensors")
    scene = scene_of(config)
    lattice = placed(stored, -scene.offset)
    texture = save_texture(folder, surface(lattice), scene, size, faces, quiet)
    write_json(folder / "metrics.json", {**before, "texture": texture})
    return texture


def scene_of(config: FitConfig) -> Scene:
    """The scene of a finished run, its cameras and exposures as the run refined them."""
    scene = load_run_scene(config)
    if config.refine_cameras:
        file = config.folder / "cameras.json"
        with expect(file, "the cameras of a run"):
            corrections = poses.from_description(json.loads(read_bytes(file)), scene.offset)
            scene = poses.on_scene(corrections, scene)
    if config.exposure == "per-view":
        file = config.folder / "exposures.json"
        with expect(file, "the exposures of a run"):
            gains = exposure.from_description(json.loads(read_bytes(file)), scene)
            scene = exposure.on_scene(gains, scene)
    return scene


def load_run_scene(config: FitConfig) -> Scene:
    """The scene that the settings name; with a prior, one view is enough."""
    return load_scene(
        config.scene,
        config.train_views,
        config.image_size,
        config.mask_threshold,
        least_views=1 if config.prior else 2,
    )


def with_channels(scene: Scene, least: int) -> Scene:
    """The scene, its pictures with `least` equal channels if they are grey and have fewer."""
    images = scene.images
    if images.shape[-1] >= least:
        return scene
    return replace(scene, images=images.expand(*images.shape[:3], least).contiguous())


def read_config(folder: Path) -> FitConfig:
    """The settings of a finished run."""
    file = folder / "config.json"
    with expect(file, "the settings of a run"):
        settings = json.loads(read_bytes(file))["settings"]
        paths = {k: Path(settings[k]) for k in ("scene", "prior") if settings.get(k)}
        return FitConfig(**{**settings, **paths, "out": folder, "resume": True})


def read_metrics(file: Path) -> dict[str, Any]:
    """The `metrics.json` of a run: what it cost is not measured again."""
    with expect(file, "the metrics of a run"):
        found = dict(json.loads(read_bytes(file)))
        peak = found["peak_memory_mb"]
        cost = {"seconds": float(found["seconds"])}
        return {**found, **cost, "peak_memory_mb": None if peak is None else float(peak)}
