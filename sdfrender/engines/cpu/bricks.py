"""From a lattice to bricks around its surface, and sums over bricks back to the lattice.

What a brick is says `kernels.bricks`. Which blocks are kept is decided once for all views: those in
which a ray may find something to look at. All that is done afterwards takes as long as the surface
is large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdfrender.geometry.sparse.blocked import Blocked, Stored, add, cast, read, shape_of
from sdfrender.kernels.arrays import Doubles, Floats, Ints
from sdfrender.kernels.bricks import (
    BLOCK,
    FAR,
    FLAT_X,
    FLAT_Y,
    INSIDE,
    LONGEST,
    OUTSIDE,
    SIDE,
    STEP_X,
    STEP_Y,
    VOLUME,
)
from sdfrender.kernels.compiled import inlined, kernel, lane_kernel
from sdfrender.kernels.threads import run_all, slabs

# Of the range of values in a block: so near to what is kept rounding may look into it.
SLACK = 1e-3
ABSENT = 2  # bricks that stand for blocks that are not kept: the first ones


@dataclass(frozen=True, eq=False)
class BrickMap:
    """Which blocks of a lattice are kept, and where.

    Args:
        resolution: `(X, Y, Z)` of the lattice.
        table: `[BX, BY, BZ]` int32, see `BrickGrid`.
        blocks: `[n, 3]` int32 block of each brick; of the first two, which stand for all blocks
            that are not kept, −1.
    """

    resolution: tuple[int, int, int]
    table: Ints
    blocks: Ints

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def size(self) -> int:
        """Values in all bricks."""
        return len(self) * VOLUME

    def cut(self, values: Stored, threads: int) -> Floats:
        """The bricks `[n 11³]` of a lattice `[X, Y, Z]`; zeros in those of what is not kept."""
        out = np.zeros(self.size, values.dtype)

        def fill(part: slice) -> None:
            fill_bricks(values, self.blocks, part.start + ABSENT, part.stop + ABSENT, out)

        run_all(fill, slabs(len(self) - ABSENT, 4 * threads), threads)
        return out

    def add(self, parts: Sequence[Floats], out: Stored, threads: int) -> None:
        """Add the transpose of `cut` of each of `parts` to `out` `[X, Y, Z]`, in order."""

        def add_layers(part: slice) -> None:
            for bricks in parts:
                add_bricks(bricks, self.blocks, part.start, part.stop, out)

        run_all(add_layers, slabs(out.shape[0], 4 * threads), threads)

    def move(self, values: Floats, bricks: Floats) -> None:
        """Add values `[X, Y, Z]` that bricks hold to one of their places, and leave zeros."""
        move_to_bricks(values, self.blocks, bricks)

    def clear_margin(self, bricks: Floats) -> None:
        """Set what is in the margin of the lattice to zero."""
        clear_margin(self.blocks, np.array(self.resolution), bricks)

    def flat(self, places: Ints) -> Ints:
        """The flat index of each of some places `[…]` in the bricks, int64."""
        brick, inside = np.divmod(places.astype(np.int64), VOLUME)
        i, rest = np.divmod(inside, STEP_X)
        j, k = np.divmod(rest, STEP_Y)
        first = BLOCK * self.blocks[brick].astype(np.int64)  # of its vertices, but for the margin
        found: Ints = (first[..., 0] + i) * FLAT_X + (first[..., 1] + j) * FLAT_Y
        return found + first[..., 2] + k


def keep_blocks(
    values: Stored, reach: float, eyes: Doubles, threads: int
) -> tuple[BrickMap, Floats]:
    """Choose the blocks of a lattice that are kept.

    Args:
        values: `[X, Y, Z]`, whole or in blocks.
        reach: how far from the surface rays look, world units: |φ| there.
        eyes: `[E, 3]` where rays begin, in vertex indices.
        threads: at most.

    Returns:
        The bricks; `[BX, BY, BZ]` the smallest value in each block.

    Raises:
        ValueError: a lattice with more than `LONGEST` samples along an axis.
    """
    X, Y, Z = values.shape
    if max(values.shape) > LONGEST:
        raise ValueError(f"values: need at most {LONGEST} samples along an axis, got {X, Y, Z}")
    shape = tuple(-(-(n - 1) // BLOCK) for n in values.shape)
    low, high = np.full(shape, np.inf, values.dtype), np.full(shape, -np.inf, values.dtype)

    find: Any = find_ranges_in_blocks if isinstance(values, Blocked) else find_ranges

    def scan(part: slice) -> None:
        find(values, part.start, part.stop, low, high)

    run_all(scan, slabs(shape[0], 4 * threads), threads)
    slack = reach + SLACK * (high - low)
    seen = (low <= slack) & (high >= -slack)
    entered = np.zeros(shape, np.bool_)  # where rays come into the box, or begin
    for axis in range(3):
        np.moveaxis(entered, axis, 0)[[0, -1]] = True
    inside = ((eyes >= 0) & (eyes <= np.array(values.shape) - 1)).all(1)
    for i, j, k in (eyes[inside] // BLOCK).astype(np.intp):
        entered[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2, max(k - 1, 0) : k + 2] = True
    blocks = np.argwhere(seen | (entered & (low <= slack))).astype(np.int32)
    table = np.where(high > 0, OUTSIDE, INSIDE).astype(np.int32)
    table[tuple(blocks.T)] = np.arange(ABSENT, ABSENT + len(blocks), dtype=np.int32)
    blocks = np.concatenate((np.full((ABSENT, 3), -1, np.int32), blocks))
    return BrickMap((X, Y, Z), table, blocks), low


def with_absent(bricks: Floats) -> Floats:
    """Bricks of a lattice, those that stand for blocks that are not kept filled in."""
    for brick, value in ((OUTSIDE, FAR), (INSIDE, -FAR)):
        bricks[brick * VOLUME : (brick + 1) * VOLUME] = value
    return bricks


@lane_kernel
def find_ranges(values: Floats, begin: int, end: int, low: Floats, high: Floats) -> None:
    """Fill `low` and `high` `[BX, BY, BZ]` with what the values of each block lie between.

    For the layers `begin … end` of blocks along x.
    """
    X, Y, Z = values.shape
    least, most = np.zeros(Z, values.dtype), np.zeros(Z, values.dtype)
    for bi in range(begin, end):
        for bj in range(low.shape[1]):
            for k in range(Z):
                least[k] = most[k] = values[bi * BLOCK, bj * BLOCK, k]
            for i in range(bi * BLOCK, min(bi * BLOCK + BLOCK + 1, X)):
                for j in range(bj * BLOCK, min(bj * BLOCK + BLOCK + 1, Y)):
                    row = values[i, j]
                    for k in range(Z):
                        least[k] = min(least[k], row[k])
                        most[k] = max(most[k], row[k])
            for bk in range(low.shape[2]):
                first = bk * BLOCK
                lo, hi = least[first], most[first]
                for k in range(first, min(first + BLOCK + 1, Z)):
                    lo, hi = min(lo, least[k]), max(hi, most[k])
                low[bi, bj, bk], high[bi, bj, bk] = lo, hi


@kernel
def find_ranges_in_blocks(values: Blocked, begin: int, end: int, low: Floats, high: Floats) -> None:
    """`find_ranges` of a lattice in blocks: those of what is far from the surface at once."""
    X, Y, Z = values.sizes
    A, B, C = values.table.shape
    for bi in range(begin, end):
        for bj in range(low.shape[1]):
            for bk in range(low.shape[2]):
                first = values.table[bi, bj, bk]
                same = first < 0  # and so are the blocks of the vertices behind it
                for a in range(bi, min(bi + 2, A)):
                    for b in range(bj, min(bj + 2, B)):
                        for c in range(bk, min(bk + 2, C)):
                            same = same and values.table[a, b, c] == first
                least = most = read(values, bi * BLOCK, bj * BLOCK, bk * BLOCK)
                if not same:
                    for i in range(bi * BLOCK, min(bi * BLOCK + BLOCK + 1, X)):
                        for j in range(bj * BLOCK, min(bj * BLOCK + BLOCK + 1, Y)):
                            for k in range(bk * BLOCK, min(bk * BLOCK + BLOCK + 1, Z)):
                                value = read(values, i, j, k)
                                least, most = min(least, value), max(most, value)
                low[bi, bj, bk], high[bi, bj, bk] = least, most


@kernel
def fill_bricks(values: Stored, blocks: Ints, begin: int, end: int, out: Floats) -> None:
    """Copy the values `[X, Y, Z]` of bricks `begin … end` to `out`, and continue them outwards."""
    X, Y, Z = shape_of(values)
    for n in range(begin, end):
        i0, j0, k0 = BLOCK * blocks[n, 0] - 1, BLOCK * blocks[n, 1] - 1, BLOCK * blocks[n, 2] - 1
        whole = i0 >= 0 and j0 >= 0 and k0 >= 0
        whole = whole and i0 + SIDE <= X and j0 + SIDE <= Y and k0 + SIDE <= Z
        at = n * VOLUME
        for a in range(SIDE):
            for b in range(SIDE):
                for c in range(SIDE):
                    if whole:
                        out[at + c] = read(values, i0 + a, j0 + b, k0 + c)
                    else:
                        out[at + c] = _continued(values, i0 + a, j0 + b, k0 + c)
                at += SIDE


@inlined
def _continued(values: Stored, i: int, j: int, k: int) -> Any:
    """A value of the lattice, or of its margin; zero behind that."""
    X, Y, Z = shape_of(values)
    x, y, z = min(max(i, 0), X - 1), min(max(j, 0), Y - 1), min(max(k, 0), Z - 1)
    if abs(i - x) + abs(j - y) + abs(k - z) == 1:
        return 2 * read(values, x, y, z) - read(values, 2 * x - i, 2 * y - j, 2 * z - k)
    return read(values, x, y, z) if i == x and j == y and k == z else cast(values, 0)


@kernel
def add_bricks(bricks: Floats, blocks: Ints, begin: int, end: int, out: Stored) -> None:
    """Add bricks to the layers `begin … end` along x of `out` `[X, Y, Z]`, see `BrickMap.add`."""
    _, Y, Z = shape_of(out)
    for n in range(ABSENT, len(blocks)):
        i0, j0, k0 = BLOCK * blocks[n, 0] - 1, BLOCK * blocks[n, 1] - 1, BLOCK * blocks[n, 2] - 1
        if i0 + SIDE <= begin or i0 >= end:
            continue
        whole = i0 >= begin and j0 >= 0 and k0 >= 0
        whole = whole and i0 + SIDE <= end and j0 + SIDE <= Y and k0 + SIDE <= Z
        at = n * VOLUME
        for a in range(SIDE):
            for b in range(SIDE):
                if whole:
                    for c in range(SIDE):
                        add(out, i0 + a, j0 + b, k0 + c, bricks[at + c])
                else:
                    for c in range(SIDE):
                        _add(out, i0 + a, j0 + b, k0 + c, begin, end, bricks[at + c])
                at += SIDE


@inlined
def _add(out: Stored, i: int, j: int, k: int, begin: int, end: int, value: float) -> None:
    """The transpose of `_continued`, for the layers `begin … end`."""
    X, Y, Z = shape_of(out)
    x, y, z = min(max(i, 0), X - 1), min(max(j, 0), Y - 1), min(max(k, 0), Z - 1)
    away = abs(i - x) + abs(j - y) + abs(k - z)
    if away == 0 and begin <= i < end:
        add(out, i, j, k, value)
    elif away == 1:
        if begin <= x < end:
            add(out, x, y, z, 2 * value)
        if begin <= 2 * x - i < end:
            add(out, 2 * x - i, 2 * y - j, 2 * z - k, -value)


@kernel
def move_to_bricks(values: Floats, blocks: Ints, bricks: Floats) -> None:
    """See `BrickMap.move`."""
    X, Y, Z = values.shape
    for n in range(ABSENT, len(blocks)):
        i0, j0, k0 = BLOCK * blocks[n, 0] - 1, BLOCK * blocks[n, 1] - 1, BLOCK * blocks[n, 2] - 1
        for i in range(max(i0, 0), min(i0 + SIDE, X)):
            for j in range(max(j0, 0), min(j0 + SIDE, Y)):
                at = n * VOLUME + (i - i0) * STEP_X + (j - j0) * STEP_Y
                for k in range(max(k0, 0), min(k0 + SIDE, Z)):
                    bricks[at + k - k0] += values[i, j, k]
                    values[i, j, k] = 0


@kernel
def clear_margin(blocks: Ints, sizes: Ints, bricks: Floats) -> None:
    """See `BrickMap.clear_margin`."""
    for n in range(ABSENT, len(blocks)):
        i0, j0, k0 = BLOCK * blocks[n, 0] - 1, BLOCK * blocks[n, 1] - 1, BLOCK * blocks[n, 2] - 1
        whole = i0 >= 0 and j0 >= 0 and k0 >= 0 and i0 + SIDE <= sizes[0]
        if whole and j0 + SIDE <= sizes[1] and k0 + SIDE <= sizes[2]:
            continue
        for a in range(SIDE):
            for b in range(SIDE):
                for c in range(SIDE):
                    i, j, k = i0 + a, j0 + b, k0 + c
                    inside = 0 <= i < sizes[0] and 0 <= j < sizes[1] and 0 <= k < sizes[2]
                    if not inside:
                        bricks[n * VOLUME + a * STEP_X + b * STEP_Y + c] = 0
