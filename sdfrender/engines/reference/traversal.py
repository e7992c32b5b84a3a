"""Which cells does a ray pass through, in order? Only those that can matter are listed.

All rays advance together, one cell or one empty block at a time. Skipping uses the distance in
cells to the nearest cell that matters, so it is exact for any values, distance field or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LONGEST_SKIP = 24  # cells
WORTH_COPYING = 0.75  # rays are copied together when no more than this fraction of them goes on


@dataclass(frozen=True, eq=False)
class Segments:
    """The parts of rays inside cells that matter.

    Segments come in rounds: within one round each ray has at most one segment, and the segments of
    a ray are in order along it from round to round.
    """

    rays: Tensor  # [S] ray of each segment
    cells: Tensor  # [S] flat vertex index of the cell's first corner, lattice included
    starts: Tensor  # [3, S] fractional vertex index of the start, relative to that corner
    t_in: Tensor  # [S]
    t_out: Tensor  # [S]
    rounds: list[int]  # number of segments in each round


def box_interval(o: Tensor, d: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Entry and exit distance of rays through the box.

    Args:
        o: `[3, R]` origins in fractional vertex indices.
        d: `[3, R]` vertex indices per unit of t.
        last: `[3]` the largest vertex index of each axis.

    Returns:
        `t_in` `[R]`, 0 when the eye is in the box, and `t_out` `[R]`, less than `t_in` on a miss.
    """
    near = (torch.where(d > 0, 0.0, last[:, None]) - o) / d
    far = (torch.where(d > 0, last[:, None], 0.0) - o) / d
    parallel = d == 0
    outside = parallel & ((o < 0) | (o > last[:, None]))
    near = torch.where(parallel, -torch.inf, near)
    far = torch.where(parallel, torch.inf, far)
    far = torch.where(outside, -torch.inf, far)
    return near.amax(0).clamp(min=0), far.amin(0)


def skip_distances(matters: Tensor) -> Tensor:
    """Chebyshev distance in cells to the nearest cell that matters, up to `LONGEST_SKIP`.

    Args:
        matters: `[B, X, Y, Z]` bool.

    Returns:
        `[B, X, Y, Z]` int8, 0 on the cells that matter.
    """
    near = matters.clone()
    distance = torch.zeros_like(matters, dtype=torch.int8)
    for _ in range(LONGEST_SKIP):
        distance += ~near
        for dim in (1, 2, 3):  # a cube grows one axis at a time
            n = near.shape[dim]
            grown = near.clone()
            grown.narrow(dim, 1, n - 1).logical_or_(near.narrow(dim, 0, n - 1))
            grown.narrow(dim, 0, n - 1).logical_or_(near.narrow(dim, 1, n - 1))
            near = grown
    return distance


def visit(
    matters: Tensor,
    opaque: Tensor,
    o: Tensor,
    d: Tensor,
    t: Tensor,
    t_end: Tensor,
    lattice_ids: Tensor,
) -> Segments:
    """List the segments of rays in the cells that matter, up to the first opaque cell.

    Args:
        matters: `[B, X−1, Y−1, Z−1]` bool, per cell.
        opaque: `[B, X−1, Y−1, Z−1]` bool, some of `matters`: a ray ends in these.
        o: `[3, R]` origins, fractional vertex indices.
        d: `[3, R]` directions, vertex indices per unit of t.
        t: `[R]` where each ray enters the box.
        t_end: `[R]` where it leaves.
        lattice_ids: `[R]` which lattice each ray meets.
    """
    _, CX, CY, CZ = matters.shape
    X, Y, Z = CX + 1, CY + 1, CZ + 1
    skip = skip_distances(matters)
    skip = torch.where(opaque, -1, skip).flatten()
    # Cells are whole numbers in the dtype of the rays: exact, and nothing has to be converted.
    size = torch.tensor([CX, CY, CZ]).to(o)[:, None]

    rays = torch.arange(o.shape[1], device=o.device)
    ids = lattice_ids.to(o)
    alive = torch.ones_like(rays, dtype=torch.bool)
    cell = (o + t * d).floor().clamp(min=0).minimum(size - 1)
    inverse = 1 / torch.where(d == 0, torch.finfo(d.dtype).tiny, d)
    ahead = d >= 0
    found: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
    while len(rays):
        i, j, k = cell
        label = skip.take((((ids * CX + i) * CY + j) * CZ + k).long())
        reach = (label - 1).clamp(min=0).to(o)  # empty cells on every side of this one
        face, leave, through = _way_out(o, inverse, ahead, cell, reach)
        leave = torch.maximum(leave, t)

        at = (alive & (label <= 0)).nonzero()[:, 0]
        if len(at):
            i, j, k = here = pick(cell, at)
            corner = ((pick(ids, at) * X + i) * Y + j) * Z + k
            enter = pick(t, at)
            start = torch.addcmul(pick(o, at), enter, pick(d, at)) - here
            exit = torch.minimum(pick(leave, at), pick(t_end, at))
            found.append((pick(rays, at), corner.long(), start, enter, exit))

        following = torch.addcmul(o, leave, d).floor()
        following = following.maximum(cell - reach).minimum(cell + reach)
        across = torch.where(ahead, face, face - 1)  # beyond the face it leaves through
        cell = torch.where(through, across, following)
        alive &= (label >= 0) & (leave < t_end)
        alive &= ((cell >= 0) & (cell < size)).all(0)
        t = leave
        keep = alive.nonzero()[:, 0]
        if len(keep) > WORTH_COPYING * len(rays):
            cell = cell.clamp(min=0).minimum(size - 1)  # those that have ended stay in the box
            continue
        rays, ids, t, t_end, alive = (pick(x, keep) for x in (rays, ids, t, t_end, alive))
        o, d, inverse, ahead, cell = (pick(x, keep) for x in (o, d, inverse, ahead, cell))

    if not found:
        none = rays.new_zeros(0)
        return Segments(none, none, o[:, :0], t[:0], t[:0], [])
    parts = list(zip(*found, strict=True))
    rays, cells, starts, t_in, t_out = (torch.cat(part, -1) for part in parts)
    return Segments(rays, cells, starts, t_in, t_out, [len(part) for part in parts[0]])


def _way_out(
    o: Tensor, inverse: Tensor, ahead: Tensor, cell: Tensor, reach: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """How rays leave the cube of cells within `reach` `[R]` of theirs.

    Returns:
        `[3, R]` the faces ahead, `[R]` the distance to the nearest, `[3, R]` which of them that is.
    """
    face = torch.where(ahead, cell + (reach + 1), cell - reach)
    tx, ty, tz = (face - o) * inverse
    leave = torch.minimum(torch.minimum(tx, ty), tz)
    axis_x = leave == tx
    axis_y = ~axis_x & (leave == ty)
    axis_z = ~axis_x & ~axis_y
    return face, leave, torch.stack((axis_x, axis_y, axis_z))


def pick(x: Tensor, ids: Tensor) -> Tensor:
    """`x[..., ids]`, by the fastest of torch's many ways."""
    return x.gather(-1, ids.expand(*x.shape[:-1], -1))
