"""The command `singleview evaluate`: networks and baselines in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sdfrender.errors import InputError
from sdfrender.geometry.lattice import Lattice
from sdfrender.meshes.metrics import occupancy_iou
from singleview.data.dataset import Dataset, Item, ObjectViews, spread_views
from singleview.data.meshes import by_category
from singleview.data.open import open_dataset
from singleview.data.stretched import stretched_copies
from singleview.evaluate.baselines import LatticeMethod, baselines, nearest_neighbour
from singleview.evaluate.deepsdf import evaluate_deepsdf
from singleview.evaluate.occupancy import evaluate_occupancy
from singleview.measures.intervals import intervals
from singleview.measures.shapes import (
    RESOLUTIONS,
    inside,
    rendered_silhouette_iou,
    surface_measures,
    true_inside,
    true_mesh,
)
from singleview.models import AutoDecoder, OccupancyNetwork
from singleview.settings.evaluation import EvaluateConfig
from singleview.training.checkpoint import load_model

if TYPE_CHECKING:
    from singleview.predict.predict import Predictor

Numbers: TypeAlias = dict[str, float]
RIG = "the rig and its light"  # what refining is told
MEASURES = (*(f"iou_{R}" for R in RESOLUTIONS), "chamfer", "normal_consistency", "silhouette_iou")


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate networks and baselines on one split of a dataset.

    Returns:
        `{"dataset", "split", "objects", "views", "methods": [{"name", "told", the measures of
        `singleview.measures.shapes` as means over categories, "categories": {name: measures},
        "objects": {name: measures}}]}`. What a dataset or a method does not allow is absent.

    Raises:
        InputError: an option out of range, nothing to evaluate, weights or a dataset that cannot be
            read, or a dataset without true shapes.
    """
    if not config.weights and not config.baselines:
        raise InputError("evaluate: need a RUN to evaluate, or --baselines, got neither")
    if config.weights:
        kind = load_model(config.weights[0])[0]
        if isinstance(kind, OccupancyNetwork):
            return evaluate_occupancy(config)
        if isinstance(kind, AutoDecoder):
            return evaluate_deepsdf(config)
    methods = [network(path, config.refine) for path in config.weights]
    dataset = open_dataset(config.dataset, config.image_size)
    judged = dataset.split(config.split)
    if dataset.values is None and dataset.occupancy is None:
        raise InputError(f"{config.dataset}: need true shapes to evaluate, the dataset has none")
    if config.baselines:
        train = dataset.split("train")
        more = stretched_copies(train, config.stretched, config.seed) if config.stretched else None
        methods += baselines(train, more)
        if config.refine:
            methods += refined_neighbours(config.weights, train)
    return {
        "dataset": str(config.dataset),
        "split": config.split,
        "objects": len(judged),
        "views": min(judged.views, config.pictures or judged.views),
        "methods": [
            {"name": method.name, "told": method.told, **evaluate_method(method, judged, config)}
            for method in methods
        ],
    }


def evaluate_method(
    method: LatticeMethod, judged: Dataset, config: EvaluateConfig
) -> dict[str, Any]:
    """The measures of one method: per object, per category, and the mean over categories."""
    truth = {R: true_inside(judged, R) for R in RESOLUTIONS}
    objects: dict[str, Numbers] = {}
    for i in tqdm(range(len(judged)), desc=method.name, unit="object"):
        item = judged[i]
        with torch.no_grad():
            predicted = method.predict(seen_by(method, item, config.pictures))
        solids = {R: None if solid is None else solid[i] for R, solid in truth.items()}
        objects[item.name] = {
            **volume_numbers(predicted, solids),
            **surface_numbers(predicted, item, method, config),
        }
    categories = {
        category: _means([objects[name] for name in names])
        for category, names in by_category(judged.names).items()
    }
    groups = list(by_category(judged.names).values())
    return {
        **_means(list(categories.values())),
        "intervals": intervals(objects, groups, MEASURES),
        "categories": categories,
        "objects": objects,
    }


