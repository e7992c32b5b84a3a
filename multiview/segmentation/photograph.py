"""A photograph and its camera, at the size that is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multiview.scenes.pixels import read_photo
from multiview.scenes.scene import View
from sdfrender.files.images import Image, area_average

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Photograph:
    """One picture as a pinhole camera took it.

    Args:
        view: whose picture this is.
        image: `[H, W, 3]` in [0, 1], as stored.
        seen: `[H, W]` where the lens showed something and no ignore-mask is black.
        c2w: `[4, 4]` camera to world, OpenCV axes, world units.
        K: `[3, 3]` pixels of this size, pixel centres at +0.5.
    """

    view: View
    image: Image
    seen: Mask
    c2w: Array
    K: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def center(self) -> Array:
        """`[3]` the eye, world units."""
        return self.c2w[:3, 3]

    def project(self, points: Array) -> tuple[Array, Array]:
        """`[P, 2]` pixels and `[P]` depths of points `[P, 3]`; behind the camera depths are ≤ 0."""
        local = (points - self.center) @ self.c2w[:3, :3]
        depths = local[:, 2]
        uv = (local / np.where(depths > 0, depths, 1.0)[:, None]) @ self.K.T
        return uv[:, :2], depths

    def pixels_of(self, points: Array) -> tuple[NDArray[np.intp], NDArray[np.intp], Mask]:
        """Row and column that `[P, 3]` points fall on, and which of them are in frame."""
        uv, depths = self.project(points)
        height, width = self.shape
        column, row = (np.floor(uv[:, i].clip(-1, 1e6)).astype(np.intp) for i in (0, 1))
        framed = (depths > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        return row.clip(0, height - 1), column.clip(0, width - 1), framed

    def directions(self) -> Array:
        """`[H, W, 3]` world directions of the pixels' rays, of depth 1."""
        height, width = self.shape
        v, u = np.mgrid[:height, :width] + 0.5
        local = np.stack((u, v, np.ones_like(u)), -1) @ np.linalg.inv(self.K).T
        rays: Array = local @ self.c2w[:3, :3].T
        return rays


def read_photographs(views: Sequence[View], longest: int) -> list[Photograph]:
    """The pictures of views without their lens's distortion, no side longer than `longest`."""
    photographs = []
    for view in views:
        scale = min(1.0, longest / max(view.size))
        width, height = (max(1, round(n * scale)) for n in view.size)
        photo, keep = read_photo(view, (width, height))
        photo, keep = area_average(photo, width, height), area_average(keep, width, height)
        K = view.K.copy()
        K[:2] *= np.array([[width / view.size[0]], [height / view.size[1]]])
        image = np.repeat(photo, 3, -1) if photo.shape[-1] == 1 else photo
        photographs.append(Photograph(view, image, keep > 0.5, view.c2w, K))
    return photographs
