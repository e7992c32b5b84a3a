"""Shards: the arrays of a few objects a file, beside a list of what the folder holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.atomic import write_json
from sdfrender.files.tables import read_table
from sdfrender.files.tensors import load_tensors, need_file
from singleview.settings.choices import Split

PER_SHARD = 20  # objects: some ten megabytes a file, and little to make again after an interruption


def begin_shards(
    file: Path, kind: str, settings: dict[str, Any], splits: dict[str, Split], per_shard: int
) -> None:
    """Write the list of what a folder of shards is to hold, or check that it lists the same.

    Args:
        file: the list, in the folder.
        kind: its `format`.
        settings: of the samples.
        splits: of each object, in the order of the shards.
        per_shard: objects of a shard.

    Raises:
        InputError: the folder holds something else.
    """
    numbered = enumerate(splits.items())
    objects = [{"name": n, "split": s, "shard": i // per_shard} for i, (n, s) in numbered]
    manifest = {"format": kind, "version": 1, "settings": settings, "objects": objects}
    if file.is_file():
        if read_table(file) != json.loads(json.dumps(manifest)):
            raise InputError(
                f"{file}: holds samples of other objects or settings: choose another --out"
            )
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, manifest)


def need_format(file: Path, manifest: Any, kind: str) -> None:
    """Check that a list is of the right kind.

    Raises:
        InputError: it is not.
    """
    if manifest["format"] != kind:
        raise InputError(f"{file}: need the format {kind}, got {manifest['format']!r}")


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
