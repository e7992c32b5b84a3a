"""Shards: the arrays of a few objects a file, beside a list of what the folder holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.atomic import write_json
from sdfrender.files.tables import numbers, read_table
from sdfrender.files.tensors import load_tensors, need_file
from sdfrender.geometry.mesh_files import Doubles
from singleview.settings.choices import SPLITS, Split

PER_SHARD = 20  # objects: some ten megabytes a file, and little to make again after an interruption


def begin_shards(
    file: Path,
    kind: str,
    settings: dict[str, Any],
    splits: dict[str, Split],
    per_shard: int,
    rotations: Mapping[str, Doubles],
) -> None:
    """Write the list of what a folder of shards is to hold, or check that it lists the same.

    Args:
        file: the list, in the folder.
        kind: its `format`.
        settings: of the samples.
        splits: of each object, in the order of the shards.
        per_shard: objects of a shard.
        rotations: `[3, 3]` by which each object's mesh was turned.

    Raises:
        InputError: the folder holds something else.
    """
    numbered = enumerate(splits.items())
    objects = [{"name": n, "split": s, "shard": i // per_shard} for i, (n, s) in numbered]
    manifest = {
        "format": kind,
        "version": 1,
        "settings": settings,
        "rotations": stored_form(rotations),
        "objects": objects,
    }
    if file.is_file():
        old, new = read_table(file), json.loads(json.dumps(manifest))
        if "rotations" not in old:  # from before they were stored
            del new["rotations"]
        if old != new:
            raise InputError(
                f"{file}: holds samples of other objects or settings: choose another --out"
            )
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, manifest)


def stored_form(rotations: Mapping[str, Doubles]) -> dict[str, list[list[float]]]:
    """Rotations `[3, 3]` by name as manifests hold them: without those that turn nothing."""
    return {name: R.tolist() for name, R in rotations.items() if not np.array_equal(R, np.eye(3))}


def stored_rotations(file: Path) -> dict[str, Doubles] | None:
    """The rotations that a manifest holds, by name; None in one that holds none, or without one.

    Raises:
        InputError: a manifest that cannot be read, or a rotation that is none.
    """
    stored = read_table(file).get("rotations") if file.is_file() else None
    if not isinstance(stored, dict):
        return None
    return {
        str(name): numbers(rows, [(3, 3)], f"{file}: the rotation of {name!r}")
        for name, rows in stored.items()
    }


def need_format(file: Path, manifest: Any, kind: str) -> None:
    """Check that a list is of the right kind.

    Raises:
        InputError: it is not.
    """
    if manifest["format"] != kind:
        raise InputError(f"{file}: need the format {kind}, got {manifest['format']!r}")


def need_objects(objects: Sequence[tuple[str, Any, int]]) -> None:
    """Check what a list says of objects: name, split and shard of each.

    Raises:
        ValueError: none, a name twice, a split that is none, or a shard below 0.
    """
    names = [name for name, _, _ in objects]
    if not names or len(set(names)) < len(names):
        raise ValueError("no objects, or one of them twice")
    for name, split, shard in objects:
        if split not in SPLITS or shard < 0:
            raise ValueError(f"the object {name!r} with the split {split!r} and the shard {shard}")


def load_shards(files: Sequence[Path], what: str) -> dict[str, Tensor]:
    """The tensors of all shards, by `NAME/ARRAY`, one `[...]` for each object and array.

    Raises:
        InputError: one is missing or damaged; names it and `what` it should be.
    """
    stored: dict[str, Tensor] = {}
    for file in files:
        need_file(file, what)
        stored |= load_tensors(file, what)[0]
    return stored
