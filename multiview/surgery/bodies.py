"""Face-connected bodies of a lattice's vertices, from their runs along z.

A run is a row's vertices that follow each other on one side of the surface. There are as many as
the surface has crossings with the rows, so that they take a fraction of the lattice's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sdfrender.kernels.compiled import kept, lane_kernel

Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Bodies:
    """The face-connected sets of vertices on each side of the surface, in order of their first one.

    Args:
        shape: of the lattice.
        first: `[R]` flat index of each run's first vertex, ascending.
        length: `[R]` its number of vertices.
        body: `[R]` which of the B bodies it belongs to.
        inside: `[B]` whether the body is inside the surface.
        size: `[B]` its number of vertices.
        on_box: `[B]` whether it reaches a face of the box.
    """

    shape: tuple[int, ...]
    first: Ints
    length: Ints
    body: Ints
    inside: Bools
    size: Ints
    on_box: Bools

    @classmethod
    def of(cls, values: Floats) -> Bodies:
        """Those of a lattice `[X, Y, Z]`, contiguous; negative is inside."""
        X, Y, Z = values.shape
        starts = np.zeros(X * Y + 1, np.int64)  # of each row's runs
        _count(values.reshape(X * Y, Z), starts[1:])
        np.cumsum(starts, out=starts)
        first, inside = np.zeros(starts[-1], np.int64), np.zeros(starts[-1], np.bool_)
        _list(values.reshape(X * Y, Z), starts, first, inside)
        length = np.diff(first, append=values.size)
        parent = np.arange(len(first))
        _join(values.shape, starts, first, length, inside, parent)
        roots, body = np.unique(parent, return_inverse=True)
        i, j, k = np.unravel_index(first, values.shape)
        ends = (i % (X - 1) == 0) | (j % (Y - 1) == 0) | (k == 0) | (k + length == Z)
        size = np.bincount(body, length).astype(np.int64)
        on_box = np.bincount(body, ends) > 0
        return cls(values.shape, first, length, body, inside[roots], size, on_box)

    def vertices(self, bodies: Ints) -> tuple[Ints, Ints]:
        """The vertices of n bodies: `[V]` flat indices, and `[V]` which of the n each is in."""
        runs, which = self._runs(bodies)
        length = self.length[runs]
        before = np.cumsum(length) - length
        flat = np.repeat(self.first[runs] - before, length) + np.arange(length.sum())
        return flat, np.repeat(which, length)

    def centers(self, bodies: Ints) -> NDArray[np.float64]:
        """`[n, 3]` the mean index of each of n bodies' vertices."""
        runs, which = self._runs(bodies)
        i, j, k = np.unravel_index(self.first[runs], self.shape)
        length = self.length[runs]
        sums = (i * length, j * length, k * length + length * (length - 1) // 2)
        total = np.stack([np.bincount(which, each, len(bodies)) for each in sums], -1)
        return total / self.size[bodies][:, None]

    def _runs(self, bodies: Ints) -> tuple[Ints, Ints]:
        """The runs of n bodies, and which of the n each is of."""
        number = np.full(len(self.size), -1)
        number[bodies] = np.arange(len(bodies))
        runs = np.flatnonzero(number[self.body] >= 0)
        return runs, number[self.body[runs]]


@lane_kernel
def _count(rows: Floats, counts: Ints) -> None:
    """How many runs each row of `[N, Z]` has."""
    for n in range(len(rows)):
        count = 1
        for k in range(1, rows.shape[1]):
            count += (rows[n, k] < 0) != (rows[n, k - 1] < 0)
        counts[n] = count


@kept
@njit(nogil=True)
def _list(rows: Floats, starts: Ints, first: Ints, inside: Bools) -> None:
    """The first vertex of each run and its side; `starts` `[N + 1]` has where each row begins."""
    Z = rows.shape[1]
    for n in range(len(rows)):
        run = starts[n]
        first[run], inside[run] = n * Z, rows[n, 0] < 0
        if starts[n + 1] - run == 1:
            continue
        for k in range(1, Z):
            if (rows[n, k] < 0) != inside[run]:
                run += 1
                first[run], inside[run] = n * Z + k, rows[n, k] < 0


@kept
@njit(nogil=True)
def _join(
    shape: tuple[int, int, int],
    starts: Ints,
    first: Ints,
    length: Ints,
    inside: Bools,
    parent: Ints,
) -> None:
    """Give each run the first run of its body as its `parent`."""
    X, Y, Z = shape
    for row in range(X * Y):
        for step in (1, Y):  # the rows before it along y and x
            if (step == 1 and row % Y == 0) or row < step:
                continue
            a, b = starts[row], starts[row - step]
            while a < starts[row + 1] and b < starts[row - step + 1]:
                if inside[a] == inside[b]:
                    _unite(parent, a, b)
                end = first[a] + length[a] - row * Z
                other = first[b] + length[b] - (row - step) * Z
                if end <= other:
                    a += 1
                if other <= end:
                    b += 1
    for run in range(len(parent)):
        parent[run] = parent[parent[run]]  # what is before it is done


@kept
@njit(inline="always")
def _unite(parent: Ints, a: int, b: int) -> None:
    """Join two bodies under the first run of both."""
    while parent[a] != a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    while parent[b] != b:
        parent[b] = parent[parent[b]]
        b = parent[b]
    if a < b:
        parent[b] = a
    elif b < a:
        parent[a] = b
