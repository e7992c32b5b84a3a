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
    to_nearest: the least `chamfer` of the prediction to any training shape, warped copies that were
    learned from included; where it is much less than `chamfer`, and than the truth's own, the
    network has copied.
    energy, seconds: what the code's energy is, and processor time to find it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import trimesh
from torch import Tensor
from tqdm import tqdm

from sdfrender import InputError
from sdfrender.files.tables import read_table
from sdfrender.latent.field import LatentField
from sdfrender.meshes.metrics import (
    earth_mover,
    mesh_accuracy,
    mesh_completion,
    mesh_cosine,
    squared_chamfer,
)
from sdfrender.meshes.mise import mise
from sdfrender.meshes.refine import refine_mesh, simplify_mesh
from singleview.data.distances import MANIFEST, Distances, is_warped, open_distances
from singleview.data.meshes import by_category, canonical_mesh
from singleview.data.samples import PADDED_BOX
from singleview.evaluate.copies import Bank
from singleview.evaluate.truths import true_sources
from singleview.from_meshes.sample_distances import warped_copies
from singleview.measures.intervals import intervals
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
COARSE, LEVELS = 48, 2  # cells of the grid that surfaces are extracted from: 192³
SLOPE = 1.5  # of learned distances at most; no part is missed that 192³ shows
FACES = 5000  # of a mesh that is refined, as `predict` does
POINTS = 4096  # of a shape that its code is found from
NEAREST_SAMPLES = 5000  # in the search for the nearest training shape


Codes: TypeAlias = Callable[[int], tuple[Tensor, Numbers]]  # of object i, and what it cost


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
    manifest = config.dataset / MANIFEST
    sources = true_sources(config.meshes, [*judged.names, *trained], manifest)
    meshes = {name: canonical_mesh(sources[name]) for name in judged.names}
    learned = distances.split("train")
    seed = int(read_table(manifest)["settings"]["seed"])
    bank = Bank.of(learned, warped_copies([sources[n] for n in trained], learned.names, seed))
    methods: list[MeshMethod] = []
    for path, (field, about) in networks:
        name = path.name if path.is_dir() else f"{path.parent.name}/{path.name}"
        clamp = float(about.get("clamp", 0.1))
        codes = by_newton(field, judged, clamp)
        methods.append(extracted(name, field, codes))
        if config.refine:
            methods += refined(name, field, codes)
        if config.adam:
            methods.append(extracted(f"{name}, Adam", field, by_adam(field, judged, clamp)))
    if config.baselines:
        methods += nearest_shapes(judged, meshes, bank)
    return {
        "dataset": str(config.dataset),
        "split": config.split,
        "objects": len(judged),
        "known": sorted(set(judged.names) & set(networks[0][1][0].names)),
        "methods": [
            {"name": m.name, "told": m.told, **measure(m, judged, meshes, bank, config)}
            for m in methods
        ],
    }


def measure(
    method: MeshMethod,
    judged: Distances,
    meshes: dict[str, trimesh.Trimesh],
    bank: Bank,
    config: EvaluateConfig,
) -> dict[str, Any]:
    """The measures of one method: per object, per category, and the mean over categories."""
    objects: dict[str, Numbers] = {}
    for i, name in enumerate(tqdm(judged.names, desc=method.name, unit="object")):
        mesh, cost = method.predict(i)
        objects[name] = dict(cost)
        if mesh is not None:
            other = bank.nearest(mesh, config.seed, without=name)
            objects[name] |= surface_numbers(mesh, meshes[name], other, config.seed)
    groups = by_category(judged.names)
    categories = {
        category: _over([objects[name] for name in names], np.mean)
        for category, names in groups.items()
    }
    means = _over(list(categories.values()), np.mean)
    medians = _over(list(objects.values()), np.median)
    shown = {"median": 1000 * medians["chamfer"]} if "chamfer" in medians else {}
    for key in ("chamfer", "to_nearest"):
        if key in means:
            shown[f"{key}_1000"] = 1000 * means[key]
    between = intervals(objects, list(groups.values()), MEASURES)
    if "chamfer" in between:
        low, high = between["chamfer"]
        between["chamfer_1000"] = (1000 * low, 1000 * high)
    return {
        **means,
        **shown,
        "intervals": between,
        "medians": medians,
        "categories": categories,
        "objects": objects,
    }


