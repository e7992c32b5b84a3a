"""What one ray meets, cell by cell: the scalar twin of the reference engine.

All in float64. `U` and `D` are the ray's origin and direction in vertex indices per unit of t.
"""

from __future__ import annotations

import math

import numpy as np
from numba import boolean

from sdfrender.kernels import cell_root
from sdfrender.kernels.arrays import Events, Floats
from sdfrender.kernels.bricks import BLOCK, cell_corners
from sdfrender.kernels.compiled import floor, inlined, scalar
from sdfrender.kernels.trilinear_cell import Corners, Grid, Vector

Cell = tuple[int, int, int]  # indices of its first corner

# Flags of an event, and which of them it has when the ray only grazes inside a cell: none.
CROSSING = 1  # φ becomes ≤ 0 in it
CAP = 2  # the ray enters the box inside the solid: the hit is the box's face
FACE = 4  # t_min is on a face between cells
OPAQUE = 8  # coverage 1 whatever happens nearby
ALONE = 16  # the only event of its ray, a crossing, opaque

MOST_EVENTS = 16  # that a ray may have
NEAR = 1e-6  # rays start this far from the eye, in units of the spacing
TINY = 1e-3  # shortest segment, in units of that
FURTHEST = 1e-300  # stands in for a direction of zero


# The record of an event. Events are kept in the order of the pixels, and along each ray. `pixel` is
# its flat index in the view; at `t` the event is shaded, the hit or a graze's closest approach; at
# `t_min` φ/t is smallest in the dip; `bits` are its flags (numpy has something else under that
# name). A distance in float32 may lie in the neighbouring cell.
EVENT = np.dtype([("pixel", "i4"), ("bits", "i4"), ("t", "f8"), ("t_min", "f8")], align=True)


@scalar
def box_interval(grid: Grid, U: Vector, D: Vector) -> tuple[float, float]:
    """Entry (0 when the eye is inside) and exit of the box; the exit is smaller on a miss."""
    near, far = 0.0, math.inf
    for axis in range(3):
        o, d = U[axis], D[axis]
        last = (grid.X if axis == 0 else grid.Y if axis == 1 else grid.Z) - 1.0
        if d == 0:
            if o < 0 or o > last:
                far = -math.inf
        else:
            a, b = -o / d, (last - o) / d
            near, far = max(near, min(a, b)), min(far, max(a, b))
    return near, far


@inlined
def cell_at(grid: Grid, U: Vector, D: Vector, t: float) -> Cell:
    """The cell of a ray's point at `t`, the nearest one if that is outside the box."""
    return (
        min(max(int(floor(U[0] + t * D[0])), 0), grid.X - 2),
        min(max(int(floor(U[1] + t * D[1])), 0), grid.Y - 2),
        min(max(int(floor(U[2] + t * D[2])), 0), grid.Z - 2),
    )


@inlined
def is_cell(grid: Grid, i: int, j: int, k: int) -> bool:
    """Whether there is a cell with these indices."""
    return not (i < 0 or j < 0 or k < 0 or i > grid.X - 2 or j > grid.Y - 2 or k > grid.Z - 2)


@inlined
def crossings(U: Vector, D: Vector, i0: int, j0: int, k0: int, i1: int, j1: int, k1: int) -> Vector:
    """Where a ray leaves the box of cells from `(i0, j0, k0)` to `(i1, j1, k1)` by each axis."""
    ix = 1 / (D[0] if D[0] != 0 else FURTHEST)
    iy = 1 / (D[1] if D[1] != 0 else FURTHEST)
    iz = 1 / (D[2] if D[2] != 0 else FURTHEST)
    tx = ((i1 if D[0] >= 0 else i0) - U[0]) * ix
    ty = ((j1 if D[1] >= 0 else j0) - U[1]) * iy
    tz = ((k1 if D[2] >= 0 else k0) - U[2]) * iz
    return tx, ty, tz


@inlined
def beyond(
    grid: Grid, U: Vector, D: Vector, leave: float,
    i0: int, j0: int, k0: int, i1: int, j1: int, k1: int,
) -> Cell:  # fmt: skip
    """The cell across the face by which a ray leaves the box of `crossings` at `leave`."""
    tx, ty, tz = crossings(U, D, i0, j0, k0, i1, j1, k1)
    i = min(max(int(floor(U[0] + leave * D[0])), i0), i1 - 1)
    j = min(max(int(floor(U[1] + leave * D[1])), j0), j1 - 1)
    k = min(max(int(floor(U[2] + leave * D[2])), k0), k1 - 1)
    if leave == tx or (tx <= ty and tx <= tz):
        i = i1 if D[0] >= 0 else i0 - 1
    elif leave == ty or ty <= tz:
        j = j1 if D[1] >= 0 else j0 - 1
    else:
        k = k1 if D[2] >= 0 else k0 - 1
    return i, j, k


