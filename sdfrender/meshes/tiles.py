"""What marching cubes needs of a lattice: the cells around its surface, in tiles of 8³ cells.

A lattice is looked at with one more vertex on every side, which is outside, so that solids are
closed where they meet the box: what is *padded* counts from there. Tile `[a, b, c]` has the cells
whose first padded vertex is in block `[a, b, c]` of 8³ padded vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sdfrender.geometry.blocks import SIDE, extremes
from sdfrender.geometry.sparse.blocked import Stored, read, shape_of
from sdfrender.kernels.compiled import kept

# A mesh vertex keeps this far from the lattice vertices on its edge, as a fraction of the edge, so
# that no two mesh vertices meet where the lattice is zero.
SEPARATION = 1e-3
FLOOR = SEPARATION**3  # of values, as a fraction of the largest
ROUNDS = 3  # a value that is raised raises its neighbours in turn, by the floor so often at most
CORNERS = SIDE + 1  # vertices of a tile along each axis

Floats: TypeAlias = NDArray[np.floating[Any]]
Doubles: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tiles:
    """The cells around a surface.

    Args:
        places: `[T, 3]` which tile each is.
        values: `[T, 9, 9, 9]` of its vertices: signs are those of `φ − level`, sizes are without
            its scale, and none is negligible beside those across the surface from it.
    """

    places: Indices
    values: Singles


def tiles_around(values: Stored, level: float) -> Tiles | None:
    """The tiles of a lattice that the surface `φ = level` goes through; None without a surface.

    Args:
        values: `[X, Y, Z]` float32 or float64, contiguous or in blocks.
        level: in the units of the values.
    """
    low, high = extremes(values)
    lowest, highest = float(low.min()), float(high.max())
    if not lowest < level:
        return None
    scale = max(abs(lowest - level), abs(highest - level))
    places = np.argwhere(_held(low, high, level, values.shape))
    # Blocks of the vertices of these tiles: the tiles' own and those after them.
    needed = np.zeros([-(-(n + 2) // SIDE) + 1 for n in values.shape], bool)
    for step in np.ndindex(2, 2, 2):
        needed[tuple((places + step).T)] = True
    number = np.zeros(needed.shape, np.int32)
    number[needed] = np.arange(np.count_nonzero(needed), dtype=np.int32)
    number[~needed] = -1
    blocks = np.argwhere(needed)
    sizes = np.zeros((len(blocks), SIDE, SIDE, SIDE))
    _fill(values, level, scale, blocks, sizes)
    flat = sizes.reshape(-1)
    ends = np.zeros((2, 3 * flat.size), np.int64)  # of zeros only what is written takes memory
    count = _crossings(values.shape, blocks, number, flat, ends)
    _separate(flat, ends[:, :count])
    tiles = np.zeros((len(places), CORNERS, CORNERS, CORNERS), np.float32)
    _gather(places, number, sizes, tiles)
    through = (tiles.min((1, 2, 3)) < 0) & (tiles.max((1, 2, 3)) > 0)
    return Tiles(places[through], tiles[through])


def _held(low: Floats, high: Floats, level: float, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tiles that may hold the surface, from the extremes of the blocks that are not padded."""
    # The first vertex of a tile is the last one of the block before it.
    size = [-(-(n + 1) // SIDE) for n in shape]
    lowest, highest = np.full(size, np.inf), np.full(size, -np.inf)
    for before in np.ndindex(2, 2, 2):
        to = tuple(slice(n, n + m) for n, m in zip(before, low.shape, strict=True))
        cut = tuple(slice(0, n) for n in lowest[to].shape)
        np.minimum(lowest[to], low[cut], out=lowest[to])
        np.maximum(highest[to], high[cut], out=highest[to])
    for axis in range(3):  # beside what is outside of the box
        np.moveaxis(highest, axis, 0)[[0, -1]] = np.inf
    return (lowest < level) & (highest >= level)


@kept
@njit()
def _fill(values: Stored, level: float, scale: float, blocks: Indices, sizes: Doubles) -> None:
    """`φ − level` without its scale, and 1 outside of the box, in blocks of padded vertices."""
    X, Y, Z = shape_of(values)
    for n in range(len(blocks)):
        for i in range(SIDE):
            x = blocks[n, 0] * SIDE + i - 1
            for j in range(SIDE):
                y = blocks[n, 1] * SIDE + j - 1
                for k in range(SIDE):
                    z = blocks[n, 2] * SIDE + k - 1
                    if 0 <= x < X and 0 <= y < Y and 0 <= z < Z:
                        phi = np.float64(read(values, x, y, z)) - level
                        size = max(abs(phi) / scale, FLOOR)
                        sizes[n, i, j, k] = -size if phi < 0 else size
                    else:
                        sizes[n, i, j, k] = 1.0


@kept
@njit()
def _crossings(
    shape: tuple[int, int, int],
    blocks: Indices,
    number: NDArray[np.int32],
    flat: Doubles,
    ends: Indices,
) -> int:
    """Write down the edges of the lattice that cross the surface; how many there are.

    Args:
        shape: of the lattice.
        blocks: `[N, 3]`.
        number: of each block, or -1.
        flat: `[512 N]` sizes.
        ends: `[2, E]` where to write both ends to, places in `flat`.
    """
    count = 0
    for n in range(len(blocks)):
        for place in range(SIDE**3):
            i, j, k = place // SIDE**2, place // SIDE % SIDE, place % SIDE
            x, y, z = blocks[n, 0] * SIDE + i, blocks[n, 1] * SIDE + j, blocks[n, 2] * SIDE + k
            if not (0 < x <= shape[0] and 0 < y <= shape[1] and 0 < z <= shape[2]):
                continue
            here = n * SIDE**3 + place
            for axis in range(3):
                a, b, c = x + (axis == 0), y + (axis == 1), z + (axis == 2)
                if a > shape[0] or b > shape[1] or c > shape[2]:
                    continue
                other = number[a // SIDE, b // SIDE, c // SIDE]
                if other < 0:
                    continue
                there = other * SIDE**3 + (a % SIDE * SIDE + b % SIDE) * SIDE + c % SIDE
                if (flat[here] < 0) != (flat[there] < 0):
                    ends[0, count], ends[1, count] = here, there
                    count += 1
    return count


@kept
@njit()
def _separate(flat: Doubles, ends: Indices) -> None:
    """Raise sizes that are negligible beside one across an edge `[2, E]` from them, keeping signs.

    A vertex is compared with its neighbours of the other sign only, so that what is far from the
    surface has no say in where it runs.
    """
    largest = np.zeros(len(flat))  # across the surface from a vertex, at any time
    for _ in range(ROUNDS):
        for a, b in ends.T:
            largest[a] = max(largest[a], abs(flat[b]))
            largest[b] = max(largest[b], abs(flat[a]))
        for row in range(2):
            for a in ends[row]:
                size = max(abs(flat[a]), SEPARATION * largest[a])
                flat[a] = -size if flat[a] < 0 else size


@kept
@njit()
def _gather(
    places: Indices, number: NDArray[np.int32], sizes: Doubles, tiles: NDArray[np.float32]
) -> None:
    """Copy the vertices of each tile out of the blocks that they are in."""
    for t in range(len(places)):
        for i in range(CORNERS):
            a = places[t, 0] + i // SIDE
            for j in range(CORNERS):
                b = places[t, 1] + j // SIDE
                for k in range(CORNERS):
                    n = number[a, b, places[t, 2] + k // SIDE]
                    tiles[t, i, j, k] = sizes[n, i % SIDE, j % SIDE, k % SIDE]
