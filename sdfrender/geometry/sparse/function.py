"""Signed distances of a function, in the blocks near its surface alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sdfrender.geometry.grid import points_at
from sdfrender.geometry.sparse.blocked import SIDE, Blocked, blocks_along, kept_blocks
from sdfrender.geometry.sparse.blocks import near_blocks, numbered

TOGETHER = 1 << 12  # blocks that the function is asked for at a time
SLACK = 1.001  # for rounding


def blocks_of_function(
    function: Callable[[Tensor], Tensor],
    sizes: tuple[int, int, int],
    bounds: Tensor,
    dtype: torch.dtype,
    far: float,
) -> tuple[Tensor, Tensor]:
    """Values `[n, 8, 8, 8]` and table of the blocks with a vertex nearer than `far`.

    Args:
        function: maps points `[..., 3]` to signed distances `[...]`; 1-Lipschitz.
        sizes: `(X, Y, Z)`.
        bounds: `[2, 3]`.
        dtype: of the values.
        far: world units.
    """
    spacing = ((bounds[1] - bounds[0]) / (torch.tensor(sizes) - 1)).double()
    near, inside = np.zeros((2, *blocks_along(sizes)), np.bool_)
    where = torch.from_numpy(np.argwhere(~near))  # all of them
    half = (SIDE - 1) / 2
    around = SLACK * (far + half * float(spacing.norm()))
    for start in range(0, len(where), SIDE**3 * TOGETHER):
        some = where[start : start + SIDE**3 * TOGETHER]
        middle = bounds[0] + (SIDE * some + half).to(bounds) * spacing.to(bounds)
        distance = function(middle).double().numpy()
        at = tuple(some.T.numpy())
        near[at], inside[at] = np.abs(distance) < around, distance < 0
    table = numbered(near, inside)
    last = np.array(sizes) - 1
    offsets = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), -1)
    blocks = kept_blocks(table)
    values = []
    for start in range(0, len(blocks), TOGETHER):
        first = SIDE * blocks[start : start + TOGETHER].astype(np.intp)
        index = (first[:, None, None, None] + offsets).clip(max=last).reshape(-1, 3)
        found = function(points_at(tuple(index.T), sizes, bounds)).to(dtype)
        values.append(found.reshape(-1, SIDE, SIDE, SIDE))
    found = torch.cat(values) if values else torch.zeros(0, SIDE, SIDE, SIDE, dtype=dtype)
    asked = Blocked(table, found.numpy(), found.numpy().dtype.type(around), sizes)
    kept = near_blocks(asked, far)
    return torch.from_numpy(kept.values), torch.from_numpy(kept.table)