def surface_numbers(
    mesh: trimesh.Trimesh, truth: trimesh.Trimesh, other: trimesh.Trimesh | None, seed: int
) -> Numbers:
    """The measures of one predicted mesh; `other` is the nearest known shape; canonical frame."""
    radius, center = ball(truth)
    mesh, truth = _moved(mesh, radius, center), _moved(truth, radius, center)
    numbers = {
        "chamfer": squared_chamfer(mesh, truth, seed=seed),
        "earth_mover": earth_mover(mesh, truth, seed=seed),
        "accuracy": mesh_accuracy(mesh, truth, samples=30_000, seed=seed),
        "completion": mesh_completion(mesh, truth, samples=30_000, seed=seed),
        "cosine": mesh_cosine(mesh, truth, samples=30_000, seed=seed),
    }
    if other is not None:
        numbers["to_nearest"] = squared_chamfer(mesh, _moved(other, radius, center), seed=seed)
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


def by_newton(field: LatentField, judged: Distances, clamp: float) -> Codes:
    """Stored codes of known shapes; those of others found by Levenberg-Marquardt."""

    @cache
    def code(i: int) -> tuple[Tensor, Numbers]:
        if judged.names[i] in field.names:
            return field.code_of(judged.names[i]), {}
        points, values = seen_of(judged, i)
        start = time.process_time()
        found = find_code(field, points, values, clamp).code
        seconds = time.process_time() - start
        energy = energy_of(field, found, points, values, clamp)
        return found, {"energy": energy, "seconds": seconds}

    return code


def by_adam(field: LatentField, judged: Distances, clamp: float) -> Codes:
    """All codes found by 800 steps of Adam."""

    @cache
    def code(i: int) -> tuple[Tensor, Numbers]:
        points, values = seen_of(judged, i)
        start = time.process_time()
        found, _ = adam_code(field, points, values, clamp)
        seconds = time.process_time() - start
        energy = energy_of(field, found, points, values, clamp)
        return found, {"energy": energy, "seconds": seconds}

    return code


def extracted(name: str, field: LatentField, codes: Codes) -> MeshMethod:
    """The surface of the field at the codes."""

    def predict(i: int) -> tuple[trimesh.Trimesh | None, Numbers]:
        code, cost = codes(i)
        return mesh_of(field, code), cost

    return MeshMethod(name, predict)


def refined(name: str, field: LatentField, codes: Codes) -> list[MeshMethod]:
    """What `predict` makes of the same surface: fewer triangles, then moved onto the field's zero.

    Two rows, so that what refinement gains is not mixed with what simplification loses.
    """

    @cache
    def simple(i: int) -> trimesh.Trimesh | None:
        mesh = mesh_of(field, codes(i)[0])
        return None if mesh is None else simplify_mesh(mesh, FACES)

    def moved(i: int) -> trimesh.Trimesh | None:
        mesh = simple(i)
        return None if mesh is None else refine_mesh(mesh, field.field(codes(i)[0]))

    return [
        MeshMethod(f"{name}, {FACES} triangles", lambda i: (simple(i), {})),
        MeshMethod(f"{name}, {FACES} triangles, refined", lambda i: (moved(i), {})),
    ]


def nearest_shapes(
    judged: Distances, meshes: dict[str, trimesh.Trimesh], bank: Bank
) -> list[MeshMethod]:
    """The training shape that is nearest to the truth: what copying can reach at best.

    With the warped copies that were learned from, and, if there are any, without them too.
    """

    def method(name: str, warped: bool) -> MeshMethod:
        def predict(i: int) -> tuple[trimesh.Trimesh | None, Numbers]:
            own = judged.names[i]
            return bank.nearest(meshes[own], 0, without=own, warped=warped), {}

        return MeshMethod(name, predict, told="the truth")

    copies = sum(is_warped(name) for name in bank.names)
    methods = [method("nearest training shape", False)]
    if copies:
        methods.append(method(f"nearest training shape, {copies} warped copies too", True))
    return methods


def seen_of(judged: Distances, i: int) -> tuple[Tensor, Tensor]:
    """The points `[P, 3]` and values `[P]` of object i that its code is found from."""
    return judged.points[i, :POINTS].float(), judged.values[i, :POINTS].float()


def mesh_of(field: LatentField, code: Tensor) -> trimesh.Trimesh | None:
    """The surface of a code `[C]`, in the canonical frame; None where there is none."""
    try:
        return mise(field.field(code), PADDED_BOX, COARSE, LEVELS, slope=SLOPE).mesh()
    except InputError:
        return None


# ---------------------------------------------------------------------- reading


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
