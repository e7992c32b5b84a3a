"""What the surface under the object looks like, and which pixels do not look like it.

All photographs show the same plane, so their middle says what it looks like, shadows and stripes
with it, wherever most of them are not covered by the object. A pixel whose ray meets the plane and
which looks otherwise shows something that stands before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from multiview.segmentation.object_box import Fixation, Plane
from multiview.segmentation.photograph import Array, Floats, Mask, Photograph

EXTENT = 0.9  # half side of the part that is looked at, in the cameras' distance
TEXELS = 480  # along its sides
LEAST_VIEWS = 4  # that show a texel
MOST_VIEWS = 40  # that are looked at, evenly chosen
QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, eq=False)
class Support:
    """The look of a plane.

    Args:
        origin: `[3]` the middle of the part that is known, world units.
        axes: `[2, 3]` unit vectors in the plane.
        texel: side of a texel, world units.
        plane: in the world.
        lower, upper: `[T, T, 3]` what photographs agree to see there, in [0, 1].
        known: `[T, T]` where enough photographs show it.
        gains: `[N, 3]` of the photographs, against their common exposure.
    """

    origin: Array
    axes: Array
    texel: float
    plane: Plane
    lower: Floats
    upper: Floats
    known: Mask
    gains: Array

    def difference(self, photographs: list[Photograph], n: int) -> tuple[Floats, Mask]:
        """How far a picture's pixels are from the plane's look, `[H, W]`, and where that is known.

        The distance in colour, in [0, 1] per channel, from all that the pixel's neighbourhood on
        the plane looks like.
        """
        photo = photographs[n]
        rays = photo.directions()
        slope = rays @ self.plane.normal
        height = float(self.plane.heights(photo.center))
        down = slope < -1e-6
        points = photo.center + rays * (-height / np.where(down, slope, -1.0))[..., None]
        places = (points - self.origin) @ self.axes.T / self.texel + 0.5 * len(self.known)
        row, column = (np.floor(places[..., i].clip(-1, 1e6)).astype(int) for i in (0, 1))
        last = len(self.known) - 1
        met = down & (row >= 0) & (row <= last) & (column >= 0) & (column <= last)
        at = row.clip(0, last), column.clip(0, last)
        known = met & self.known[at] & photo.seen
        beyond = np.zeros(photo.shape, np.float32)
        for c in range(3):
            low, high = (x[at][..., c] * self.gains[n, c] for x in (self.lower, self.upper))
            low = ndimage.minimum_filter(np.where(known, low, 2.0), 3)
            high = ndimage.maximum_filter(np.where(known, high, -1.0), 3)
            value = photo.image[..., c]
            beyond += np.maximum(np.maximum(low - value, value - high), 0) ** 2
        return np.where(known, np.sqrt(beyond), 0).astype(np.float32), known


def look_of(
    plane: Plane, photographs: list[Photograph], fixation: Fixation, covered: list[Mask]
) -> Support:
    """What the photographs show on a plane.

    Args:
        plane: that the object stands on.
        photographs: N of them.
        fixation: where they look; the part of the plane about that point is looked at.
        covered: `[H, W]` each, where the object may be.
    """
    origin = fixation.point - plane.heights(fixation.point) * plane.normal
    first = np.cross(plane.normal, np.eye(3)[np.abs(plane.normal).argmin()])
    first /= np.linalg.norm(first)
    axes = np.stack((first, np.cross(plane.normal, first)))
    texel = 2 * EXTENT * fixation.distance / TEXELS
    steps = (np.arange(TEXELS) + 0.5 - 0.5 * TEXELS) * texel
    points = (origin + (steps[:, None, None] * axes[0] + steps[None, :, None] * axes[1])).reshape(
        -1, 3
    )
    count = min(len(photographs), MOST_VIEWS)
    chosen = np.unique(np.linspace(0, len(photographs) - 1, count).round().astype(int))
    looks = np.stack([_look(photographs[n], points, covered[n]) for n in chosen])
    own = dict(zip(chosen.tolist(), looks, strict=True))
    gains = np.ones((len(photographs), 3))
    lower, middle, upper, shown = _quartiles(looks)
    for n, photo in enumerate(photographs):
        look = own[n] if n in own else _look(photo, points, covered[n])
        both = np.isfinite(look).all(-1) & (shown >= LEAST_VIEWS)
        if both.sum() > 100:
            gains[n] = np.median(look[both] / np.maximum(middle[both], 1e-3), 0)
    looks /= gains[chosen, None].astype(np.float32)
    lower, middle, upper, shown = _quartiles(looks)
    side = (TEXELS, TEXELS)
    return Support(
        origin, axes, texel, plane, lower.reshape(*side, 3), upper.reshape(*side, 3),
        (shown >= LEAST_VIEWS).reshape(side), gains,
    )  # fmt: skip


def _look(photo: Photograph, points: Array, covered: Mask) -> Floats:
    """`[P, 3]` what a photograph shows at points, NaN where it does not show them."""
    row, column, framed = photo.pixels_of(points)
    look: Floats = photo.image[row, column].astype(np.float32)
    look[~framed | covered[row, column] | ~photo.seen[row, column]] = np.nan
    return look


def _quartiles(looks: Floats) -> tuple[Floats, Floats, Floats, Array]:
    """Quartiles `[P, 3]` over `[N, P, 3]` looks, NaN left out, and `[P]` how many there were."""
    ordered = np.sort(looks, 0)  # NaN last
    shown = np.isfinite(looks[..., 0]).sum(0)
    low, middle, high = (
        np.take_along_axis(ordered, np.rint(q * (shown - 1).clip(0)).astype(int)[None, :, None], 0)[
            0
        ]
        for q in QUARTILES
    )
    return low, middle, high, shown
