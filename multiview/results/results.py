"""What a fit writes when it ends: lattice, meshes, light, metrics, report, film."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from multiview.config import FitConfig
from multiview.dense.start import as_shown
from multiview.levels.state import Fit
from multiview.materials.estimate import MaterialSettings
from multiview.photo.choose_view_dependence import add_view_dependence
from multiview.photo.exposure import all_gains
from multiview.photo.targets import Targets
from multiview.results.evaluate import ViewScore, mean_scores, score_views
from multiview.results.explained import crinkled, moving_light, unexplained
from multiview.results.film import write_film
from multiview.results.mapped import depth_maps, doubtful
from multiview.results.material_files import save_materials
from multiview.results.observed import invented, scene_of_part, seen_mesh, seen_vertices
from multiview.results.report.forming import stages
from multiview.results.report.page import write_report
from multiview.results.report.views import spread
from multiview.results.textured_files import save_photographed, save_texture
from multiview.results.viewed import save_viewed
from multiview.run_folder import RunFolder
from multiview.scenes import Scene, corrections, exposures
from multiview.scenes.scene import SharedScene
from multiview.stereo.agreement import MOST_VIEWS, Agreement, agreement
from multiview.stereo.prediction import unpredicted
from multiview.surgery import floaters
from multiview.surgery.floaters import remove_floaters
from multiview.texture.texture import FACES
from sdfrender import (
    InputError,
    Lattice,
    extract_mesh,
    metrics,
    save_lattice,
)
from sdfrender.far import Doubles
from sdfrender.files.atomic import write_json
from sdfrender.report.turntable import display_frame
from sdfrender.system import peak_memory

log = logging.getLogger("multiview")

LEAST_IOU = 0.8  # silhouettes that agree less well than this are worth a warning
# Groups that are taken over, not measured again.
KEPT = (
    "reference",
    "reference_mesh",
    "texture",
    "materials",
    "removed",
)
AGREEING = 16  # views of a group over which photographs are compared
WORST = 5  # views that a warning names

Scores = dict[str, list[ViewScore]]  # "train" and "held_out"


def save_results(
    state: Fit, run: RunFolder, reference: trimesh.Trimesh | None, quiet: bool = True
) -> dict[str, Any]:
    """Write lattice, meshes, light, metrics, report and film; returns the metrics."""
    if state.corrections is not None:
        told = corrections.description(state.corrections, state.scene)
        write_json(run.path / "cameras.json", told)
        state.scene = corrections.on_scene(state.corrections, state.scene)
    if state.gains is not None:
        gains = all_gains(state.gains, state.lattice, state.appearance, state.scene)
        write_json(run.path / "exposures.json", exposures.description(gains, state.scene))
        state.scene = exposures.on_scene(gains, state.scene)
    targets = Targets.of(state.scene, state.scene.train)
    state.lattice, gone = remove_floaters(state.lattice.redistance(), targets)
    state.removed += gone
    if state.observed is not None:
        state.scene = scene_of_part(state.scene, state.lattice, state.observed)
    if state.scene.held_out:
        state.appearance.meet(state.lattice, Targets.of(state.scene, state.scene.held_out))
    if not state.interrupted:
        look_beyond(state, run.config)
    offset = state.scene.offset
    save_lattice(run.path / "lattice.safetensors", placed(state.lattice, offset))
    mesh = surface(state.lattice, state.observed, run.config.closed)
    save_photographed(run.path, mesh, state.scene, quiet, grey_of(state, mesh))
    write_json(run.path / "appearance.json", told_appearance(state))
    run.save_appearance(state.appearance.state())
    texture = None
    if run.config.texture:
        texture = save_texture(run.path, mesh, state.scene, None, FACES, quiet)
    kept: dict[str, Any] = {} if texture is None else {"texture": texture}
    if run.config.materials:
        settings = MaterialSettings()
        try:
            kept["materials"] = save_materials(run.path, state.lattice, mesh, state.scene, settings)
        except InputError as error:  # the surface is worth having
            log.warning("%s", error)
    if state.removed:
        kept["removed"] = floaters.summary(state.removed, offset)
    summary = measure(state, mesh, run, reference, kept)
    if isinstance(state.scene, SharedScene) and not state.scene.ranks.first:
        return summary  # what is left needs nobody's photographs
    frame = display_frame(state.scene.cameras)
    write_film(run.path, stages(run, state.lattice, offset), frame)
    return summary


def look_beyond(state: Fit, config: FitConfig) -> None:
    """Add to the appearance what photographs show beyond it, if that is asked for."""
    began = time.monotonic()
    targets = Targets.of(state.scene, state.scene.train)
    try:
        state.beyond = add_view_dependence(state.appearance, config, state.lattice, targets)
    except KeyboardInterrupt:
        state.interrupted = True
        log.warning("interrupted: saving what there is, without colours that depend on the view")
    state.seconds += time.monotonic() - began


def told_appearance(state: Fit) -> dict[str, Any]:
    """As JSON: what the colours are thought to be, and how well each candidate predicted.

    `candidates` are of the last choice, `candidates_on_hull` of the first if there were two;
    `beyond` is what was added to the chosen one.
    """
    told = {
        **state.appearance.description(),
        "stereo": state.stereo or state.observed is not None,
        "stereo_at_the_end": bool(state.beside),
    }
    made = [choice.description() for choice in state.choices if choice.errors]
    if made:
        told["candidates"] = made[-1]
    if len(made) > 1:
        told["candidates_on_hull"] = made[0]
    if state.beyond is not None:
        told["beyond"] = state.beyond.description()
    return told


def surface(
    lattice: Lattice, observed: Tensor | None = None, closed: bool = False
) -> trimesh.Trimesh:
    """The run's mesh: closed, outward, world units; all bodies of the lattice.

    Without silhouettes it is the part that was seen, unless it is to be closed all the same.

    Args:
        lattice: the surface.
        observed: `[X, Y, Z]` views that saw it near each vertex, without silhouettes.
        closed: keep what no view saw.
    """
    if observed is None or closed:
        return extract_mesh(lattice)
    return seen_mesh(lattice, observed)


def grey_of(state: Fit, mesh: trimesh.Trimesh) -> NDArray[np.bool_] | None:
    """`[V]` vertices that no view saw, or None where silhouettes vouch for all."""
    if state.observed is None:
        return None
    return ~seen_vertices(mesh, state.lattice, state.observed)


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
    if state.appearance.beyond is not None:
        views, plain = state.scene.held_out or state.scene.train, state.appearance.plain()
        of_views = score_views(state.lattice, plain, Targets.of(state.scene, views))
        summary["without_view_dependence"] = mean_scores(of_views)
    agreed = agreement_of(state)
    for group, views in (("train", state.scene.train), ("held_out", state.scene.held_out)):
        # None where nothing could be compared, which no number tells.
        each = [agreed.mean([view]) if agreed.share([view]) else None for view in views]
        if group in scores:
            pairs = zip(scores[group], each, strict=True)
            scores[group] = [replace(score, zncc=value) for score, value in pairs]
        mean = agreed.mean(views)
        if group in summary and mean is not None and agreed.share(views):
            summary[group]["zncc"] = mean
    if reference is not None:
        summary["reference"] = metrics.compare_meshes(mesh, reference)
    summary |= {key: kept[key] for key in KEPT if key in kept}
    if state.interrupted:
        summary["interrupted"] = True
    found = doubts(state.scene, scores["train"])
    lying = depth_maps(state.lattice, state.scene) if run.config.fits_maps else {}
    if lying:
        write_json(run.path / "depth_maps.json", lying)
        found += doubtful(lying)
    if state.appearance.known is None and state.observed is None:  # else colours had no part in it
        found += doubtful_colors(state, run.config, summary, mesh)
    if "removed" in kept:
        found += floaters.warnings(kept["removed"])
    if state.observed is not None:
        summary["unseen_area"] = round(invented(state.lattice, state.observed), 4)
    elif not set(state.scene.masks) <= {"file", "alpha"}:  # some were made by a recipe
        summary["masks"] = dict(state.scene.masks)
    if found or state.scene.warnings:
        summary["warnings"] = [*state.scene.warnings, *found]
    for text in found:
        log.warning("%s", text)
    write_json(run.path / "metrics.json", summary)
    write_report(run, state.scene, state.lattice, state.appearance, scores, summary, agreed)
    save_viewed(run.path, state.scene, state.lattice, state.appearance, mesh, reference)
    return summary


def doubtful_colors(
    state: Fit, config: FitConfig, summary: dict[str, Any], mesh: trimesh.Trimesh
) -> list[str]:
    """What the model of colour and light, to which the surface was fitted, does not explain.

    What was added to it in the end does not count: it hides what is wrong with a surface.
    """
    group = "held_out" if "held_out" in summary else "train"
    by_model = summary.get("without_view_dependence", summary[group])
    found = unexplained(config, state.stereo, {**summary, group: by_model})
    found += crinkled(config, state.stereo, mesh, state.lattice)
    if state.colors and not state.stereo:
        seen = Targets.of(state.scene, state.scene.train)
        left = unpredicted(state.lattice, seen, state.appearance.plain())
        found += moving_light(config, left.missed)
    return found


def agreement_of(state: Fit) -> Agreement:
    """How well photographs agree over the surface, in some views of each group."""
    scene = state.scene
    groups = {"train": scene.train, "held_out": scene.held_out}
    some = {name: spread(list(views), AGREEING) for name, views in groups.items()}
    order = [*some["train"], *some["held_out"]]
    order += [view for view in (*scene.train, *scene.held_out) if view not in order]
    targets = Targets.of(scene, order[:MOST_VIEWS])
    scored = len(some["train"]) + len(some["held_out"])
    if state.observed is not None:
        targets = as_shown(targets, scene.color_space != "as stored")
    return agreement(state.lattice, targets, range(scored))


def doubts(scene: Scene, scores: list[ViewScore]) -> list[str]:
    """Why a result should not be trusted."""
    found = []
    thin = [
        scene.names[view]
        for view, score in zip(scene.train, scores, strict=True)
        if math.isnan(score.psnr)
    ]
    if thin and not scene.has_silhouettes:
        found.append(
            f"{len(thin)} of {len(scores)} views show nothing of the surface that was found "
            f"({_some(thin)}): do they look into the box, and near enough to other views?"
        )
    elif thin:
        found.append(
            "the object covers no pixel by more than half, and has no PSNR inside its mask, in "
            f"{len(thin)} of {len(scores)} views ({_some(thin)}): load larger images with "
            "--image-size if there are"
        )
    wrong = [
        f"{scene.names[view]} ({score.silhouette_iou:.2f})"
        for view, score in zip(scene.train, scores, strict=True)
        if score.silhouette_iou is not None and not score.silhouette_iou > LEAST_IOU
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
