"""`singleview evaluate` for occupancy networks: on random points and on meshes, beside baselines.

Definitions, the same for every method:
    iou: intersection over union of predicted and true occupancy at the stored points, which are
    uniform in the padded box (100 000 of them by default).
    chamfer_tenths: Chamfer-L1 of Occupancy Networks: mean distance from random points on each
    surface to the nearest of the other's points, both ways, averaged; in tenths of the longest
    side.
    chamfer: ours, point to surface, with the longest side = 1; where --meshes are given.
    normal_consistency: mean |n·n′| at nearest points, both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import trimesh
from tqdm import tqdm

from sdfrender import InputError
from sdfrender.meshes.metrics import chamfer, nearest_samples, occupancy_iou
from singleview.data.meshes import by_category
from singleview.data.objects import LONGEST_SIDE
from singleview.data.open import open_dataset, open_samples
from singleview.data.samples import HALF_PADDED_BOX, Samples
from singleview.data.samples_on_disk import MANIFEST
from singleview.evaluate.observed_baselines import alpha_shape, trilinear_grid
from singleview.evaluate.occupancy_baselines import (
    OccupancyMethod,
    PredictedOccupancy,
    occupancy_baselines,
)
from singleview.evaluate.truths import true_meshes
from singleview.measures.intervals import intervals
from singleview.measures.occupancy import logits_at
from singleview.models import OccupancyNetwork
from singleview.models.observations import Observer, same_objects
from singleview.models.occupancy import logit
from singleview.predict.occupancy import OccupancyPredictor
from singleview.settings.choices import Input, Split
from singleview.settings.evaluation import EvaluateConfig
from singleview.training.checkpoint import load_model
from singleview.training.learners.occupancy import code_of

Numbers: TypeAlias = dict[str, float]
MEASURES = ("iou", "chamfer_tenths", "chamfer", "normal_consistency")


def evaluate_occupancy(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate occupancy networks and baselines on one split.

    Args:
        config: what `singleview evaluate` is told.

    Returns:
        As `singleview.evaluate.evaluate.evaluate`, with the measures of this module.

    Raises:
        InputError: weights or samples that cannot be used, networks with different inputs.
    """
    predictors = [_read(path) for path in config.weights]
    kinds = {predictor.model.shape.input for predictor, _ in predictors}
    if len(kinds) != 1:
        raise InputError(f"evaluate: need networks with one kind of input, got {sorted(kinds)}")
    kind: Input = kinds.pop()
    samples, pictures = open_samples(config.dataset), None
    if kind == "image":
        pictures, samples = same_objects(open_dataset(config.dataset, config.image_size), samples)
    about = predictors[0][1]
    split: Split = "train" if kind == "index" else config.split

    def observer(which: Split) -> Observer:
        return Observer(
            kind,
            samples.split(which),
            None if pictures is None else pictures.split(which),
            int(about["cloud"]),
            float(about["noise"]),
            int(about["voxels"]),
            float(about.get("half", HALF_PADDED_BOX)),
        )

    judged = observer(split)
    methods = [
        network(path, predictor, judged, config)
        for path, (predictor, _) in zip(config.weights, predictors, strict=True)
    ]
    if config.baselines:
        methods += occupancy_baselines(judged, observer("train"), config.points)
        methods += observed_baselines(kind, judged, observer, config.points)
    truths = {}
    if config.meshes is not None:
        truths = true_meshes(config.meshes, judged.samples.names, config.dataset / MANIFEST)
    return {
        "dataset": str(config.dataset),
        "split": split,
        "objects": len(judged.samples),
        "input": kind,
        "points": min(config.points, judged.samples.points.shape[1]),
        "methods": [
            {"name": m.name, "told": m.told, **measure(m, judged, truths, config)} for m in methods
        ],
    }


def observed_baselines(
    kind: Input, judged: Observer, observer: Callable[[Split], Observer], count: int
) -> list[OccupancyMethod]:
    """What the observation says by itself."""
    made = {"points": alpha_shape, "voxels": trilinear_grid}.get(kind)
    return [] if made is None else [made(judged, observer("train"), count)]


def measure(
    method: OccupancyMethod,
    judged: Observer,
    truths: dict[str, trimesh.Trimesh],
    config: EvaluateConfig,
) -> dict[str, Any]:
    """The measures of one method: per object, per category, and the mean over categories."""
    samples = judged.samples
    objects: dict[str, Numbers] = {}
    seeds = range(config.observations if judged.kind in ("points", "image") else 1)
    for i in tqdm(range(len(samples)), desc=method.name, unit="object"):
        found: list[Numbers] = []
        for seed in seeds:
            guess = method.guess(i, seed)
            inside = samples.inside[i, : config.points]
            numbers = {"iou": float(occupancy_iou(guess.inside[: config.points], inside, axes=1))}
            if guess.mesh is not None and seed == 0:
                numbers |= surface_numbers(guess.mesh, samples, i, truths, config)
            found.append(numbers)
        objects[samples.names[i]] = _means(found)
    categories = {
        category: _means([objects[name] for name in names])
        for category, names in by_category(samples.names).items()
    }
    groups = list(by_category(samples.names).values())
    return {
        **_means(list(categories.values())),
        "intervals": intervals(objects, groups, MEASURES),
        "categories": categories,
        "objects": objects,
    }


def surface_numbers(
    mesh: trimesh.Trimesh,
    samples: Samples,
    i: int,
    truths: dict[str, trimesh.Trimesh],
    config: EvaluateConfig,
) -> Numbers:
    """Chamfer distances and normal consistency of one mesh, canonical frame, with object i."""
    points = samples.surface[i].double().numpy()
    normals = samples.normals[i].double().numpy()
    distance, consistency = nearest_samples(mesh, points, normals, config.seed)
    numbers = {
        "chamfer_tenths": 10 * distance / LONGEST_SIDE,
        "normal_consistency": consistency,
    }
    truth = truths.get(samples.names[i])
    if truth is not None:
        numbers["chamfer"] = chamfer(mesh, truth, config.samples, config.seed) / LONGEST_SIDE
    return numbers


def network(
    path: Path, predictor: OccupancyPredictor, judged: Observer, config: EvaluateConfig
) -> OccupancyMethod:
    """A trained network as a method."""
    level = logit(predictor.threshold)

    def guess(i: int, seed: int) -> PredictedOccupancy:
        code = code_of(predictor.model, judged, i, seed)
        points = judged.samples.points[i, : config.points].float()
        inside = logits_at(predictor.model, code, points) > level
        mesh = None
        if seed == 0 and config.surfaces:
            try:
                mesh = predictor.mesh(code, refine=False)
            except InputError:
                mesh = None  # nothing is occupied
        return PredictedOccupancy(inside, mesh)

    name = path.name if path.is_dir() else f"{path.parent.name}/{path.name}"
    return OccupancyMethod(f"{name} (τ = {predictor.threshold:.2f})", guess)


# ---------------------------------------------------------------------- reading


def _read(path: Path) -> tuple[OccupancyPredictor, dict[str, Any]]:
    model, about = load_model(path)
    if not isinstance(model, OccupancyNetwork):
        raise InputError(f"{path}: need an occupancy network as the first of the weights is")
    predictor = OccupancyPredictor.of(model, about, path)
    return predictor, about["observations"]


def _means(numbers: list[Numbers]) -> Numbers:
    found = {key: [x[key] for x in numbers if key in x] for key in MEASURES}
    return {key: float(np.mean(values)) for key, values in found.items() if values}