def volume_numbers(predicted: Lattice, truth: Mapping[int, Tensor | None]) -> Numbers:
    """IoU of `[V, R, R, R]` predictions, or of one, with the truth: mean over views."""
    return {
        f"iou_{R}": float(occupancy_iou(inside(predicted, R), solid).mean())
        for R, solid in truth.items()
        if solid is not None
    }


def surface_numbers(
    predicted: Lattice, item: Item, method: LatticeMethod, config: EvaluateConfig
) -> Numbers:
    """Chamfer, normal consistency and silhouette IoU: means over some of the input views."""
    mesh = true_mesh(item, predicted.bounds)
    views, V = item.views, len(item.views.cameras)
    one_for_all = predicted.values.ndim == 3
    shown = spread_views(V, config.pictures or V)
    chosen = [0] if one_for_all else spread_views(len(shown), config.surface_views)
    numbers: list[Numbers] = []
    for n in chosen:
        single = predicted if one_for_all else predicted.with_values(predicted.values[n])
        measured: Numbers = {}
        if mesh is not None and bool((single.values < 0).any()):
            measured |= surface_measures(single, mesh, config.samples, config.seed)
        # A shape that is the same for all pictures is judged on all views, as often on each.
        unseen = [u for u in range(V) if one_for_all or u != shown[n]]
        if unseen and not method.sees_all_views:
            silhouettes, cameras = views.silhouettes[unseen], views.cameras[unseen]
            measured["silhouette_iou"] = rendered_silhouette_iou(single, silhouettes, cameras)
        numbers.append(measured)
    return _means(numbers)


def seen_by(method: LatticeMethod, item: Item, pictures: int | None) -> Item:
    """An object as a method sees it: with all pictures, or with so many of them."""
    views = item.views
    if pictures is None or method.sees_all_views:
        return item
    ids = spread_views(len(views.cameras), pictures)
    some = ObjectViews(views.images[ids], views.silhouettes[ids], views.cameras[ids])
    return replace(item, views=some)


def network(path: Path, refining: bool = True) -> LatticeMethod:
    """A trained network as a method; `refining` where it can, which the table says.

    Raises:
        InputError: weights that cannot be read.
    """
    from singleview.predict.predict import load_predictor

    predictor = load_predictor(path, refining)
    told = RIG if predictor.refines else ""
    return LatticeMethod(name_of(path), lambda item: predictor(item.views.images), told)


def name_of(path: Path) -> str:
    """What a run folder or a file of weights is called in tables."""
    return path.name if path.is_dir() else f"{path.parent.name}/{path.name}"


def refined_neighbours(weights: Sequence[Path], train: Dataset) -> list[LatticeMethod]:
    """The nearest neighbour made to agree with the picture just as a network's shape is.

    For each network that does so, by its family of shapes: what it adds to the neighbour's lattice
    is what it could add to its own.
    """
    from singleview.predict.predict import load_predictor

    methods = []
    for path in weights:
        predictor = load_predictor(path)
        if predictor.refines:
            neighbour = nearest_neighbour([train], "")
            name = f"nearest neighbour by image, refined as {name_of(path)}"
            methods.append(LatticeMethod(name, _refined(predictor, neighbour), RIG))
    return methods


def _refined(predictor: Predictor, method: LatticeMethod) -> Callable[[Item], Lattice]:
    def predict(item: Item) -> Lattice:
        found = method.predict(item)
        start = found.resample((predictor.model.resolution,) * 3).values
        return Lattice(predictor.refined(item.views.images, start), found.bounds)

    return predict


def _means(numbers: list[Numbers]) -> Numbers:
    """The mean of each measure over those that have it."""
    found = {key: [x[key] for x in numbers if key in x] for key in MEASURES}
    return {key: float(np.mean(values)) for key, values in found.items() if values}
