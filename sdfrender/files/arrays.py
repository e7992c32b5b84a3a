"""What readers expect of the arrays in a file: shape, kind, finite numbers that float32 holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdfrender.errors import InputError

LARGEST = 1e30  # of a coordinate; its square is still one in float64


def need_numbers(
    path: Path, name: str, array: NDArray[Any], *shapes: tuple[int | str, ...], kinds: str = "fiu"
) -> NDArray[np.float64]:
    """An array of a file as finite doubles, if it is what its reader expects.

    Args:
        path: the file, which errors name.
        name: of the array.
        array: as stored.
        shapes: that it may have; a letter stands for any length from 1, the same one again where it
            is the same letter.
        kinds: of its dtype, as numpy abbreviates them.

    Raises:
        InputError: another shape or kind, or numbers that are not finite or beyond 1e30.
    """
    need = " or ".join(f"[{', '.join(map(str, shape))}]" for shape in shapes)
    if array.dtype.kind not in kinds or not any(fits(array.shape, shape) for shape in shapes):
        got = f"{array.dtype} {list(array.shape)}"
        raise InputError(f"{path}: '{name}' needs numbers {need}, got {got}")
    with np.errstate(over="ignore"):
        doubles: NDArray[np.float64] = array.astype(np.float64)
    good = np.abs(doubles) <= LARGEST
    if not good.all():
        raise InputError(
            f"{path}: '{name}' needs finite numbers up to {LARGEST:g}, got {doubles[~good][0]}"
        )
    return doubles


def fits(shape: Sequence[int], wanted: Sequence[int | str]) -> bool:
    """Whether a shape is a wanted one; its letters are those of `need_numbers`."""
    if len(shape) != len(wanted):
        return False
    lengths: dict[int | str, int] = {}
    return all(
        n == want if isinstance(want, int) else n >= 1 and lengths.setdefault(want, n) == n
        for n, want in zip(shape, wanted, strict=True)
    )
