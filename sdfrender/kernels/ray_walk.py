"""What one ray meets, cell by cell: the scalar twin of the reference engine.

All in float64. `U` and `D` are the ray's origin and direction in vertex indices per unit of t.
"""

from __future__ import annotations

import math

import numpy as np
from numba import boolean

from sdfrender.kernels import cell_root
from sdfrender.kernels.arrays import Events, Floats
from sdfrender.kernels.compiled import scalar
from sdfrender.kernels.trilinear_cell import Grid, Vector, corners

# Flags of an event, and which of them it has when the ray only grazes inside a cell: none.
CROSSING = 1  # φ becomes ≤ 0 in it
CAP = 2  # the ray enters the box inside the solid: the hit is the box's face
FACE = 4  # t_min is on a face between cells
OPAQUE = 8  # coverage 1 whatever happens nearby
ALONE = 16  # the only event of its ray, a crossing, opaque

MOST_EVENTS = 16  # that a ray may have
BLOCK = 8  # cells on a side of the blocks that are skipped whole
NEAR = 1e-6  # rays start this far from the eye, in units of the spacing
TINY = 1e-3  # shortest segment, in units of that
FURTHEST = 1e-300  # stands in for a direction of zero


# The record of an event. Events are kept in the order of the pixels, and along each ray. `pixel` is
# its flat index in the view; at `t` the event is shaded, the hit or a graze's closest approach; at
# `t_min` φ/t is smallest in the dip. A distance in float32 may lie in the neighbouring cell.
EVENT = np.dtype([("pixel", "i4"), ("flags", "i4"), ("t", "f8"), ("t_min", "f8")])


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
        v: the padded lattice.
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
    ix = 1 / (D[0] if D[0] != 0 else FURTHEST)
    iy = 1 / (D[1] if D[1] != 0 else FURTHEST)
    iz = 1 / (D[2] if D[2] != 0 else FURTHEST)
    i = min(max(math.floor(U[0] + t * D[0]), 0), grid.X - 2)
    j = min(max(math.floor(U[1] + t * D[1]), 0), grid.Y - 2)
    k = min(max(math.floor(U[2] + t * D[2]), 0), grid.Z - 2)
    first = count
    m, hit, t_min, at_face = math.inf, math.inf, 0.0, False
    while True:
        # the whole block, or one cell of it
        bi, bj, bk = i // BLOCK, j // BLOCK, k // BLOCK
        i0, j0, k0, size = bi * BLOCK, bj * BLOCK, bk * BLOCK, BLOCK
        low = block_low[bi, bj, bk]
        c = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        for _ in range(2):
            i1 = min(i0 + size, grid.X - 1)
            j1 = min(j0 + size, grid.Y - 1)
            k1 = min(k0 + size, grid.Z - 1)
            tx = ((i1 if D[0] >= 0 else i0) - U[0]) * ix
            ty = ((j1 if D[1] >= 0 else j0) - U[1]) * iy
            tz = ((k1 if D[2] >= 0 else k0) - U[2]) * iz
            leave = max(min(tx, ty, tz), t)
            if size == 1 or low > reach * leave:
                break
            i0, j0, k0, size = i, j, k, 1
            c = corners(v, (i + 1) * grid.sx + (j + 1) * grid.sy + k + 1, grid.sx, grid.sy)
            low = min(min(min(c[0], c[1]), min(c[2], c[3])), min(min(c[4], c[5]), min(c[6], c[7])))
        end = min(leave, t_out)
        if size == 1 and low <= reach * end:
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
                    out[count].flags = OPAQUE | (CAP if cap else CROSSING | ALONE)
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
                    if opaque and count == first + 1 and out[first].flags & CROSSING:
                        out[first].flags |= ALONE
                    if opaque or count - first >= most:
                        return count
                    m, hit = math.inf, math.inf
        if end >= t_out:
            break
        # the neighbour across the face that the ray leaves through
        ni = min(max(math.floor(U[0] + leave * D[0]), i0), i1 - 1)
        nj = min(max(math.floor(U[1] + leave * D[1]), j0), j1 - 1)
        nk = min(max(math.floor(U[2] + leave * D[2]), k0), k1 - 1)
        if leave == tx or (tx <= ty and tx <= tz):
            ni = i1 if D[0] >= 0 else i0 - 1
        elif leave == ty or ty <= tz:
            nj = j1 if D[1] >= 0 else j0 - 1
        else:
            nk = k1 if D[2] >= 0 else k0 - 1
        i, j, k, t = ni, nj, nk, leave
        if i < 0 or j < 0 or k < 0 or i > grid.X - 2 or j > grid.Y - 2 or k > grid.Z - 2:
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
    out[count].flags = flags
    return count + 1
