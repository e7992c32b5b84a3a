"""Samples on disk: what `singleview sample-points` writes.

    DIR/samples.json              what there is: objects with their split and shard, settings
    DIR/samples_000.safetensors   the arrays of up to 20 objects, as NAME/ARRAY

Arrays: `points`, `near`, `surface`, `normals` `[n, 3]` float16; `inside`, `near_inside` as bits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.tables import read_table
from sdfrender.files.tensors import expect
from singleview.data.columns import Column, Shards, stays_on_disk
from singleview.data.samples import Samples
from singleview.data.shards import load_shards, need_format, need_objects
from singleview.settings.choices import Where

MANIFEST = "samples.json"
FORMAT = "singleview.samples"
POSITIONS, BITS = ("points", "near", "surface", "normals"), ("inside", "near_inside")


def read_shards(folder: Path, where: Where = "memory") -> Samples:
    """Read what `sample_points` wrote.

    Args:
        folder: that it wrote.
        where: the arrays are to lie, see `stays_on_disk`.

    Raises:
        InputError: a manifest or a shard that is missing, damaged or does not fit.
    """
    manifest = read_table(folder / MANIFEST)
    with expect(folder / MANIFEST, "a list of samples"):
        need_format(folder / MANIFEST, manifest, FORMAT)
        objects = [(str(o["name"]), o["split"], int(o["shard"])) for o in manifest["objects"]]
        counts = {key: int(manifest["settings"][key]) for key in ("points", "near", "surface")}
        need_objects(objects)
    numbers = sorted({shard for _, _, shard in objects})
    shards = Shards({n: shard_file(folder, n) for n in numbers}, "a shard of samples")
    if stays_on_disk(where, shards.bytes()):
        return streamed(objects, counts, shards)
    stored = load_shards(list(shards.files.values()), shards.what)
    arrays: dict[str, Tensor] = {}
    for key in (*POSITIONS, *BITS):
        wanted = [f"{name}/{key}" for name, _, _ in objects]
        missing = [w for w in wanted if w not in stored]
        if missing:
            raise InputError(f"{folder}: need the array {missing[0]!r} in its shards")
        with expect(folder, "samples that fit its samples.json"):
            arrays[key] = torch.stack([stored.pop(w) for w in wanted])
            if key in BITS:
                count = counts["near" if key == "near_inside" else "points"]
                arrays[key] = _unpack(arrays[key], count)
            elif not bool(arrays[key].isfinite().all()):
                raise InputError(f"{folder}: need finite numbers in {key!r}, got NaN or infinity")
    names, splits, _ = zip(*objects, strict=True)
    with expect(folder / MANIFEST, "a list of samples that fits its shards"):
        return Samples(tuple(names), tuple(splits), **arrays)


def streamed(
    objects: list[tuple[str, Any, int]], counts: dict[str, int], shards: Shards
) -> Samples:
    """Samples that stay on disk.

    Args:
        objects: name, split and number of the shard of each.
        counts: of each kind of points.
        shards: where they are.
    """
    names, splits, _ = zip(*objects, strict=True)

    def column(key: str) -> Column:
        bits = key in BITS
        kind = {"inside": "points", "near_inside": "near", "normals": "surface"}.get(key, key)
        count = counts[kind]
        stored = (-(-count // 8),) if bits else (count, 3)

        def read(i: int) -> Tensor:
            name, _, shard = objects[i]
            x = shards.get(shard, f"{name}/{key}", stored)
            return _unpack(x[None], count)[0] if bits else x

        return Column(read, range(len(objects)), (count,) if bits else (count, 3))

    return Samples(names, splits, **{key: column(key) for key in (*POSITIONS, *BITS)})


def _unpack(bits: Tensor, count: int) -> Tensor:
    """`[N, bytes]` to `[N, count]` bool, first bit first."""
    if bits.ndim != 2 or bits.shape[1] != -(-count // 8):
        raise ValueError(f"bits of {count} points in {tuple(bits.shape)} bytes")
    return torch.from_numpy(np.unpackbits(bits.numpy(), axis=1, count=count)).bool()


def shard_file(folder: Path, number: int) -> Path:
    """The file of a shard."""
    return folder / f"samples_{number:03d}.safetensors"
