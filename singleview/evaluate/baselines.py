"""What to compare a network with: shapes that take no learning, or none that sees the image.

Each method predicts a lattice from each of V pictures of an object. Some are told more than the
picture, and their `told` says what; the oracle and the hull are limits rather than competitors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage
from torch import Tensor

from sdfrender.geometry.lattice import Lattice
from sdfrender.meshes.metrics import occupancy_iou
from singleview.data.dataset import Dataset, Item
from singleview.data.hull import visual_hull
from singleview.data.meshes import by_category
from singleview.measures.shapes import RESOLUTIONS, inside, true_inside

HULL_RESOLUTION = 64  # samples along each side; twice the least at which IoU is reported
# Shares of the training objects tried as the level of a mean shape.
LEVELS = torch.linspace(0.05, 0.95, 19)
FEATURE_SIZE = 32  # pixels on a side of the pictures that are compared


@dataclass(frozen=True)
class LatticeMethod:
    """A way to predict a shape.

    Args:
        name: in tables.
        predict: a lattice for each picture of an object, `[V, R, R, R]`, or one that serves them
            all, `[R, R, R]`.
        told: what it is told besides the picture, in a few words; empty for nothing.
        sees_all_views: it looks at all V pictures, so that no view is unseen.
    """

    name: str
    predict: Callable[[Item], Lattice]
    told: str = ""
    sees_all_views: bool = False


def baselines(train: Dataset, more: Dataset | None = None) -> list[LatticeMethod]:
    """All baselines.

    Args:
        train: N objects with true shapes.
        more: further objects for the bank of the nearest neighbour, with as large pictures.
    """
    methods = [
        mean_shape(train),
        nearest_neighbour([train], "nearest neighbour by image"),
        oracle_neighbour(train),
        hull(train.views),
    ]
    if more is not None:
        name = f"nearest neighbour by image, {len(more)} stretched copies too"
        methods.insert(2, nearest_neighbour([train, more], name))
    return methods


def mean_shape(train: Dataset) -> LatticeMethod:
    """The mean of each category: where more than a share of the training objects is inside.

    The share is chosen per category for the best mean IoU over the training objects.
    """
    solids = _solids(train)
    means: dict[str, Lattice] = {}
    numbers = {name: i for i, name in enumerate(train.names)}
    for category, names in by_category(train.names).items():
        own = solids[[numbers[name] for name in names]]  # (N, R, R, R)
        share = own.float().mean(0)
        scores = torch.stack([occupancy_iou(own, share > level).mean() for level in LEVELS])
        level = float(LEVELS[int(scores.argmax())])
        means[category] = lattice_from_solid(share > level, train.bounds)
    return LatticeMethod(
        "category mean shape", lambda item: means[item.category], told="the category"
    )


def nearest_neighbour(bank: Sequence[Dataset], name: str) -> LatticeMethod:
    """The shape of the training picture that differs least from the given one.

    The difference is the sum of squares over the pixels of image and silhouette, averaged down to
    about 32².
    """
    resolution = _solids(bank[0]).shape[-1]
    features = torch.cat(
        [
            picture_features(x, y)
            for part in bank
            for x, y in zip(part.images, part.silhouettes, strict=True)
        ]
    )
    owners = [(part, i) for part in bank for i in range(len(part)) for _ in range(part.views)]
    squares = (features * features).sum(-1)

    def predict(item: Item) -> Lattice:
        seen = picture_features(255 * item.views.images, 255 * item.views.silhouettes)  # (V, P)
        # Squared distances, up to a constant for each picture.
        nearest = (squares - 2 * seen @ features.T).argmin(1)
        found = [_lattice(*owners[i]).resample(resolution).values for i in nearest.tolist()]
        return Lattice(torch.stack(found), bank[0].bounds)

    return LatticeMethod(name, predict)


def oracle_neighbour(train: Dataset) -> LatticeMethod:
    """The training object whose true shape has the best IoU with the truth: the limit of choosing.

    The IoU is the mean of those at all resolutions that are reported.
    """
    known = {R: x for R in RESOLUTIONS if (x := true_inside(train, R)) is not None}

    def predict(item: Item) -> Lattice:
        scores = [occupancy_iou(known[R], _solid(item, train.bounds, R)) for R in known]
        return _lattice(train, int(torch.stack(scores).mean(0).argmax()))

    return LatticeMethod("oracle nearest neighbour", predict, told="the true shape")


def hull(views: int) -> LatticeMethod:
    """The visual hull of all silhouettes of the object."""

    def predict(item: Item) -> Lattice:
        bounds = torch.tensor([[-1.0] * 3, [1.0] * 3])
        return visual_hull(item.views.silhouettes, item.views.cameras, bounds, HULL_RESOLUTION)

    return LatticeMethod(
        f"visual hull of {views} views", predict, told=f"{views} views", sees_all_views=True
    )


# ---------------------------------------------------------------------- shapes and pictures


def lattice_from_solid(solid: Tensor, bounds: Tensor) -> Lattice:
    """Samples inside as signed distances, to half a sample. Not differentiable.

    Args:
        solid: `[R, R, R]` bool, True inside.
        bounds: `[2, 3]` the box of the samples, the outermost on its faces; world units.
    """
    spacing = float((bounds[1] - bounds[0]).max()) / (solid.shape[0] - 1)
    within, beyond = (
        torch.from_numpy(ndimage.distance_transform_edt(x.numpy())) for x in (solid, ~solid)
    )
    distances = torch.where(solid, 0.5 - within, beyond - 0.5)
    return Lattice((distances * spacing).float(), bounds)


def _solids(dataset: Dataset) -> Tensor:
    """`[N, R, R, R]` bool at the resolution of the truth."""
    if dataset.values is not None:
        return dataset.values < 0
    assert dataset.occupancy is not None, "a dataset without shapes"
    return dataset.occupancy


def _solid(item: Item, bounds: Tensor, resolution: int) -> Tensor:
    """`[R, R, R]` bool: the true shape of an object."""
    if item.occupancy is not None and item.occupancy.shape[-1] == resolution:
        return item.occupancy
    assert item.values is not None, "an object without a shape"
    return inside(Lattice(item.values, bounds), resolution)


def _lattice(dataset: Dataset, i: int) -> Lattice:
    """The true shape of object i."""
    if dataset.values is not None:
        return Lattice(dataset.values[i].float(), dataset.bounds)
    assert dataset.occupancy is not None
    return lattice_from_solid(dataset.occupancy[i], dataset.bounds)


def picture_features(images: Tensor, silhouettes: Tensor) -> Tensor:
    """`[V, H, W, C]` and `[V, H, W]`, numbers up to 255, as float32 vectors `[V, P]`."""
    pixels = torch.cat((images, silhouettes[..., None]), -1).float().movedim(-1, 1)
    factor = max(1, min(pixels.shape[-2:]) // FEATURE_SIZE)
    return torch.nn.functional.avg_pool2d(pixels, factor).flatten(1)
