"""Arrays of objects that stay on disk: read object by object, from memory-mapped safetensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.tensors import expect, need_file
from sdfrender.system import free_memory

OPEN_FILES = 8  # that are mapped at the same time
ROOM = 0.5  # of the free memory that a data set may take


class Column:
    """One array of N objects, as `[N, …]` of which one object is read at a time.

    Args:
        read: the array `[…]` of the object with a number; it is not changed.
        objects: the N numbers.
        shape: of one object's array.
    """

    def __init__(
        self, read: Callable[[int], Tensor], objects: Sequence[int], shape: Sequence[int]
    ) -> None:
        self.read, self.objects = read, tuple(objects)
        self.shape = (len(self.objects), *shape)

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: Any) -> Tensor:
        """The array of object i, or some of it: `column[i]`, `column[i, some]`."""
        i, *rest = index if isinstance(index, tuple) else (index,)
        x = self.read(self.objects[int(i)])
        return x[tuple(rest)] if rest else x

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def subset(self, ids: Sequence[int]) -> Column:
        """Of some of the objects, in the order given."""
        return Column(self.read, [self.objects[i] for i in ids], self.shape[1:])


class Shards:
    """Tensors of many files, by name; a file is mapped when one of its tensors is asked for.

    Args:
        files: by the number of a shard.
        what: a file should be.

    Raises:
        InputError: one is missing or damaged.
    """

    def __init__(self, files: dict[int, Path], what: str) -> None:
        self.files, self.what = files, what
        for file in files.values():
            need_file(file, what)
        self._opened = lru_cache(OPEN_FILES)(self._open)

    def _open(self, shard: int) -> Any:
        file = self.files[shard]
        with expect(file, self.what):
            opened: Any = safetensors.safe_open(file, "pt")
            json.loads((opened.metadata() or {})["state"])  # what we write says what it is
            return opened

    def get(self, shard: int, name: str, shape: Sequence[int] | None = None) -> Tensor:
        """A tensor `[…]`, whose pages are read when they are looked at. Do not change it.

        Raises:
            InputError: it is not there, or has another shape than the one given.
        """
        with expect(self.files[shard], self.what):
            tensor: Tensor = self._opened(shard).get_tensor(name)
            if shape is not None and tuple(tensor.shape) != tuple(shape):
                raise ValueError(f"{name} {list(tensor.shape)} where {list(shape)} are listed")
            return tensor

    def bytes(self) -> int:
        """Of all files."""
        return sum(file.stat().st_size for file in self.files.values())


def stays_on_disk(where: str, size: int) -> bool:
    """Whether a data set is read as it is needed.

    Args:
        where: `disk`, `memory`, or `auto`: on disk if it takes more than half of the free memory.
        size: of the data set, bytes.
    """
    free = free_memory()
    return where == "disk" or (where == "auto" and free is not None and size > ROOM * free)


def need_finite(where: Path, tensors: Sequence[Tensor]) -> None:
    """Check numbers that were just read.

    Raises:
        InputError: NaN or infinity; names the folder.
    """
    if not all(bool(x.isfinite().all()) for x in tensors if x.is_floating_point()):
        raise InputError(f"{where}: need finite numbers, got NaN or infinity")
