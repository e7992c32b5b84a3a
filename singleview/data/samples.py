"""Points with their occupancy: what implicit functions learn from, in memory or on disk.

Every object lives in its canonical frame (the middle of its box at the origin, y up, longest side
1.5). Occupancy is sampled in the padded box of Occupancy Networks, a tenth wider than the cube
around the object (Mescheder et al. 2019, §3.2).

Positions are kept as float16; occupancy is that of the rounded positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender.errors import InputError
from singleview.data.columns import Column
from singleview.data.objects import LONGEST_SIDE, Objects
from singleview.settings.choices import Split

PADDING = 0.1  # of the longest side, both ends together; Mescheder et al. 2019, §3.2
HALF_PADDED_BOX = 0.5 * LONGEST_SIDE * (1 + PADDING)  # .825 canonical units, half of its side
HALF_CUBE = 0.5 * LONGEST_SIDE  # half the side of the cube around an object
# Canonical units.
PADDED_BOX = ((-HALF_PADDED_BOX,) * 3, (HALF_PADDED_BOX,) * 3)


@dataclass(frozen=True, eq=False)
class Samples(Objects):
    """N objects as points; each array may be a `Column` that stays on disk.

    Args:
        names: `CATEGORY/OBJECT`.
        splits: of each object.
        points: `[N, P, 3]` float16, uniform in `PADDED_BOX`.
        inside: `[N, P]` bool.
        near: `[N, Q, 3]` float16, close to the surface; Q is 0 where the layout has none.
        near_inside: `[N, Q]` bool.
        surface: `[N, S, 3]` float16, uniform by area on the surface.
        normals: `[N, S, 3]` float16 unit; outward where they come from a mesh.

    Raises:
        InputError: no objects.
        ValueError: tensors that do not belong together.
    """

    names: tuple[str, ...]
    splits: tuple[Split, ...]
    points: Tensor | Column
    inside: Tensor | Column
    near: Tensor | Column
    near_inside: Tensor | Column
    surface: Tensor | Column
    normals: Tensor | Column

    def solid(self, i: int) -> Tensor:
        """`[n, 3]` the points of object i that are inside."""
        return self.points[i][self.inside[i]]

    def __post_init__(self) -> None:
        N = len(self.names)
        if N == 0:
            raise InputError("samples: need at least one object, got none")
        for positions, others in (
            (self.points, self.inside),
            (self.near, self.near_inside),
            (self.surface, self.normals),
        ):
            if len(positions) != N or positions.shape[:2] != others.shape[:2]:
                raise ValueError(f"samples: need {N} objects, got {tuple(positions.shape)} "
                                 f"and {tuple(others.shape)}")  # fmt: skip


def voxels(solid: Tensor, resolution: int, half: float = HALF_PADDED_BOX) -> Tensor:
    """`[R, R, R]` float32 over a cube: 1 where a voxel holds a point of the solid.

    Args:
        solid: `[P, 3]` points inside and on the surface, canonical frame.
        resolution: R, voxels along each side.
        half: side of the cube; that of `PADDED_BOX` or `HALF_CUBE`.
    """
    x, y, z = _voxel_indices(solid, resolution, half).clamp(0, resolution - 1).unbind(-1)
    grid = torch.zeros((resolution,) * 3)
    grid[x, y, z] = 1.0
    return grid


def voxel_at(grid: Tensor, points: Tensor, half: float = HALF_PADDED_BOX) -> Tensor:
    """`[P]` values of voxels `[R, R, R]` at `points` `[P, 3]`; 0 where there is no voxel.

    Args:
        grid: the voxels.
        points: canonical frame.
        half: side of the cube that they fill.
    """
    R = grid.shape[0]
    index = _voxel_indices(points, R, half)
    there = ((index >= 0) & (index < R)).all(-1)
    x, y, z = index.clamp(0, R - 1).unbind(-1)
    return torch.where(there, grid[x, y, z], 0.0)


def _voxel_indices(points: Tensor, resolution: int, half: float) -> Tensor:
    """`[P, 3]` in which of R voxels along each axis points `[P, 3]` lie, canonical frame."""
    index = (points.float() + half) * (resolution / (2 * half))
    return index.floor().long()
