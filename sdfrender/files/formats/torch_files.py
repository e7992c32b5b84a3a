"""Files that torch wrote: tensors, numbers and containers of them, and nothing that runs code.

Such a file says how large its tensors are apart from their numbers. One of a few bytes may ask for
any memory: by numbers that it does not hold, by one number that stands for many, or by packed ones.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.expect import expect
from sdfrender.files.formats.pickles import need_short_calls
from sdfrender.files.tensors import need_file

# A best score was kept as a number of NumPy, whose module has changed its name since.
NUMBERS: tuple[Any, ...] = (
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    np.float64(0).__reduce__()[0],
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
)


def read_torch(path: Path, what: str) -> dict[str, Any]:
    """What `torch.save` wrote to a file: a dictionary.

    Its tensors are dense, and all of their numbers are in the file.

    Raises:
        InputError: missing, damaged, with objects that would have to run code, or with tensors that
            are larger than the file.
    """
    need_file(path, what)
    with expect(path, what), torch.serialization.safe_globals(list(NUMBERS)):
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _need_held("its members unpack", sum(m.file_size for m in archive.infolist()), size)
        need_short_calls(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}")
        _need_whole(found, size)
        return found


def need_tensors(path: Path, found: Any, what: str) -> dict[str, Tensor]:
    """A state dict, without the prefix that several GPUs leave.

    Raises:
        InputError: something else; names the file.
    """
    if not isinstance(found, Mapping) or not all(isinstance(x, Tensor) for x in found.values()):
        raise InputError(f"{path}: need {what}, its weights are no tensors by name")
    return {str(key).removeprefix("module."): x for key, x in found.items()}


def _need_whole(found: object, size: int) -> None:
    """Check that tensors are dense, and no larger than a file of so many bytes."""
    stored: dict[int, int] = {}
    for x in _tensors(found, set()):
        if x.layout != torch.strided or x.device.type != "cpu" or x.is_quantized:
            raise ValueError(f"a tensor that is not dense: {x.layout}, {x.device}, {x.dtype}")
        memory = x.untyped_storage()
        _need_held("a tensor takes", x.numel() * x.element_size(), memory.nbytes())
        stored[memory.data_ptr()] = memory.nbytes()
    _need_held("its tensors take", sum(stored.values()), size)


def _need_held(what: str, need: int, held: int) -> None:
    if need > held:
        raise ValueError(f"a file of {held} bytes of which {what} {need}")


def _tensors(found: object, seen: set[int]) -> Iterator[Tensor]:
    """All tensors in containers, which may hold themselves."""
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, Mapping | list | tuple | set) and id(found) not in seen:
        seen.add(id(found))
        for part in found.values() if isinstance(found, Mapping) else found:
            yield from _tensors(part, seen)
