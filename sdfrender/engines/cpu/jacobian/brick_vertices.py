"""Some vertices of a lattice and their places in its bricks, for products on them alone.

A vertex has a place in each brick that holds it. The margin of the lattice continues the outermost
two vertices linearly (`kernels.bricks`). So values on a few vertices are values at their own
places, and at places of the margin next to those that lie on a face of the box.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from sdfrender.engines.cpu.bricks import ABSENT, BrickMap
from sdfrender.kernels.arrays import Flags, Floats, Ints
from sdfrender.kernels.bricks import BLOCK, STEP_X, STEP_Y, VOLUME
from sdfrender.kernels.compiled import inlined, kernel


class BrickVertices:
    """M vertices of a lattice that is zero elsewhere.

    Products have their values one after the other, followed by the Q values that the margin has for
    them and a zero for everything else: `extended`.

    Args:
        bricks: of the lattice.
        vertices: `[M]` their flat indices in `[X, Y, Z]`, ascending.
    """

    def __init__(self, bricks: BrickMap, vertices: Ints) -> None:
        self._bricks, self._count = bricks, len(vertices)
        sizes = np.array(bricks.resolution)
        at_face = np.zeros(len(vertices), np.bool_)
        count = count_places(vertices, sizes, 0, bricks.table, at_face)
        margin, self._extend = _margin(bricks.resolution, vertices, np.flatnonzero(at_face))
        more = count_places(margin, sizes, 1, bricks.table, np.zeros(len(margin), np.bool_))
        self._places, self._of = np.zeros(count + more, np.int64), np.zeros(count + more, np.int32)
        find_places(vertices, sizes, 0, bricks.table, self._places, self._of)
        find_places(margin, sizes, 1, bricks.table, self._places[count:], self._of[count:])
        self._of[count:] += self._count

    def __len__(self) -> int:
        return self._count

    @cached_property
    def numbers(self) -> Ints:
        """`[n 11³]` int32: which of the `extended` values each place in the bricks has."""
        count = len(self) + self._extend.shape[0]
        out = np.full(self._bricks.size, count, np.int32)
        put(np.arange(count, dtype=np.int32), self._places, self._of, out)
        return out

    def write(self, x: Floats, bricks: Floats) -> None:
        """Put values `[M]` at their places; what else is in the bricks is not touched."""
        put(self.extended(x), self._places, self._of, bricks)

    def read(self, bricks: Floats) -> Floats:
        """The transpose of `write`: `[M]`."""
        sums = np.zeros(len(self) + self._extend.shape[0] + 1, bricks.dtype)
        take(bricks, self._places, self._of, sums)
        return self.folded(sums)

    def extended(self, x: Floats) -> Floats:
        """Values `[M]`, those that the margin has for them `[Q]`, and a zero for all others."""
        margin = self._extend @ x if self._extend.shape[0] else x[:0]
        return np.concatenate((x, margin, np.zeros(1, x.dtype)), dtype=x.dtype)

    def folded(self, extended: Floats) -> Floats:
        """The transpose of `extended`: `[M]`."""
        M = len(self)
        taken: Floats = extended[:M].copy()
        if self._extend.shape[0]:
            taken += (self._extend.T @ extended[M:-1]).astype(taken.dtype)
        return taken


def _margin(resolution: tuple[int, int, int], vertices: Ints, near: Ints) -> tuple[Ints, Any]:
    """The places of the margin that depend on vertices, and how.

    Args:
        resolution: `(X, Y, Z)`.
        vertices: `[M]` flat indices.
        near: which of them are the first or second one from a face.

    Returns:
        `[Q]` flat indices in `[X+2, Y+2, Z+2]`; the sparse matrix `[Q, M]`.
    """
    index = np.stack(np.unravel_index(vertices[near], resolution), 1)
    steps = np.array([(resolution[1] + 2) * (resolution[2] + 2), resolution[2] + 2, 1])
    flat = (index + 1) @ steps
    targets, sources, weights = [], [], []
    for axis, step in enumerate(steps):
        last = resolution[axis] - 1
        # place of the margin, in steps from the vertex that it depends on: so many times
        for at, away, weight in ((0, -1, 2), (1, -2, -1), (last, 1, 2), (last - 1, 2, -1)):
            found = np.flatnonzero(index[:, axis] == at)
            targets.append(flat[found] + away * step)
            sources.append(near[found])
            weights.append(np.full(len(found), weight, np.float32))
    margin, rows = np.unique(np.concatenate(targets), return_inverse=True)
    entries = (np.concatenate(weights), (rows, np.concatenate(sources)))
    return margin, sparse.csr_matrix(entries, (len(margin), len(vertices)))


@kernel
def put(x: Any, places: Ints, of: Ints, bricks: Any) -> None:
    """`bricks[places] = x[of]`."""
    for n in range(len(places)):
        bricks[places[n]] = x[of[n]]


@kernel
def take(bricks: Floats, places: Ints, of: Ints, x: Floats) -> None:
    """The transpose of `put`, added to `x`."""
    for n in range(len(places)):
        x[of[n]] += bricks[places[n]]


@kernel
def count_places(vertices: Ints, sizes: Ints, margin: int, table: Ints, at_face: Flags) -> int:
    """How many places in the bricks some vertices have.

    Args:
        vertices: `[M]` flat indices in a lattice, with `margin` more vertices on every side.
        sizes: `[3]` of the lattice without them.
        margin: see `vertices`.
        table: where the bricks are.
        at_face: `[M]` filled: whether a vertex is the first or the second one from a face.
    """
    count = 0
    for n in range(len(vertices)):
        i, j, k = _index(vertices[n], sizes, margin)
        at_face[n] = min(i, j, k) < 2 or i > sizes[0] - 3 or j > sizes[1] - 3 or k > sizes[2] - 3
        for bi in range(_first(i), _last(i, table.shape[0])):
            for bj in range(_first(j), _last(j, table.shape[1])):
                for bk in range(_first(k), _last(k, table.shape[2])):
                    count += table[bi, bj, bk] >= ABSENT
    return count


@kernel
def find_places(
    vertices: Ints, sizes: Ints, margin: int, table: Ints, places: Ints, of: Ints
) -> None:
    """Fill `places` with what `count_places` counts, and `of` with the numbers of the vertices."""
    count = 0
    for n in range(len(vertices)):
        i, j, k = _index(vertices[n], sizes, margin)
        for bi in range(_first(i), _last(i, table.shape[0])):
            for bj in range(_first(j), _last(j, table.shape[1])):
                for bk in range(_first(k), _last(k, table.shape[2])):
                    if table[bi, bj, bk] >= ABSENT:
                        a, b, c = i - BLOCK * bi + 1, j - BLOCK * bj + 1, k - BLOCK * bk + 1
                        inside = a * STEP_X + b * STEP_Y + c
                        places[count], of[count] = table[bi, bj, bk] * VOLUME + inside, n
                        count += 1


@kernel
def clear_cells(cells: Any, bricks: Floats) -> None:
    """Set all that terms of these cells, places in the bricks, may have added there to zero."""
    for p in cells:
        for a in range(-1, 3):
            for b in range(-1, 3):
                q = p + a * STEP_X + b * STEP_Y
                for c in range(-1, 3):
                    bricks[q + c] = 0


@inlined
def _index(vertex: int, sizes: Ints, margin: int) -> tuple[int, int, int]:
    """A vertex `(i, j, k)`, from −1 on where there is a margin."""
    Y, Z = sizes[1] + 2 * margin, sizes[2] + 2 * margin
    row = vertex // Z
    return row // Y - margin, row % Y - margin, vertex - row * Z - margin


@inlined
def _first(i: int) -> int:
    """The first block along an axis whose brick has vertex i: from −1 to 9 of its own."""
    return max((i - 2) >> 3, 0)


@inlined
def _last(i: int, blocks: int) -> int:
    """One past the last such block."""
    return min(((i + 1) >> 3) + 1, blocks)
