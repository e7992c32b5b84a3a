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
from singleview.data.dataset import Dataset, to_bytes
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
    """What `make_up_group` made, as a dataset.

    Args:
        dataset: whose cameras, box and light it was made with.
        made: of M objects `images` `[M, V, H, W, C]` and `silhouettes` `[M, V, H, W]`, uint8;
            `values` `[M, R, R, R]` float16, canonical units; `sides` `[M]`.
        views: the V views of the dataset that they are seen from.
    """
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
    """A training object's shape, or that and another's, deformed; and the axis of its sides.

    Args:
        dataset: N training objects.
        shapes: `[N, R, R, R]` a lattice of each over [-1, 1]³, canonical units.
        settings: how far the warp may go.
        generator: of the choice and of the warp.

    Returns:
        `[R, R, R]` over [-1, 1]³, and `[]` 0 (x) or 2 (z).
    """
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
    return to_bytes(images), to_bytes(out.silhouettes)


def shrink(values: Tensor, resolution: int) -> Tensor:
    """Distances `[R, R, R]` to `[resolution]³` float16 over the same box, trilinearly."""
    size = (resolution,) * 3
    return torch.nn.functional.interpolate(
        values[None, None], size=size, mode="trilinear", align_corners=True
    )[0, 0].half()


def longest_side(values: Tensor) -> float:
    """Of the box around the surface of `values` `[R, R, R]` over [-1, 1]³, canonical units."""
    points = surface_points(values)
    return float((points.amax(0) - points.amin(0)).max())


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator))
