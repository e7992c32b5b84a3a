"""Some vertices of an array by their flat indices, whichever way it is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sdfrender.geometry.sparse.blocked import Blocked, Stored, add, read, shape_of
from sdfrender.kernels.arrays import Ints
from sdfrender.kernels.compiled import kept


def values_at(v: Stored, flat: Ints) -> NDArray[Any]:
    """The values at flat indices `[…]` in `[X, Y, Z]`."""
    if not isinstance(v, Blocked):
        found: NDArray[Any] = v.reshape(-1)[flat]
        return found
    out = np.zeros(flat.size, v.dtype)
    _read_at(v, flat.reshape(-1), out)
    return out.reshape(flat.shape)


def add_at(v: Stored, flat: Ints, x: NDArray[Any]) -> None:
    """Add `x` `[M]` at flat indices `[M]`, each there once; not where no block is kept."""
    if isinstance(v, Blocked):
        _add_at(v, flat, x)
    else:
        v.reshape(-1)[flat] += x


@kept
@njit(nogil=True)
def _read_at(v: Blocked, flat: Ints, out: NDArray[Any]) -> None:
    _, Y, Z = shape_of(v)
    for n in range(len(flat)):
        row, k = flat[n] // Z, flat[n] % Z
        out[n] = read(v, row // Y, row % Y, k)


@kept
@njit(nogil=True)
def _add_at(v: Blocked, flat: Ints, x: NDArray[Any]) -> None:
    _, Y, Z = shape_of(v)
    for n in range(len(flat)):
        row, k = flat[n] // Z, flat[n] % Z
        add(v, row // Y, row % Y, k, x[n])
