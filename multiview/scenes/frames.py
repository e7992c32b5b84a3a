"""Pictures of several sizes in one frame: each is padded on the right and below.

All are brought to the same longer side, and the frame is as wide as the widest and as high as the
highest is then. Padding there leaves the principal point where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from multiview.scenes.scene import Array, View
from sdfrender.files.images import Image


def with_frames(views: Sequence[View]) -> list[View]:
    """The views with frames of their own, if their pictures have several sizes."""
    if len({view.size for view in views}) == 1:
        return list(views)
    width, height = (max(view.size[k] / max(view.size) for view in views) for k in (0, 1))
    return [
        replace(view, frame=(_up(width * max(view.size)), _up(height * max(view.size))))
        for view in views
    ]


def framed_size(view: View) -> tuple[int, int]:
    """Width and height of a view's picture with its padding, pixels of the picture."""
    return view.frame or view.size


def in_common(views: Sequence[View]) -> tuple[list[Array], tuple[int, int]]:
    """Intrinsics `[3, 3]` of each view for one size, that of the largest, and that size."""
    size = max((framed_size(view) for view in views), key=lambda size: size[0] * size[1])
    Ks = []
    for view in views:
        own = framed_size(view)
        Ks.append(np.diag((size[0] / own[0], size[1] / own[1], 1.0)) @ view.K)
    return Ks, size


def padded(planes: Image, view: View) -> Image:
    """`[H, W, C]` of a view's picture in its frame; 0 in all planes where there is no picture."""
    width, height = framed_size(view)
    H, W = planes.shape[:2]
    if view.frame is None or (width, height) == (W, H):
        return planes
    framed: Image = np.pad(planes, ((0, height - H), (0, width - W), (0, 0)))
    return framed


def _up(pixels: float) -> int:
    """To whole pixels; rounding errors add none."""
    return math.ceil(pixels - 1e-6)
