"""Made-up objects: training shapes deformed and photographed anew with the renderer.

The shapes are the lattices fitted to the training images (`fitting.py`), so that nothing but
images goes in; with 3D supervision they are the true ones. Each made-up dataset is a `Dataset` like
the real one, whose objects share a few of its cameras.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from sdfrender import Lattice, render
from singleview.augment.warps import (
    WarpSettings,
    join_lattices,
    random_warp,
    surface_points,
    warp_lattice,
)
from singleview.data.dataset import Dataset
from singleview.settings.choices import Split

VIEWS = 4  # of each made-up object
MADE = ("images", "silhouettes", "values", "sides")  # what there is of it


def make_up_group(
    dataset: Dataset,
    shapes: Tensor,
    views: list[int],
    count: int,
    resolution: int,
    generator: torch.Generator,
    settings: WarpSettings | None = None,
) -> dict[str, Tensor]:
    """Make up objects that are seen from the same few cameras.

    Args:
        dataset: N training objects with shared cameras and a known light.
        shapes: `[N, R, R, R]` a lattice of each, over [-1, 1]³.
        views: numbers of the k cameras.
        count: M, objects to make up.
        resolution: of the lattices that are kept, for a loss on shapes.
        generator: of the deformations.
        settings: how far to deform.

    Returns:
        `images` `[M, k, H, W, C]` uint8, `silhouettes` `[M, k, H, W]` uint8, `values`
        `[M, resolution…]` float16 and `sides` `[M]`.
    """
    settings = settings or WarpSettings()
    parts = []
    for _ in range(count):
        values, side = deformed(dataset, shapes, settings, generator)
        parts.append((*photograph(dataset, values, views), shrink(values, resolution), side))
    columns = zip(*parts, strict=True)
    return {name: torch.stack(column) for name, column in zip(MADE, columns, strict=True)}


def made_up_dataset(dataset: Dataset, made: Mapping[str, Tensor], views: list[int]) -> Dataset:
    """What `make_up_group` made, as a dataset."""
    count = len(made["images"])
    split: Split = "train"
    return Dataset(
        names=("made/up",) * count,
        splits=(split,) * count,
        images=made["images"],
        silhouettes=made["silhouettes"],
        c2w=dataset.c2w[:, views],
        Ks=dataset.Ks[:, views],
        bounds=dataset.bounds,
        lighting=dataset.lighting,
        values=made["values"],
        sides=made["sides"],
    )


def view_groups(views: int, generator: torch.Generator, rounds: int = 4) -> list[list[int]]:
    """Every view in `rounds` groups of `VIEWS`, by lot."""
    groups = []
    for _ in range(rounds):
        order = torch.randperm(views, generator=generator)
        groups += [g.tolist() for g in torch.split(order, VIEWS) if len(g) == min(VIEWS, views)]
    return groups


def deformed(
    dataset: Dataset, shapes: Tensor, settings: WarpSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A training object's shape, or that and another's, deformed; and the axis of its sides."""
    members = defaultdict(list)
    for i, category in enumerate(dataset.categories):
        members[category].append(i)
    i = _draw(len(shapes), generator)
    values, resolution = shapes[i], shapes.shape[-1]
    if float(torch.rand(1, generator=generator)) < settings.join:
        among = members[dataset.categories[i]]
        other = shapes[among[_draw(len(among), generator)]]
        height = float(torch.rand(1, generator=generator)) - 0.5
        joined = join_lattices(values, other, height)
        values = joined if bool((joined < 0).any()) else values
    side = dataset.side_axes[i]
    warp = random_warp(settings, generator, int(side))
    return warp_lattice(values, warp, longest_side(shapes[i]), resolution), side


def photograph(dataset: Dataset, values: Tensor, views: list[int]) -> tuple[Tensor, Tensor]:
    """Uint8 images `[V, H, W, C]` and silhouettes `[V, H, W]` of a lattice."""
    cameras = dataset.cameras(0)[views]
    out = render(Lattice(values, dataset.bounds), cameras, lighting=dataset.lighting)
    images = out.images.expand(*out.silhouettes.shape, dataset.channels)
    return _uint8(images), _uint8(out.silhouettes)


def shrink(values: Tensor, resolution: int) -> Tensor:
    """`[R, R, R]` to `[resolution]³` float16."""
    size = (resolution,) * 3
    return torch.nn.functional.interpolate(
        values[None, None], size=size, mode="trilinear", align_corners=True
    )[0, 0].half()


def longest_side(values: Tensor) -> float:
    """Of the box around a shape, world units."""
    points = surface_points(values)
    return float((points.amax(0) - points.amin(0)).max())


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator))


def _uint8(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round().byte()
