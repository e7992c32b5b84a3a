"""`singleview evaluate` for DeepSDF: known shapes, unknown shapes, and how much is copied.

Of a shape that a network knows the code is stored. That of another is found from samples of its
distance, by Levenberg-Marquardt (`singleview.models.latent`), and with `--adam` by the paper's
Adam too.

Definitions, the same for every method. Lengths are in units in which the true mesh, the middle of
its box at the origin, touches the unit ball, as in the paper:
    chamfer: `metrics.squared_chamfer`, 30 000 samples; in tables ×10³.
    earth_mover: `metrics.earth_mover`, 500 samples.
    accuracy: `metrics.mesh_accuracy`, of 90% of the predicted surface.
    completion: `metrics.mesh_completion`, within 0.01.
    cosine: `metrics.mesh_cosine`.
    to_nearest: the least `chamfer` of the prediction to any training shape; where it is much less
    than `chamfer`, and than the truth's own, the network has copied.
    energy, seconds: what the code's energy is, and processor time to find it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import trimesh
from torch import Tensor
from tqdm import tqdm

from sdfrender import InputError
from sdfrender.latent.field import LatentField
from sdfrender.meshes.metrics import (
    earth_mover,
    mesh_accuracy,
    mesh_completion,
    mesh_cosine,
    squared_chamfer,
)
from sdfrender.meshes.mise import mise
from singleview.data.distances import Distances, is_warped, open_distances
from singleview.data.meshes import by_category, canonical_mesh, find_meshes
from singleview.data.samples import PADDED_BOX
from singleview.models import AutoDecoder
from singleview.models.latent import adam_code, energy_of, find_code, need_canonical
from singleview.settings.evaluation import EvaluateConfig
from singleview.training.checkpoint import load_model

Numbers: TypeAlias = dict[str, float]
MEASURES = (
    "chamfer",
    "earth_mover",
    "accuracy",
    "completion",
    "cosine",
    "to_nearest",
    "energy",
    "seconds",
)
COARSE, LEVELS = 96, 1  # cells of the grid that surfaces are extracted from: 192³
POINTS = 4096  # of a shape that its code is found from
NEAREST_SAMPLES = 5000  # in the search for the nearest training shape


@dataclass(frozen=True)
class MeshMethod:
    """A way to predict objects by their number in the judged set: a mesh, and what it cost."""

    name: str
    predict: Callable[[int], tuple[trimesh.Trimesh | None, Numbers]]
    told: str = ""


def evaluate_deepsdf(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate DeepSDF networks on one split.

    Args:
        config: an `EvaluateConfig`; `meshes` is needed.

    Returns:
        As `singleview.evaluate.evaluate.evaluate`, with the measures of this module, their medians
        under `medians`, and the names of the `known` objects.

    Raises:
        InputError: weights, samples or meshes that cannot be used.
    """
    if config.meshes is None:
        raise InputError("--meshes: need the folder of the true meshes, got none")
    networks = [(path, _read(path)) for path in config.weights]
    distances = open_distances(config.dataset)
    judged = distances.split(config.split)
    judged = judged.subset([i for i, name in enumerate(judged.names) if not is_warped(name)])
    trained = [
        name
        for name, split in zip(distances.names, distances.splits, strict=True)
        if split == "train" and not is_warped(name)
    ]
    meshes = true_meshes(config.meshes, [*judged.names, *trained])
    methods: list[MeshMethod] = []
    for path, (field, about) in networks:
        name = path.name if path.is_dir() else f"{path.parent.name}/{path.name}"
        clamp = float(about.get("clamp", 0.1))
        methods.append(by_newton(name, field, judged, clamp))
        if config.adam:
            methods.append(by_adam(f"{name}, Adam", field, judged, clamp))
    if config.baselines:
        methods.append(nearest_shape(judged, meshes, trained))
    return {
        "dataset": str(config.dataset),
        "split": config.split,
        "objects": len(judged),
        "known": sorted(set(judged.names) & set(networks[0][1][0].names)),
        "methods": [
            {"name": m.name, "told": m.told, **measure(m, judged, meshes, trained, config)}
            for m in methods
        ],
    }


def measure(
    method: MeshMethod,
    judged: Distances,
    meshes: dict[str, trimesh.Trimesh],
    trained: list[str],
    config: EvaluateConfig,
) -> dict[str, Any]:
    """The measures of one method: per object, per category, and the mean over categories."""
    objects: dict[str, Numbers] = {}
    for i, name in enumerate(tqdm(judged.names, desc=method.name, unit="object")):
        mesh, cost = method.predict(i)
        objects[name] = dict(cost)
        if mesh is not None:
            others = [meshes[other] for other in trained if other != name]
            objects[name] |= surface_numbers(mesh, meshes[name], others, config.seed)
    categories = {
        category: _over([objects[name] for name in names], np.mean)
        for category, names in by_category(judged.names).items()
    }
    means = _over(list(categories.values()), np.mean)
    medians = _over(list(objects.values()), np.median)
    shown = {"median": 1000 * medians["chamfer"]} if "chamfer" in medians else {}
    for key in ("chamfer", "to_nearest"):
        if key in means:
            shown[f"{key}_1000"] = 1000 * means[key]
    return {**means, **shown, "medians": medians, "categories": categories, "objects": objects}


