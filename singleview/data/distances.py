"""Signed distances around meshes, what DeepSDF learns from; `singleview sample-points --sdf`.

    DIR/distances.json              what there is: objects with their split and shard, settings
    DIR/distances_000.safetensors   the arrays of up to 20 objects, as NAME/points and NAME/values

Arrays: `points` `[P, 3]` float16, canonical frame, nineteen twentieths of them near the surface and
the others uniform in the box, in no order; `values` `[P]` float16, distances of the rounded points.
Inside is where the winding number says so: meshes with holes will do. Shards that are there are not
made again, so that an interrupted command goes on.

A training object can be followed by warped copies of itself, `chair/101~1`, which are training
objects too: they teach a space of shapes where objects are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.tables import read_table
from sdfrender.files.tensors import expect
from singleview.data.columns import Column, Shards, stays_on_disk
from singleview.data.objects import Objects
from singleview.data.shards import load_shards, need_format, need_objects
from singleview.settings.choices import Split, Where

MANIFEST = "distances.json"
FORMAT = "singleview.distances"
WARPED = "~"  # between the name of an object and the number of a warped copy


@dataclass(frozen=True, eq=False)
class Distances(Objects):
    """N objects as points with signed distances; arrays may be `Column`s that stay on disk.

    Args:
        names: `CATEGORY/OBJECT`, or `CATEGORY/OBJECT~NUMBER` of a warped copy.
        splits: of each object.
        points: `[N, P, 3]` float16, canonical frame (longest side 1.5, y up).
        values: `[N, P]` float16, negative inside.
    """

    names: tuple[str, ...]
    splits: tuple[Split, ...]
    points: Tensor | Column
    values: Tensor | Column


def open_distances(folder: Path, where: Where = "memory") -> Distances:
    """Read what `sample_distances` wrote.

    Args:
        folder: that it wrote.
        where: the arrays are to lie, see `stays_on_disk`.

    Raises:
        InputError: no such folder, or a manifest or a shard that is missing, damaged or does not
            fit.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError(
            f"{folder}: need signed distances, there is no {MANIFEST} "
            "(write them with singleview sample-points --sdf 250000)"
        )
    manifest = read_table(folder / MANIFEST)
    with expect(folder / MANIFEST, "a list of distances"):
        need_format(folder / MANIFEST, manifest, FORMAT)
        objects = [(str(o["name"]), o["split"], int(o["shard"])) for o in manifest["objects"]]
        need_objects(objects)
        names, splits, numbers = zip(*objects, strict=True)
    files = {number: shard_file(folder, number) for number in sorted(set(numbers))}
    shards = Shards(files, "a shard of distances")
    if stays_on_disk(where, shards.bytes()):
        return streamed(objects, shards)
    stored = load_shards(list(files.values()), shards.what)
    arrays = {}
    with expect(folder, "distances that fit its distances.json"):
        for key in ("points", "values"):
            arrays[key] = torch.stack([stored.pop(f"{name}/{key}") for name in names])
            if not bool(arrays[key].isfinite().all()):
                raise InputError(f"{folder}: need finite numbers in {key!r}, got NaN or infinity")
    if arrays["points"].shape != (*arrays["values"].shape, 3):
        raise InputError(f"{folder}: need a distance for every point")
    return Distances(names, splits, **arrays)


def streamed(objects: list[tuple[str, Split, int]], shards: Shards) -> Distances:
    """Distances that stay on disk, of objects with a name, a split and a shard."""
    names, splits, _ = zip(*objects, strict=True)

    def column(key: str) -> Column:
        name, _, shard = objects[0]
        shape = shards.get(shard, f"{name}/{key}").shape

        def read(i: int) -> Tensor:
            name, _, shard = objects[i]
            return shards.get(shard, f"{name}/{key}", shape)

        return Column(read, range(len(objects)), shape)

    points, values = column("points"), column("values")
    if points.shape != (*values.shape, 3):
        raise InputError(f"{shards.files[objects[0][2]]}: need a distance for every point")
    return Distances(names, splits, points, values)


def is_warped(name: str) -> bool:
    """Whether a name is that of a warped copy."""
    return WARPED in name


def shard_file(folder: Path, number: int) -> Path:
    """The file of a shard."""
    return folder / f"distances_{number:03d}.safetensors"
