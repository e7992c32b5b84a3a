"""An array `[X, Y, Z]` of which some blocks of 8³ are kept, and how kernels read and write it.

A kernel that says `read(v, i, j, k)` takes an array of numpy or a `Blocked`: numba compiles it once
for each. Blocks that are not kept have one value in all of their vertices, `far` or `−far`, so that
a `Blocked` stands for one certain array, and what is computed from either is the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from sdfrender.kernels.arrays import Ints
from sdfrender.kernels.compiled import EXACT

SIDE = 8  # vertices of a block along each axis
OUTSIDE, INSIDE = -1, -2  # in the table: a block that is not kept, `far` or `−far` everywhere


class Blocked(NamedTuple):
    """An array in blocks; block `[a, b, c]` has the vertices from `(8a, 8b, 8c)`.

    Args:
        table: `[⌈X/8⌉, ⌈Y/8⌉, ⌈Z/8⌉]` int32: which of the kept blocks each is, or `OUTSIDE` or
            `INSIDE`.
        values: `[n, 8, 8, 8]` of those that are kept; what lies beyond the array is never read.
        far: of the dtype of `values`.
        sizes: `(X, Y, Z)`.
    """

    table: Ints
    values: Any
    far: Any
    sizes: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """As that of an array."""
        return self.sizes

    @property
    def dtype(self) -> np.dtype[Any]:
        """As that of an array."""
        found: np.dtype[Any] = self.values.dtype
        return found


Stored: TypeAlias = NDArray[Any] | Blocked  # an array [X, Y, Z], whichever way it is kept


def blocks_along(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """How many blocks there are along each axis."""
    return tuple(-(-n // SIDE) for n in sizes)


def kept_blocks(table: Ints) -> NDArray[np.int32]:
    """`[n, 3]` int32: where each kept block is, in their order."""
    where = np.argwhere(table >= 0).astype(np.int32)
    out = np.zeros_like(where)
    out[table[tuple(where.T)]] = where
    return out


def shape_of(v: Stored) -> tuple[int, int, int]:
    """`(X, Y, Z)`."""
    X, Y, Z = v.shape
    return X, Y, Z


def cast(v: Stored, x: Any) -> Any:
    """`x` in the precision of `v`."""
    return v.dtype.type(x)


def read(v: Stored, i: int, j: int, k: int) -> Any:
    """`v[i, j, k]`."""
    return _read(v, i, j, k) if isinstance(v, Blocked) else v[i, j, k]


def write(v: Stored, i: int, j: int, k: int, x: Any) -> None:
    """`v[i, j, k] = x`, but nothing where the block is not kept."""
    if not isinstance(v, Blocked):
        v[i, j, k] = x
    else:
        _write(v, i, j, k, x)


def add(v: Stored, i: int, j: int, k: int, x: Any) -> None:
    """`v[i, j, k] += x`, but nothing where the block is not kept."""
    if not isinstance(v, Blocked):
        v[i, j, k] += x
    else:
        _add(v, i, j, k, x)


def _read(v: Any, i: Any, j: Any, k: Any) -> Any:
    block = v.table[i >> 3, j >> 3, k >> 3]
    if block >= 0:
        return v.values[block, i & 7, j & 7, k & 7]
    return v.far if block == OUTSIDE else -v.far


def _write(v: Any, i: Any, j: Any, k: Any, x: Any) -> None:
    block = v.table[i >> 3, j >> 3, k >> 3]
    if block >= 0:
        v.values[block, i & 7, j & 7, k & 7] = x


def _add(v: Any, i: Any, j: Any, k: Any, x: Any) -> None:
    block = v.table[i >> 3, j >> 3, k >> 3]
    if block >= 0:
        v.values[block, i & 7, j & 7, k & 7] += x


_OPTIONS: Any = {"fastmath": EXACT, "forceinline": True, "error_model": "numpy"}


def _in_blocks(v: Any) -> bool:
    """Whether numba's type is that of a `Blocked`."""
    return getattr(v, "instance_class", None) is Blocked


@overload(shape_of, jit_options=_OPTIONS)
def _shape_of(v: Any) -> Any:
    def in_blocks(v: Any) -> Any:
        return v.sizes

    def in_array(v: Any) -> Any:
        return v.shape

    return in_blocks if _in_blocks(v) else in_array


@overload(cast, jit_options=_OPTIONS)
def _cast(v: Any, x: Any) -> Any:
    def in_blocks(v: Any, x: Any) -> Any:
        return v.values.dtype.type(x)

    def in_array(v: Any, x: Any) -> Any:
        return v.dtype.type(x)

    return in_blocks if _in_blocks(v) else in_array


@overload(read, jit_options=_OPTIONS)
def _read_of(v: Any, i: Any, j: Any, k: Any) -> Any:
    def in_array(v: Any, i: Any, j: Any, k: Any) -> Any:
        return v[i, j, k]

    return _read if _in_blocks(v) else in_array


@overload(write, jit_options=_OPTIONS)
def _write_of(v: Any, i: Any, j: Any, k: Any, x: Any) -> Any:
    def in_array(v: Any, i: Any, j: Any, k: Any, x: Any) -> None:
        v[i, j, k] = x

    return _write if _in_blocks(v) else in_array


@overload(add, jit_options=_OPTIONS)
def _add_of(v: Any, i: Any, j: Any, k: Any, x: Any) -> Any:
    def in_array(v: Any, i: Any, j: Any, k: Any, x: Any) -> None:
        v[i, j, k] += x

    return _add if _in_blocks(v) else in_array