def surface_numbers(
    mesh: trimesh.Trimesh, truth: trimesh.Trimesh, others: list[trimesh.Trimesh], seed: int
) -> Numbers:
    """The measures of one predicted mesh; `others` are the training shapes; canonical frame."""
    radius, center = ball(truth)
    mesh, truth = _moved(mesh, radius, center), _moved(truth, radius, center)
    numbers = {
        "chamfer": squared_chamfer(mesh, truth, seed=seed),
        "earth_mover": earth_mover(mesh, truth, seed=seed),
        "accuracy": mesh_accuracy(mesh, truth, samples=30_000, seed=seed),
        "completion": mesh_completion(mesh, truth, samples=30_000, seed=seed),
        "cosine": mesh_cosine(mesh, truth, samples=30_000, seed=seed),
    }
    if others:
        moved = [_moved(other, radius, center) for other in others]
        numbers["to_nearest"] = squared_chamfer(mesh, nearest(mesh, moved, seed), seed=seed)
    return numbers


def nearest(mesh: trimesh.Trimesh, others: list[trimesh.Trimesh], seed: int = 0) -> trimesh.Trimesh:
    """The one of `others` with the least Chamfer distance to `mesh`, by few samples."""
    found = [squared_chamfer(mesh, other, NEAREST_SAMPLES, seed) for other in others]
    return others[int(np.argmin(found))]


def ball(truth: trimesh.Trimesh) -> tuple[float, Tensor]:
    """Radius, and centre `[3]` float64, of the ball around a mesh about the middle of its box."""
    center = truth.bounds.mean(0)
    return float(np.linalg.norm(truth.vertices - center, axis=1).max()), torch.from_numpy(center)


# ---------------------------------------------------------------------- methods


def by_newton(name: str, field: LatentField, judged: Distances, clamp: float) -> MeshMethod:
    """Stored codes of known shapes; those of others found by Levenberg-Marquardt."""

    def predict(i: int) -> tuple[trimesh.Trimesh | None, Numbers]:
        if judged.names[i] in field.names:
            return mesh_of(field, field.code_of(judged.names[i])), {}
        points, values = seen_of(judged, i)
        start = time.process_time()
        code = find_code(field, points, values, clamp).code
        seconds = time.process_time() - start
        energy = energy_of(field, code, points, values, clamp)
        return mesh_of(field, code), {"energy": energy, "seconds": seconds}

    return MeshMethod(name, predict)


def by_adam(name: str, field: LatentField, judged: Distances, clamp: float) -> MeshMethod:
    """All codes found by 800 steps of Adam."""

    def predict(i: int) -> tuple[trimesh.Trimesh | None, Numbers]:
        points, values = seen_of(judged, i)
        start = time.process_time()
        code, _ = adam_code(field, points, values, clamp)
        seconds = time.process_time() - start
        energy = energy_of(field, code, points, values, clamp)
        return mesh_of(field, code), {"energy": energy, "seconds": seconds}

    return MeshMethod(name, predict)


def nearest_shape(
    judged: Distances, meshes: dict[str, trimesh.Trimesh], trained: list[str]
) -> MeshMethod:
    """The training shape that is nearest to the truth: what copying can reach at best."""

    def predict(i: int) -> tuple[trimesh.Trimesh | None, Numbers]:
        others = [meshes[name] for name in trained if name != judged.names[i]]
        return (nearest(meshes[judged.names[i]], others) if others else None), {}

    return MeshMethod("nearest training shape", predict, told="the truth")


def seen_of(judged: Distances, i: int) -> tuple[Tensor, Tensor]:
    """The points `[P, 3]` and values `[P]` of object i that its code is found from."""
    return judged.points[i, :POINTS].float(), judged.values[i, :POINTS].float()


def mesh_of(field: LatentField, code: Tensor) -> trimesh.Trimesh | None:
    """The surface of a code `[C]`, in the canonical frame; None where there is none."""
    try:
        return mise(field.field(code), PADDED_BOX, COARSE, LEVELS).mesh()
    except InputError:
        return None


# ---------------------------------------------------------------------- reading


def true_meshes(folder: Path, names: list[str]) -> dict[str, trimesh.Trimesh]:
    """The meshes of some objects, in the canonical frame.

    Raises:
        InputError: one that is not there.
    """
    found = {source.name: source for source in find_meshes(folder, categories=sorted(
        {name.rpartition("/")[0] for name in names}
    ))}  # fmt: skip
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(f"{folder}: need the mesh of {missing[0]!r}, it is not there")
    return {name: canonical_mesh(found[name]) for name in names}


def _read(path: Path) -> tuple[LatentField, dict[str, Any]]:
    model, about = load_model(path)
    if not isinstance(model, AutoDecoder):
        raise InputError(f"{path}: need a DeepSDF network as the first of the weights is")
    need_canonical(model.decoder, path)
    return model.decoder, about


def _moved(mesh: trimesh.Trimesh, radius: float, center: Tensor) -> trimesh.Trimesh:
    verts = (mesh.vertices - center.numpy()) / radius
    return trimesh.Trimesh(verts, mesh.faces, process=False)


def _over(numbers: list[Numbers], mean: Callable[[list[float]], Any]) -> Numbers:
    """The mean, or the median, of each measure over those that have it."""
    found = {key: [x[key] for x in numbers if key in x] for key in MEASURES}
    return {key: float(mean(values)) for key, values in found.items() if values}
