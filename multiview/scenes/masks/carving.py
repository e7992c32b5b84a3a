"""A coarse carving of space by all masks, which tells what each mask may be and whether they agree.

The hull of all other views holds the object, so its picture in a view holds that view's mask. What
it does not hold contradicts the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.hull.bounds import bounds_from_masks, made_small, search_cube
from sdfrender.hull.carving import grid_to_carve, outside_cone
from sdfrender.view.cameras import Cameras

Mask = NDArray[np.bool_]

RESOLUTION = 48  # samples along the longest side of the box
PIXELS = 256  # longest side of the silhouettes
AGREE = 0.8  # of a mask that the others' hull must hold
ALONE = 0.1  # of the hull: a view that alone carves away less than this is not to blame


@dataclass(frozen=True, eq=False)
class Carving:
    """Which view carves away which sample of a box.

    Args:
        points: `[P, 3]` world units.
        spacing: of the samples, world units.
        cameras: N views, at the size of the silhouettes that were looked at.
        masks: `[N, H, W]` what is known to be object.
        outside: `[N, P]` whether the view says that the sample is not in the object, nor so near
            that its cell could be.
    """

    points: NDArray[np.float32]
    spacing: float
    cameras: Cameras
    masks: Mask
    outside: Mask

    @classmethod
    def of(
        cls, cameras: Cameras, silhouettes: Tensor, weights: Tensor, bounds: Tensor | None
    ) -> Carving | None:
        """By N views, or None where their lines of sight do not meet.

        Args:
            cameras: N views.
            silhouettes: `[N, H, W]` coverage in [0, 1].
            weights: `[N, H, W]` 1 where the silhouette is known, 0 where it is not.
            bounds: `[2, 3]` box of the object, world units, or None to find it.
        """
        views, small, known = made_small(PIXELS, cameras, silhouettes, weights)
        try:
            box = _box(views, small, known) if bounds is None else bounds.float()
        except InputError:
            return None
        grid, points = grid_to_carve(RESOLUTION, box)
        spacing = float(grid.spacing.max())
        reach = 0.5 * float(grid.spacing.norm())
        outside = outside_cone(points, views, small, known, reach)
        masks = ((small > 0.5) & (known > 0.5)).numpy()
        return cls(points, spacing, views, masks, outside)

    def held(self, camera: Cameras, ids: NDArray[np.intp], margin: bool = True) -> Mask:
        """`[H, W]` the picture of samples `ids` in one camera, each as large as its cell.

        With a `margin` of a cell all around, which makes up for whatever is rounded.
        """
        height, width = camera.height, camera.width
        uv, depths = (x[0].numpy() for x in camera.project(torch.from_numpy(self.points[ids])))
        drawn = np.zeros((height, width), bool)
        front = depths > 0
        if not front.any():
            return drawn
        cells = self.spacing * float(camera.Ks[0, 0, 0]) / depths[front]  # pixels
        step = max(1.0, float(cells.max()))
        rows, columns = (int(np.ceil(n / step)) for n in (height, width))
        coarse = np.zeros((rows + 2, columns + 2), bool)  # with a margin
        at = np.floor(uv[front] / step).clip(-1, (columns, rows)).astype(int) + 1
        coarse[at[:, 1], at[:, 0]] = True
        grown = ndimage.binary_dilation if margin else ndimage.binary_closing
        coarse = grown(coarse, np.ones((3, 3)))[1:-1, 1:-1]
        v, u = np.arange(height) / step, np.arange(width) / step
        picture: Mask = coarse[np.ix_(v.astype(int), u.astype(int))]
        return picture

    def possible(self, camera: Cameras, without: int | None = None) -> Mask:
        """`[H, W]` where in one camera the object may be, by all views or all `without` one."""
        others = np.delete(self.outside, without, 0) if without is not None else self.outside
        return self.held(camera, np.flatnonzero(~others.any(0)))

    def contradicted(self, camera: Cameras, background: Mask) -> Mask:
        """`[H, W]` where in one more picture there cannot be background everywhere.

        Background carves samples away. A pixel of a known mask whose ray they all lie on would be
        left without object: one of them is object, and so is a pixel that it is drawn on.

        Args:
            camera: of the picture, at the size of the silhouettes.
            background: `[H, W]` what is taken for background in it.
        """
        ids = np.flatnonzero(~self.outside.any(0))
        carved = _at(background, camera, self.points[ids])
        needed = np.zeros(len(ids), bool)
        for n, mask in enumerate(self.masks):
            before = self.held(self.cameras[n], ids, margin=False)
            left = mask & before & ~self.held(self.cameras[n], ids[~carved], margin=False)
            left = ndimage.binary_opening(left, np.ones((5, 5)))  # not what is rounded at edges
            needed |= _at(left, self.cameras[n], self.points[ids])
        return background & self.held(camera, ids[carved & needed])

    def contradictions(self) -> dict[int, float]:
        """The views to blame where masks contradict each other, each with how far it agrees.

        While some mask is not held by the hull of the others, the view is taken out that alone
        carves away most.
        """
        blamed: dict[int, float] = {}
        outside = self.outside.copy()
        while len(outside) - len(blamed) > 2:
            counts = outside.sum(0)
            others = (n for n in range(len(outside)) if n not in blamed)
            if min(self._agreement(n, outside, counts) for n in others) >= AGREE:
                break
            alone = (outside & (counts == 1)).sum(1)
            worst = int(alone.argmax())
            if alone[worst] <= ALONE * np.count_nonzero(counts == 0):
                break
            blamed[worst] = 0.0
            outside[worst] = False
        counts = outside.sum(0)
        return {n: self._agreement(n, outside, counts) for n in blamed}

    def _agreement(self, n: int, outside: Mask, counts: NDArray[np.int64]) -> float:
        """The part of a view's mask that the hull of the others holds."""
        mask = self.masks[n]
        if not mask.any():
            return 1.0
        held = self.held(self.cameras[n], np.flatnonzero(counts == outside[n]))
        return float(held[mask].mean())


def _box(cameras: Cameras, silhouettes: Tensor, weights: Tensor) -> Tensor:
    """The box of the object, or a cube about the lines of sight where the masks leave nothing."""
    try:
        return bounds_from_masks(cameras, silhouettes, weights, padding=0.2)
    except InputError:
        return search_cube(cameras, silhouettes * weights)


def _at(picture: Mask, camera: Cameras, points: NDArray[np.float32]) -> Mask:
    """`[P]` what a picture `[H, W]` has where points are seen; False off the frame."""
    uv, depths = (x[0].numpy() for x in camera.project(torch.from_numpy(points)))
    column, row = (np.floor(uv[:, i].clip(-1, 1e6)).astype(int) for i in (0, 1))
    height, width = picture.shape
    framed = (depths > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen: Mask = framed & picture[row.clip(0, height - 1), column.clip(0, width - 1)]
    return seen
