"""What occupancy networks are compared with: a mean shape, the most similar object, the input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from scipy.spatial import KDTree
from torch import Tensor

from sdfrender.meshes.metrics import occupancy_iou
from singleview.data.dataset import Dataset
from singleview.data.samples import Samples, voxel_at
from singleview.evaluate.baselines import picture_features
from singleview.measures.occupancy import THRESHOLDS
from singleview.models.observations import Observer

CLOUD = 2000  # points of a surface that clouds are compared with


@dataclass(frozen=True, eq=False)
class PredictedOccupancy:
    """What a method says of one object.

    Args:
        inside: `[P]` bool at the stored points.
        mesh: of its surface; None without.
    """

    inside: Tensor
    mesh: trimesh.Trimesh | None = None


@dataclass(frozen=True)
class OccupancyMethod:
    """A way to guess objects: by their number in the judged set and the seed of the observation."""

    name: str
    guess: Callable[[int, int], PredictedOccupancy]
    told: str = ""


def occupancy_baselines(judged: Observer, train: Observer, count: int) -> list[OccupancyMethod]:
    """What to compare with, at `count` points: a mean shape, a similar object, the input itself."""
    if judged.kind == "index":
        return []
    methods = [category_mean(judged, train, count)]
    if judged.kind != "none":
        methods.append(nearest_object(judged, train, count))
    if judged.kind == "voxels":
        methods.append(
            OccupancyMethod(
                "the input's voxels", lambda i, _: PredictedOccupancy(_filled(judged, i))
            )
        )
    return methods


def category_mean(judged: Observer, train: Observer, count: int) -> OccupancyMethod:
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
            means = torch.stack([m for m, _ in seen])  # (n, P)
            solids = torch.stack([x for _, x in seen])
            scores = [float(occupancy_iou(means > t, solids, axes=1).mean()) for t in THRESHOLDS]
            shares[category] = THRESHOLDS[int(np.argmax(scores))]
        return shares[category]

    def guess(i: int, seed: int) -> PredictedOccupancy:
        category = judged.samples.categories[i]
        return PredictedOccupancy(
            mean(category, judged.samples.points[i, :count]) > share(category)
        )

    return OccupancyMethod("category mean shape", guess, told="the category")


def nearest_object(judged: Observer, train: Observer, count: int) -> OccupancyMethod:
    """The training object that looks most like the observation.

    Clouds: least Chamfer distance to the surface. Voxels: best IoU. Images: least squared
    difference of pictures averaged down to 32².
    """
    trees = _Occupancies(train.samples)
    likeness = {"points": _like_cloud, "voxels": _like_voxels, "image": _like_image}[judged.kind](
        judged, train
    )
    return OccupancyMethod(
        "nearest neighbour by input",
        lambda i, seed: PredictedOccupancy(
            trees(likeness(i, seed), judged.samples.points[i, :count])
        ),
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
        return int(
            np.argmax([float(occupancy_iou(seen[0] > 0, x[0] > 0)) for x in known if x is not None])
        )

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
    return voxel_at(seen[0], judged.samples.points[i], judged.half) > 0


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
