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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import trimesh
from scipy.spatial import KDTree
from torch import Tensor
from tqdm import tqdm

from sdfrender import InputError
from sdfrender.meshes.metrics import chamfer, nearest_samples
from singleview.data.dataset import Dataset
from singleview.data.meshes import by_category, canonical_mesh, find_meshes
from singleview.data.objects import LONGEST_SIDE
from singleview.data.open import open_dataset, open_samples
from singleview.data.samples import Samples, voxel_at
from singleview.evaluate.baselines import picture_features
from singleview.measures.occupancy import THRESHOLDS, logits_at
from singleview.models import OccupancyNetwork
from singleview.models.observations import Observer, same_objects
from singleview.models.occupancy import logit
from singleview.predict.occupancy import OccupancyPredictor
from singleview.settings.choices import Input
from singleview.training.checkpoint import load_model
from singleview.training.learners.occupancy import code_of

Numbers: TypeAlias = dict[str, float]
MEASURES = ("iou", "chamfer_tenths", "chamfer", "normal_consistency")
CLOUD = 2000  # points of a surface that clouds are compared with


@dataclass(frozen=True, eq=False)
class Guess:
    """What a method says of one object.

    Args:
        inside: `[P]` bool at the stored points.
        mesh: of its surface; None without.
    """

    inside: Tensor
    mesh: trimesh.Trimesh | None = None


@dataclass(frozen=True)
class Contender:
    """A way to guess objects: by their number in the judged set and the seed of the observation."""

    name: str
    guess: Callable[[int, int], Guess]
    told: str = ""


