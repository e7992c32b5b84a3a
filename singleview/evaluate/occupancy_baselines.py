"""What occupancy networks are compared with: a mean shape, the most similar object, the input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from scipy.spatial import KDTree
from torch import Tensor

from sdfrender.geometry.grid import grid_points
from sdfrender.geometry.lattice import Lattice
from sdfrender.meshes.metrics import occupancy_iou
from singleview.data.dataset import Dataset
from singleview.data.samples import PADDED_BOX, Samples, voxel_at
from singleview.evaluate.baselines import picture_features
from singleview.measures.occupancy import THRESHOLDS
from singleview.models.observations import Observer

CLOUD = 2000  # points of a surface that clouds are compared with
MEAN_GRID = 64  # samples along each side that shares of a category are taken at
TRIED = 5000  # points of each training object that a level is chosen on


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

    The share is chosen per category for the best mean IoU over the training objects. Shares are
    taken on a grid, once for a category, and interpolated trilinearly.
    """
    means = {c: _mean_shape(train.samples, c) for c in sorted(set(judged.samples.categories))}

    def guess(i: int, seed: int) -> PredictedOccupancy:
        shares, level = means[judged.samples.categories[i]]
        return PredictedOccupancy(shares.sample(judged.samples.points[i, :count].float()) > level)

    return OccupancyMethod("category mean shape", guess, told="the category")


def _mean_shape(samples: Samples, category: str) -> tuple[Lattice, float]:
    """The share of a category's objects that hold a point, and the level of the best mean IoU."""
    box = torch.tensor(PADDED_BOX)
    places = grid_points((MEAN_GRID,) * 3, box).reshape(-1, 3)
    known = _Occupancies(samples)
    members = [n for n, c in enumerate(samples.categories) if c == category]
    share = torch.stack([known(n, places) for n in members]).float().mean(0)
    lattice = Lattice(share.reshape((MEAN_GRID,) * 3), box)
    seen = [lattice.sample(samples.points[n, :TRIED].float()) for n in members]
    shares = torch.stack(seen)  # (n, P)
    solids = torch.stack([samples.inside[n, :TRIED] for n in members])
    scores = [float(occupancy_iou(shares > t, solids, axes=1).mean()) for t in THRESHOLDS]
    return lattice, THRESHOLDS[int(np.argmax(scores))]


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
