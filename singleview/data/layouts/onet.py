"""Occupancy samples in the layout of Occupancy Networks and DVR (Mescheder et al. 2019).

    DIR/CLASS/OBJECT/points.npz      `points` `[P, 3]` in a cube of side 1.1 and `occupancies`,
                                     bits or bools
    DIR/CLASS/OBJECT/pointcloud.npz  `points` `[S, 3]` of the surface and `normals`
    DIR/CLASS/train.lst …            the names of the objects of a split, one a line

The frame is that of `singleview.data.layouts.dvr`: the cube times 1.5. Objects are cut to the
fewest points that any of them has.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sdfrender.errors import InputError
from sdfrender.files.arrays import need_numbers
from sdfrender.io.cameras import read_arrays
from singleview.data.columns import Column, stays_on_disk
from singleview.data.layouts.dvr import find_objects, read_splits
from singleview.data.objects import LONGEST_SIDE
from singleview.data.samples import Samples
from singleview.settings.choices import Split, Where

INSIDE = 1  # its place among what an object has
KEPT = 4  # objects whose files were just read: they have several arrays


def has_onet(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return any(folder.glob("*/*/points.npz"))


def read_onet(folder: Path, where: Where = "memory") -> Samples:
    """Read all classes of a folder.

    Args:
        folder: of the classes.
        where: the arrays are to lie, see `stays_on_disk`; on disk no object is cut.

    Raises:
        InputError: an object without one of its files, or a damaged file.
    """
    found = find_objects(folder)
    splits = read_splits(folder, found)
    size = sum(f.stat().st_size for path in found.values() for f in path.glob("point*.npz"))
    if stays_on_disk(where, size):
        return streamed(found, splits)
    paths = tqdm(found.values(), desc="samples", unit="object", disable=len(found) < 5)
    columns = [torch.stack(cut(c)) for c in zip(*map(_read_object, paths), strict=True)]
    points, inside, surface, normals = columns
    N = len(found)
    return Samples(
        tuple(found),
        tuple(splits[name] for name in found),
        points,
        inside.bool(),
        near=points.new_zeros(N, 0, 3),
        near_inside=torch.zeros(N, 0, dtype=torch.bool),
        surface=surface,
        normals=normals,
    )


def streamed(found: dict[str, Path], splits: dict[str, Split]) -> Samples:
    """Samples that stay on disk, of objects with a folder each, of which few are kept."""
    names = tuple(found)
    object_of = lru_cache(KEPT)(lambda i: _read_object(found[names[i]]))

    def column(n: int) -> Column:
        def read(i: int) -> Tensor:
            x: Tensor = object_of(i)[n]
            return x.bool() if n == INSIDE else x

        return Column(read, range(len(names)), object_of(0)[n].shape)

    points, inside, surface, normals = (column(n) for n in range(4))
    near = Column(lambda _: torch.zeros(0, 3), range(len(names)), (0, 3))
    outside = Column(lambda _: torch.zeros(0, dtype=torch.bool), range(len(names)), (0,))
    chosen = tuple(splits[name] for name in names)
    return Samples(names, chosen, points, inside, near, outside, surface, normals)


def cut(tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """Tensors `[P, ...]`, each with a P of its own, cut to the smallest one: `[P, ...]`."""
    fewest = min(len(x) for x in tensors)
    return [x[:fewest] for x in tensors]


def _read_object(path: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points, occupancy, surface and normals of one object."""
    sampled = read_arrays(path / "points.npz", ("points", "occupancies"))
    points, inside = sampled["points"], sampled["occupancies"]
    if inside.dtype == np.uint8 and inside.size == -(-len(points) // 8) != len(points):
        inside = np.unpackbits(inside, count=len(points))
    cloud = read_arrays(path / "pointcloud.npz", ("points", "normals"))
    for file, x in (
        ("points.npz", points),
        ("pointcloud.npz", cloud["points"]),
        ("pointcloud.npz", cloud["normals"]),
    ):
        need_numbers(path / file, "points and normals", x, ("P", 3))
    if inside.ndim != 1 or inside.dtype.kind not in "biu":
        raise InputError(f"{path}: need occupancies as bits or bools, got {inside.dtype}")
    if len(inside) != len(points) or len(cloud["points"]) != len(cloud["normals"]):
        raise InputError(f"{path}: need an occupancy and a normal for every point")
    scaled = (LONGEST_SIDE * x.astype(np.float64) for x in (points, cloud["points"]))
    positions, surface = (torch.from_numpy(x.astype(np.float16)) for x in scaled)
    normals = torch.from_numpy(cloud["normals"].astype(np.float16))
    return positions, torch.from_numpy(inside.astype(np.uint8)), surface, normals
