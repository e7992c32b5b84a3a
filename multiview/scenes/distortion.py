"""Lens distortion: pictures as a pinhole camera of the same intrinsics would have taken them.

`x, y` are directions in the camera's frame divided by depth, `r² = x² + y²`. A lens moves them to

    x (1 + k1 r² + k2 r⁴ + …) / (1 + …) + 2 p1 x y + p2 (r² + 2 x²)
    y (1 + k1 r² + k2 r⁴ + …) / (1 + …) + p1 (r² + 2 y²) + 2 p2 x y

and a fisheye, with θ = atan r, to `(x, y) θ (1 + k1 θ² + k2 θ⁴ + …) / r`; the intrinsics make
pixels of them. These are the models of OpenCV and COLMAP. Undistorting asks where each pixel of the
new picture was in the old one, which the model answers directly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sdfrender.files.images import Image

Array = NDArray[np.float64]

INVERSE_STEPS = 30
STEPS = 1000  # at which the curve of a lens is looked at


@dataclass(frozen=True)
class Lens:
    """A lens that is not a pinhole.

    Args:
        radial: k1, k2, … of the numerator, or of the fisheye.
        divisor: those of the denominator.
        tangential: p1 and p2.
        fisheye: whether the radial terms are of the angle.
    """

    radial: tuple[float, ...] = ()
    divisor: tuple[float, ...] = ()
    tangential: tuple[float, float] = (0.0, 0.0)
    fisheye: bool = False

    @property
    def is_pinhole(self) -> bool:
        """Whether it leaves every direction as it is."""
        return not self.fisheye and not any((*self.radial, *self.divisor, *self.tangential))

    def distort(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Where the lens puts ideal directions, in the same units."""
        r2 = x * x + y * y
        p1, p2 = self.tangential
        scale = self._scale(np.sqrt(r2))
        return (
            x * scale + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * scale + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )

    def straighten(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The ideal directions that the lens puts at `x, y`: the inverse of `distort`.

        By fixed-point iteration, good to 1e-6 for lenses that move no direction by more than about
        a third of its radius.
        """
        straight_x, straight_y = x.copy(), y.copy()
        for _ in range(INVERSE_STEPS):
            moved_x, moved_y = self.distort(straight_x, straight_y)
            left_x, left_y = x - moved_x, y - moved_y
            straight_x, straight_y = straight_x + left_x, straight_y + left_y
            if max(np.abs(left_x).max(), np.abs(left_y).max()) < 1e-9:
                break
        return straight_x, straight_y

    def reach(self, farthest: float) -> float:
        """The radius, at most `farthest`, up to which the lens keeps the order of radii.

        Farther out its polynomial turns back and would show parts of the picture again.
        """
        r = np.linspace(0, farthest, STEPS)
        turns = np.flatnonzero(np.diff(r * self._scale(r)) <= 0)
        return float(r[turns[0]]) if len(turns) else farthest

    def _scale(self, r: Array) -> Array:
        """Distorted over ideal radius, without the tangential terms."""
        angle: Array = np.arctan(r) if self.fisheye else r
        scale = _polynomial(self.radial, angle**2) / _polynomial(self.divisor, angle**2)
        if self.fisheye:
            scale = scale * np.where(r > 1e-9, angle / np.where(r > 1e-9, r, 1), 1.0)
        return scale


def undistort(
    planes: Image, lens: Lens, K: Array, nearest: bool = False
) -> tuple[Image, NDArray[np.bool_]]:
    """Pictures without the lens's distortion, bilinear.

    Args:
        planes: `[H, W, C]`, what the lens shows. Multiply colour by coverage first.
        lens: that took them.
        K: `[3, 3]` pixels, of the lens and of the pinhole camera that replaces it.
        nearest: take the nearest pixel instead, for what has no mean, as depths at an edge.

    Returns:
        `[H, W, C]`, 0 where the lens shows nothing, and `[H, W]` whether it shows something.
    """
    H, W, C = planes.shape
    rows, columns, seen = _positions(lens, tuple(K.ravel().tolist()), W, H)
    straight: Image = np.zeros_like(planes)
    for c in range(C):
        order = 0 if nearest else 1
        plane = ndimage.map_coordinates(
            planes[..., c], (rows, columns), order=order, mode="nearest"
        )
        straight[..., c] = np.where(seen, plane, 0)
    return straight, seen


@lru_cache(maxsize=2)
def _positions(
    lens: Lens, K: tuple[float, ...], width: int, height: int
) -> tuple[Image, Image, NDArray[np.bool_]]:
    """Row and column in the lens's picture of each pixel, counted from the first pixel's centre."""
    matrix = np.array(K).reshape(3, 3)
    v, u = (np.mgrid[:height, :width] + 0.5).astype(np.float64)
    inverse: Array = np.linalg.inv(matrix)
    x, y = (inverse[i, 0] * u + inverse[i, 1] * v + inverse[i, 2] for i in (0, 1))
    radii = np.hypot(x, y)
    reach = lens.reach(float(radii.max()))
    moved = lens.distort(x, y)
    columns, rows = (m[0] * moved[0] + m[1] * moved[1] + m[2] for m in matrix[:2])
    inside = (columns >= 0) & (columns <= width) & (rows >= 0) & (rows <= height)
    seen = inside & (radii <= reach)
    row, column = ((np.where(seen, x, 0) - 0.5).astype(np.float32) for x in (rows, columns))
    return row, column, seen


def _polynomial(coefficients: tuple[float, ...], s: Array) -> Array:
    """`1 + k1 s + k2 s² + …`."""
    value: Array = np.polynomial.polynomial.polyval(s, np.array((1.0, *coefficients)))
    return value
