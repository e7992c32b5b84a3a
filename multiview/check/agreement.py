"""How well cameras and silhouettes fit together: how much of each mask the hull of all fills."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.hull.bounds import made_small, search_cube
from sdfrender.view.cameras import Cameras

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

PIXELS = 96  # longest side of the silhouettes that are compared
COARSE, FINE = 24, 48  # cells along the longest side of the boxes that are carved


@dataclass(frozen=True, eq=False)
class Outlines:
    """What is compared: N cameras and their silhouettes, small.

    Args:
        c2w: `[N, 4, 4]` camera to world, OpenCV axes, world units.
        Ks: `[N, 3, 3]` pixels of the silhouettes.
        silhouettes: `[N, H, W]` coverage in [0, 1].
        weights: `[N, H, W]` where they are known.
    """

    c2w: Tensor
    Ks: Tensor
    silhouettes: Tensor
    weights: Tensor

    @classmethod
    def of(cls, cameras: Cameras, silhouettes: Tensor, weights: Tensor) -> Outlines:
        """Made small."""
        views, small, known = made_small(PIXELS, cameras, silhouettes, weights)
        return cls(views.c2w.clone(), views.Ks.clone(), small, known)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.silhouettes.shape[2], self.silhouettes.shape[1]

    def __len__(self) -> int:
        return len(self.c2w)

    def changed(self, **parts: Tensor) -> Outlines:
        """With other cameras or silhouettes."""
        return replace(self, **parts)

    def agreements(self) -> Array:
        """`[N]` the share of each silhouette that the hull of all fills, in [0, 1].

        To about a cell of a coarse grid; 0 throughout where there is no hull.
        """
        nothing: Array = np.zeros(len(self))
        masks = self.silhouettes.numpy() > 0.5
        known = self.weights.numpy() > 0.5
        try:
            views = Cameras(self.c2w, self.Ks, *self.size)
            cube = search_cube(views, self.silhouettes * self.weights).double().numpy()
        except (InputError, ValueError):
            return nothing
        beyond = [ndimage.distance_transform_edt(k & ~m) for m, k in zip(masks, known, strict=True)]
        for resolution in (COARSE, FINE):
            kept, cell = _grid(cube, resolution)
            for n in range(len(self)):
                kept = kept[self._allowed(kept, n, beyond[n], masks[n], 0.87 * cell)]
            if not len(kept):
                return nothing
            cube = np.stack((kept.min(0) - cell, kept.max(0) + cell))
        found = nothing.copy()
        for n in range(len(self)):
            u, v, depths = self._project(kept, n)
            drawn = np.ones(masks[n].shape, bool)
            column, row = (np.floor(x.clip(-1, 1e6)).astype(int) for x in (u, v))
            framed = (column >= 0) & (row >= 0) & (column < self.size[0]) & (row < self.size[1])
            framed &= depths > 0
            drawn[row[framed], column[framed]] = False
            side = cell * float(self.Ks[n, 0, 0]) / max(float(np.median(depths)), 1e-9)
            own = masks[n] & known[n]
            filled = ndimage.distance_transform_edt(drawn) <= 0.87 * side + 0.75
            found[n] = float((filled & own).sum()) / max(1.0, float(own.sum()))
        return found

    def outside(self) -> NDArray[np.bool_]:
        """`[N, P]` which view carves away which point of a coarse grid about the object."""
        masks, known = self.silhouettes.numpy() > 0.5, self.weights.numpy() > 0.5
        beyond = [ndimage.distance_transform_edt(k & ~m) for m, k in zip(masks, known, strict=True)]
        views = Cameras(self.c2w, self.Ks, *self.size)
        cube = search_cube(views, self.silhouettes * self.weights).double().numpy()
        points, cell = _grid(cube, COARSE)
        allowed = [
            self._allowed(points, n, beyond[n], masks[n], 0.87 * cell) for n in range(len(self))
        ]
        return ~np.stack(allowed)

    def _project(self, points: Array, n: int) -> tuple[Array, Array, Array]:
        """Column, row and depth of points `[P, 3]` in a view."""
        c2w, K = self.c2w[n].double().numpy(), self.Ks[n].double().numpy()
        local = (points - c2w[:3, 3]) @ c2w[:3, :3]
        depths = local[:, 2]
        uv = local / np.where(depths > 0, depths, 1)[:, None] @ K.T
        return uv[:, 0], uv[:, 1], depths

    def _allowed(self, points: Array, n: int, beyond: Array, mask: Mask, reach: float) -> Mask:
        """`[P]` which points a view allows the object to be at, within `reach` world units."""
        u, v, depths = self._project(points, n)
        width, height = self.size
        column, row = (np.floor(x.clip(-1, 1e6)).astype(int) for x in (u, v))
        framed = (column >= 0) & (row >= 0) & (column < width) & (row < height) & (depths > 0)
        pixels = reach * float(self.Ks[n, 0, 0]) / np.where(depths > 0, depths, 1) + 0.5
        near = beyond[row.clip(0, height - 1), column.clip(0, width - 1)] <= pixels
        cut = bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        allowed: Mask = np.where(framed, near, cut & (depths > 0))
        return allowed


def _grid(box: Array, resolution: int) -> tuple[Array, float]:
    """Centres `[P, 3]` of the cubic cells of a box `[2, 3]`, and their side."""
    side = float((box[1] - box[0]).max()) / resolution
    counts = np.ceil((box[1] - box[0]) / side - 1e-9).astype(int).clip(1)
    cells = np.indices(tuple(counts.tolist())).reshape(3, -1).T + 0.5
    return box[0] + cells * side, side


def without(outlines: Outlines, n: int) -> Outlines:
    """All views but one."""
    kept = torch.tensor([i for i in range(len(outlines)) if i != n])
    return Outlines(
        outlines.c2w[kept], outlines.Ks[kept], outlines.silhouettes[kept], outlines.weights[kept]
    )