def evaluate_occupancy(config: Any) -> dict[str, Any]:
    """Evaluate occupancy networks and baselines on one split.

    Args:
        config: an `EvaluateConfig`.

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
    split = "train" if kind == "index" else config.split

    def observer(which: Any) -> Observer:
        return Observer(
            kind,
            samples.split(which),
            None if pictures is None else pictures.split(which),
            int(about["cloud"]),
            float(about["noise"]),
            int(about["voxels"]),
        )

    judged = observer(split)
    methods = [
        network(path, predictor, judged, config)
        for path, (predictor, _) in zip(config.weights, predictors, strict=True)
    ]
    if config.baselines:
        methods += occupancy_baselines(judged, observer("train"), config.points)
    truths = _true_meshes(config.meshes, judged.samples)
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


def measure(
    method: Contender, judged: Observer, truths: dict[str, trimesh.Trimesh], config: Any
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
            numbers = {"iou": _iou(guess.inside[: config.points], inside)}
            if guess.mesh is not None and seed == 0:
                numbers |= surface_numbers(guess.mesh, samples, i, truths, config)
            found.append(numbers)
        objects[samples.names[i]] = _means(found)
    categories = {
        category: _means([objects[name] for name in names])
        for category, names in by_category(samples.names).items()
    }
    return {**_means(list(categories.values())), "categories": categories, "objects": objects}


def surface_numbers(
    mesh: trimesh.Trimesh,
    samples: Samples,
    i: int,
    truths: dict[str, trimesh.Trimesh],
    config: Any,
) -> Numbers:
    """Chamfer distances and normal consistency of one mesh with object i."""
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


def network(path: Path, predictor: OccupancyPredictor, judged: Observer, config: Any) -> Contender:
    """A trained network as a method."""
    level = logit(predictor.threshold)

    def guess(i: int, seed: int) -> Guess:
        code = code_of(predictor.model, judged, i, seed)
        points = judged.samples.points[i, : config.points].float()
        inside = logits_at(predictor.model, code, points) > level
        mesh = None
        if seed == 0 and config.surfaces:
            try:
                mesh = predictor.mesh(code, refine=False)
            except InputError:
                mesh = None  # nothing is occupied
        return Guess(inside, mesh)

    name = path.name if path.is_dir() else f"{path.parent.name}/{path.name}"
    return Contender(f"{name} (τ = {predictor.threshold:.2f})", guess)


# ---------------------------------------------------------------------- baselines


def occupancy_baselines(judged: Observer, train: Observer, count: int) -> list[Contender]:
    """What to compare with, at `count` points: a mean shape, a similar object, the input itself."""
    if judged.kind == "index":
        return []
    methods = [category_mean(judged, train, count)]
    if judged.kind != "none":
        methods.append(nearest_object(judged, train, count))
    if judged.kind == "voxels":
        methods.append(Contender("the input's voxels", lambda i, _: Guess(_filled(judged, i))))
    return methods


def category_mean(judged: Observer, train: Observer, count: int) -> Contender:
    """Inside where more than a share of the category's training objects is.

    The share is chosen per category for the best mean IoU over the training objects.
    """
    shares: dict[str, float] = {}
    trees = _Occupancies(train.samples)

    def members(category: str) -> list[int]:
        return [n for n, c in enumerate(train.samples.categories) if c == category]

    def mean(category: str, points: Tensor) -> Tensor:
        return torch.stack([trees(n, points) for n in members(category)]).float().mean(0)

    def share(category: str) -> float:
        if category not in shares:
            seen = [
                (mean(category, train.samples.points[n, :5000]), train.samples.inside[n, :5000])
                for n in members(category)
            ]
            scores = [np.mean([_iou(m > t, x) for m, x in seen]) for t in THRESHOLDS]
            shares[category] = THRESHOLDS[int(np.argmax(scores))]
        return shares[category]

    def guess(i: int, seed: int) -> Guess:
        category = judged.samples.categories[i]
        return Guess(mean(category, judged.samples.points[i, :count]) > share(category))

    return Contender("category mean shape", guess, told="the category")


def nearest_object(judged: Observer, train: Observer, count: int) -> Contender:
    """The training object that looks most like the observation.

    Clouds: least Chamfer distance to the surface. Voxels: best IoU. Images: least squared
    difference of pictures averaged down to 32².
    """
    trees = _Occupancies(train.samples)
    likeness = {"points": _like_cloud, "voxels": _like_voxels, "image": _like_image}[judged.kind](
        judged, train
    )
    return Contender(
        "nearest neighbour by input",
        lambda i, seed: Guess(trees(likeness(i, seed), judged.samples.points[i, :count])),
    )


def _like_cloud(judged: Observer, train: Observer) -> Callable[[int, int], int]:
    clouds = [x[:CLOUD].double().numpy() for x in train.samples.surface]
    known = [KDTree(cloud) for cloud in clouds]

    def nearest(i: int, seed: int) -> int:
        seen = judged.fixed(i, seed)
        assert seen is not None
        cloud = seen[0].double().numpy()
        tree = KDTree(cloud)
        pairs = zip(known, clouds, strict=True)
        return int(
            np.argmin([t.query(cloud)[0].mean() + tree.query(c)[0].mean() for t, c in pairs])
        )

    return nearest


def _like_voxels(judged: Observer, train: Observer) -> Callable[[int, int], int]:
    known = [train.fixed(n) for n in range(len(train.samples))]

    def nearest(i: int, seed: int) -> int:
        seen = judged.fixed(i, seed)
        assert seen is not None
        return int(np.argmax([_iou(seen > 0, x > 0) for x in known if x is not None]))

    return nearest


def _like_image(judged: Observer, train: Observer) -> Callable[[int, int], int]:
    pictures: Dataset | None = train.pictures
    assert pictures is not None
    pairs = zip(pictures.images, pictures.silhouettes, strict=True)
    known = torch.cat([picture_features(a, b) for a, b in pairs])  # (N V, F)

    def nearest(i: int, seed: int) -> int:
        own = judged.pictures
        assert own is not None
        assert pictures is not None
        view = seed % own.views
        seen = picture_features(own.images[i, view : view + 1], own.silhouettes[i, view : view + 1])
        return int((known - seen).square().sum(-1).argmin()) // pictures.views

    return nearest


def _filled(judged: Observer, i: int) -> Tensor:
    seen = judged.fixed(i)
    assert seen is not None
    return voxel_at(seen[0], judged.samples.points[i]) > 0


class _Occupancies:
    """Occupancy of training objects at any point: that of the nearest stored one."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.trees: dict[int, KDTree] = {}

    def __call__(self, n: int, points: Tensor) -> Tensor:
        """`[P]` of object n at `points` `[P, 3]`."""
        stored = torch.cat((self.samples.points[n], self.samples.near[n]))
        if n not in self.trees:
            self.trees[n] = KDTree(stored.double().numpy())
        nearest = self.trees[n].query(points.double().numpy())[1]
        known = torch.cat((self.samples.inside[n], self.samples.near_inside[n]))
        return known[torch.from_numpy(nearest)]


# ---------------------------------------------------------------------- reading


def _read(path: Path) -> tuple[OccupancyPredictor, dict[str, Any]]:
    model, about = load_model(path)
    if not isinstance(model, OccupancyNetwork):
        raise InputError(f"{path}: need an occupancy network as the first of the weights is")
    predictor = OccupancyPredictor.of(model, about, path)
    return predictor, about["observations"]


def _true_meshes(folder: Path | None, samples: Samples) -> dict[str, trimesh.Trimesh]:
    if folder is None:
        return {}
    categories = sorted(set(samples.categories))
    found = {source.name: source for source in find_meshes(folder, categories=categories)}
    missing = [name for name in samples.names if name not in found]
    if missing:
        raise InputError(f"{folder}: need the mesh of {missing[0]!r}, it is not there")
    return {name: canonical_mesh(found[name]) for name in samples.names}


def _iou(a: Tensor, b: Tensor) -> float:
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else 1.0


def _means(numbers: list[Numbers]) -> Numbers:
    found = {key: [x[key] for x in numbers if key in x] for key in MEASURES}
    return {key: float(np.mean(values)) for key, values in found.items() if values}
