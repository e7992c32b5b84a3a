"""Stretched copies of objects, photographed anew: a larger bank for the nearest neighbour."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from sdfrender.errors import InputError
from sdfrender.geometry.grid import grid_points
from sdfrender.geometry.lattice import Lattice
from sdfrender.rendering.render import render
from singleview.data.dataset import Dataset, to_bytes
from singleview.data.objects import LONGEST_SIDE

STRETCH = 0.3  # of the logarithm of the scale of each axis, at most


@torch.no_grad()
def stretched_copies(dataset: Dataset, copies: int, seed: int) -> Dataset:
    """`copies` of each object, scaled by chance along each axis, then to the same longest side.

    Args:
        dataset: N objects with true lattices, shared cameras and a known light.
        copies: of each.
        seed: of the scales.

    Returns:
        N · copies objects seen by the same cameras.

    Raises:
        InputError: a dataset that lacks what is needed.
    """
    cameras = dataset.shared_cameras
    if dataset.values is None or cameras is None or dataset.lighting is None:
        raise InputError("--stretched: need true distances, shared cameras and a known light")
    generator = torch.Generator().manual_seed(seed)
    ids = [i for i in range(len(dataset)) for _ in range(copies)]
    images, silhouettes, values = [], [], []
    for i in tqdm(ids, desc="stretching", unit="object"):
        scale = (STRETCH * (2 * torch.rand(3, generator=generator) - 1)).exp()
        lattice = stretched(Lattice(dataset.values[i].float(), dataset.bounds), scale)
        seen = render(lattice, cameras, lighting=dataset.lighting)
        images.append(to_bytes(seen.images.expand(*seen.silhouettes.shape, dataset.channels)))
        silhouettes.append(to_bytes(seen.silhouettes))
        values.append(lattice.values.half())
    return replace(
        dataset.subset(ids),
        images=torch.stack(images),
        silhouettes=torch.stack(silhouettes),
        values=torch.stack(values),
        occupancy=None,
    )


def stretched(lattice: Lattice, scale: Tensor) -> Lattice:
    """A lattice about the origin scaled along each axis, and then to the longest side 1.5.

    Distances are multiplied by the smallest of the three scales: never too large.

    Args:
        lattice: one lattice, negative somewhere.
        scale: `[3]`.
    """
    points = grid_points(lattice.resolution, lattice.bounds)
    solid = points[lattice.values < 0]
    extents = solid.amax(0) - solid.amin(0) + lattice.spacing  # to half a sample on either side
    scale = scale * LONGEST_SIDE / float((scale * extents).max())
    inside = (points / scale).clamp(lattice.bounds[0], lattice.bounds[1])
    away = (points / scale - inside).norm(dim=-1)
    return lattice.with_values((lattice.sample(inside) + away) * float(scale.min()))
