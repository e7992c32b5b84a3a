"""Our names for the tensors of others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from sdfrender.errors import InputError


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