@inlined
def next_near(
    v: Floats, block_low: Floats, grid: Grid, U: Vector, D: Vector, reach: float, t_out: float,
    i: int, j: int, k: int, t: float,
) -> tuple[bool, int, int, int, float, float, Corners]:  # fmt: skip
    """The first cell with `φ ≤ reach · t` at a corner, from the cell `(i, j, k)` entered at `t` on.

    Other arguments are those of `find_events`; the ray leaves the lattice's box at `t_out`.

    Returns:
        Whether there is one; the cell; where the ray enters and leaves it; its corners.
    """
    while True:
        # the whole block, or one cell of it
        bi, bj, bk = i // BLOCK, j // BLOCK, k // BLOCK
        i0, j0, k0, size = bi * BLOCK, bj * BLOCK, bk * BLOCK, BLOCK
        low = block_low[bi, bj, bk]
        c = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        i1, j1, k1, leave = i0, j0, k0, t
        for _ in range(2):
            i1 = min(i0 + size, grid.X - 1)
            j1 = min(j0 + size, grid.Y - 1)
            k1 = min(k0 + size, grid.Z - 1)
            tx, ty, tz = crossings(U, D, i0, j0, k0, i1, j1, k1)
            leave = max(min(tx, ty, tz), t)
            if size == 1 or low > reach * leave:
                break
            i0, j0, k0, size = i, j, k, 1
            c = cell_corners(v, grid, (i + 1) * grid.sx + (j + 1) * grid.sy + k + 1)
            low = min(min(min(c[0], c[1]), min(c[2], c[3])), min(min(c[4], c[5]), min(c[6], c[7])))
        end = min(leave, t_out)
        if size == 1 and low <= reach * end:
            return boolean(True), i, j, k, t, leave, c
        if end >= t_out:
            break
        i, j, k = beyond(grid, U, D, leave, i0, j0, k0, i1, j1, k1)
        t = leave
        if not is_cell(grid, i, j, k):
            break
    return boolean(False), i, j, k, t, t, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@scalar
def first_near(
    v: Floats, block_low: Floats, grid: Grid, U: Vector, D: Vector, footprint: float, coverage: bool
) -> float:
    """Where a ray enters the first cell that `find_events` looks into, −1 if there is none.

    Arguments as there.
    """
    in_front = NEAR * grid.h_min
    t_in, t_out = box_interval(grid, U, D)
    t = max(t_in, in_front)
    if not t_out > t:
        return -1.0
    i, j, k = cell_at(grid, U, D, t)
    reach = footprint if coverage else 0.0
    near, _, _, _, t, _, _ = next_near(v, block_low, grid, U, D, reach, t_out, i, j, k, t)
    return t if near else -1.0


@scalar
def find_events(
    v: Floats,
    block_low: Floats,
    grid: Grid,
    U: Vector,
    D: Vector,
    footprint: float,
    t_start: float,
    coverage: bool,
    most: int,
    pixel: int,
    out: Events,
    count: int,
) -> int:
    """Append the events of a ray from `t_start` on; returns how many there are in `out` now.

    Args:
        v: values of the lattice, see `bricks.stored`.
        block_low: `[BX, BY, BZ]` smallest value of each block of cells.
        grid: its size and place.
        U: origin.
        D: direction.
        footprint: size of a pixel per unit of t.
        t_start: the walk starts here, or where the ray enters the box.
        coverage: find grazes too; otherwise only the first root.
        most: events per ray.
        pixel: written with each event.
        out: records of events, see `EVENT`.
        count: events already in it.
    """
    in_front = NEAR * grid.h_min
    t_in, t_out = box_interval(grid, U, D)
    t = max(t_in, in_front, t_start)
    if not t_out > max(t_in, in_front):
        return count
    reach = footprint if coverage else 0.0  # of interest: φ < reach · t
    i, j, k = cell_at(grid, U, D, t)
    first = count
    m, hit, t_min, at_face = math.inf, math.inf, 0.0, False
    while True:
        near, i, j, k, t, leave, c = next_near(v, block_low, grid, U, D, reach, t_out, i, j, k, t)
        if not near:
            break
        end = min(leave, t_out)
        L = max(end - t, TINY * in_front)
        f = cell_root.coefficients(
            c,
            U[0] + t * D[0] - i,
            U[1] + t * D[1] - j,
            U[2] + t * D[2] - k,
            D[0] * L,
            D[1] * L,
            D[2] * L,
        )
        if math.isinf(hit):
            hit = t + L * cell_root.first_root(f)
        if not coverage:
            if not math.isinf(hit):
                cap = t_in > 0 and hit <= t_in
                out[count].pixel = pixel
                out[count].t = hit
                out[count].t_min = hit
                out[count].bits = OPAQUE | (CAP if cap else CROSSING | ALONE)
                return count + 1
        else:
            s, q = cell_root.closest_approach(f, t / L)
            q = q / (L * footprint)
            q_out = cell_root.evaluate(f, 1.0) / ((t / L + 1) * L * footprint)
            if q < m:
                m, t_min, at_face = q, t + L * s, s == 0.0 or s == 1.0
            opaque = not math.isinf(hit) and m <= -0.5
            if m < 0.5 and (opaque or q_out > max(m, 0.0) + 0.5):
                count = _close(out, count, pixel, hit, t_in, t_min, at_face, opaque)
                if opaque and count == first + 1 and out[first].bits & CROSSING:
                    out[first].bits |= ALONE
                if opaque or count - first >= most:
                    return count
                m, hit = math.inf, math.inf
        if end >= t_out:
            break
        i, j, k = beyond(grid, U, D, leave, i, j, k, i + 1, j + 1, k + 1)
        t = leave
        if not is_cell(grid, i, j, k):
            break
    if coverage and m < 0.5:  # a dip that the far side of the box cut short
        count = _close(out, count, pixel, hit, t_in, t_min, at_face, boolean(False))
    return count


@scalar
def _close(
    out: Events,
    count: int,
    pixel: int,
    hit: float,
    t_in: float,
    t_min: float,
    at_face: bool,
    opaque: bool,
) -> int:
    """Write one event."""
    crossed = not math.isinf(hit)
    flags = OPAQUE if opaque else 0
    if at_face:
        flags |= FACE
    if crossed:
        flags |= CAP if t_in > 0 and hit <= t_in else CROSSING
    out[count].pixel = pixel
    out[count].t = hit if crossed else t_min
    out[count].t_min = t_min
    out[count].bits = flags
    return count + 1
