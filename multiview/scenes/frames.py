"""Pictures of several sizes in one frame: each is padded on the right and below.

All are brought to the same longer side, and the frame is as wide as the widest and as high as the
highest is then. Padding there leaves the principal point where it is. Maps go the same way.
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


def in_frame(plane: Image, view: View) -> Image:
    """`[H, W, …]` of a view's picture, or of a map of it, in its frame; 0 beyond the picture.

    A map may have more or fewer pixels than the picture; its frame has as many for one of its own.
    """
    if view.frame is None:
        return plane
    more = [
        max(0, round(has * framed / own) - has)
        for has, own, framed in zip(plane.shape[1::-1], view.size, view.frame, strict=True)
    ]
    pads = [(0, more[1]), (0, more[0]), *[(0, 0)] * (plane.ndim - 2)]
    framed: Image = np.pad(plane, pads)
    return framed


def _up(pixels: float) -> int:
    """To whole pixels; rounding errors add none."""
    return math.ceil(pixels - 1e-6)
