"""Silhouettes from the colour of a plain or smoothly shaded background.

The background's colour is a quadratic polynomial of the position in the picture. It is estimated
where no object can be: outside the cones of the views whose masks are known, else along the
picture's rim. What differs from it is object.

An object that has the background's colour in places cannot be told apart there; `missing.py` finds
where that may be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sdfrender.files.images import Image
from sdfrender.masks.silhouettes import Mask, closed_silhouette

RIM = 0.04  # of the picture's shorter side: where the background is looked at if nothing is known
PLAIN = 0.06  # a background whose colour strays farther from its model than this is not plain
OBJECT = 0.1  # a larger difference in the rim is an object that leaves the frame
LEAST_RIM = 0.6  # of the rim must be background
TOLERANCE = (0.04, 0.2)  # least and largest difference that still counts as background
MARGIN = 1.25  # of the tolerance over the differences seen in the background
LEAST_KNOWN = 0.01  # of the picture: less background than this says nothing
SHARES = (0.001, 0.95)  # least and largest part of the picture that is taken for an object


@dataclass(frozen=True, eq=False)
class Background:
    """A picture's background.

    Args:
        difference: `[H, W]` from it, the largest of the channels.
        tolerance: up to which a difference counts as background.
    """

    difference: Image
    tolerance: float

    @property
    def looks_like(self) -> Mask:
        """`[H, W]` whether a pixel may be background by its colour."""
        same: Mask = self.difference <= self.tolerance
        return same


def find_background(photo: Image, outside: Mask | None, seen: Mask) -> Background | str:
    """The background of a picture, or why there is none to be found.

    Args:
        photo: `[H, W, C]` in [0, 1].
        outside: `[H, W]` where no object can be, if that is known.
        seen: `[H, W]` where the picture shows anything.
    """
    H, W, C = photo.shape
    v, u = np.mgrid[:H, :W]
    x, y = (2 * u + 1) / W - 1, (2 * v + 1) / H - 1
    basis = np.stack((np.ones_like(x), x, y, x * x, x * y, y * y), -1)  # (H, W, 6)
    where = seen & (rim(seen) if outside is None else outside)
    if where.mean() < LEAST_KNOWN:
        return "hardly any background is in the picture"
    model = np.zeros((6, C))
    model[0] = np.median(photo[where], 0)
    for _ in range(6):  # without what does not fit
        difference = np.abs(photo - basis @ model).max(-1)
        limit = max(3 * 1.4826 * float(np.median(difference[where])), 0.02)
        kept = where & (difference <= limit)
        model = np.linalg.lstsq(basis[kept], photo[kept], rcond=None)[0]
    difference = np.abs(photo - basis @ model).max(-1).astype(np.float32)
    if outside is None:  # the object may leave the frame
        edge, where = where, where & (difference <= OBJECT)
        if where.sum() < LEAST_RIM * edge.sum():
            return "its rim shows no one smooth colour"
    spread = float(np.quantile(difference[where], 0.9))
    if spread > PLAIN:
        return f"its background varies by {spread:.2f} (at most {PLAIN})"
    tolerance = MARGIN * float(np.quantile(difference[where], 0.99 if outside is None else 0.999))
    return Background(difference, float(np.clip(tolerance, *TOLERANCE)))


def background_silhouette(
    background: Background, possible: Mask, seen: Mask
) -> tuple[Image, Image] | str:
    """The silhouette of what differs from the background, or why there is none.

    Args:
        background: of the picture.
        possible: `[H, W]` where the object may be.
        seen: `[H, W]` where the picture shows anything.

    Returns:
        `[H, W]` silhouette, 0 or 1, and `[H, W]` weights, 0 at the pixels that were closed.
    """
    silhouette, known = closed_silhouette(~background.looks_like & possible & seen)
    share = float(silhouette.mean())
    if not SHARES[0] <= share <= SHARES[1]:
        return f"{share:.0%} of it differ from its background"
    return silhouette, known


def disk_radius(mask: Mask) -> float:
    """Radius of the largest disk in a mask `[H, W]`, as a fraction of its longest side."""
    if not mask.any():
        return 0.0
    framed = np.pad(mask, 1)
    radius = float(ndimage.distance_transform_edt(framed).max())
    return radius / float(max(mask.shape))


def rim(seen: Mask) -> Mask:
    """`[H, W]` along the picture's sides; where little of that is seen, along those of what is."""
    border = max(1, round(RIM * min(seen.shape)))
    edge = np.ones_like(seen)
    edge[border:-border, border:-border] = False
    if (edge & seen).sum() < LEAST_RIM * edge.sum():
        whole = ndimage.binary_fill_holes(seen)
        edge = whole & ~ndimage.binary_erosion(whole, iterations=border)
    return edge
