"""Files that torch wrote: tensors, numbers and containers of them, and nothing that runs code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.expect import expect
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

    Raises:
        InputError: missing, damaged, or with objects that would have to run code.
    """
    need_file(path, what)
    with expect(path, what), torch.serialization.safe_globals(list(NUMBERS)):
        found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}")
        return found


def need_tensors(path: Path, found: Any, what: str) -> dict[str, Tensor]:
    """A state dict, without the prefix that several GPUs leave.

    Raises:
        InputError: something else; names the file.
    """
    if not isinstance(found, Mapping) or not all(isinstance(x, Tensor) for x in found.values()):
        raise InputError(f"{path}: need {what}, its weights are no tensors by name")
    return {str(key).removeprefix("module."): x for key, x in found.items()}


def renamed(
    path: Path, found: Mapping[str, Tensor], rules: Sequence[tuple[str, str]]
) -> dict[str, Tensor]:
    """Tensors `[...]` under our names.

    Args:
        path: of their file.
        found: by the authors' names.
        rules: pairs of a pattern that fits all of a name, and ours for it.

    Raises:
        InputError: a name that no rule knows.
    """
    ours = {}
    for name, x in found.items():
        for pattern, replacement in rules:
            fits = re.fullmatch(pattern, name)
            if fits:
                ours[fits.expand(replacement)] = x
                break
        else:
            raise InputError(f"{path}: {name!r} is of a network that is not known here")
    return ours
