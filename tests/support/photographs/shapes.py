"""Objects of five categories as signed distances in NumPy: y up, longest side about 1.5."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Shape = Callable[[Floats], Floats]  # [P, 3] to [P], a bound of the distance, negative inside


def box(center: tuple[float, ...], half: tuple[float, ...], rounding: float = 0.01) -> Shape:
    """A box with rounded edges."""

    def distance(p: Floats) -> Floats:
        q = np.abs(p - np.array(center)) - (np.array(half) - rounding)
        outside = np.linalg.norm(np.maximum(q, 0), axis=-1)
        return np.asarray(outside + np.minimum(q.max(-1), 0) - rounding)

    return distance


def rod(start: tuple[float, ...], end: tuple[float, ...], radius: float) -> Shape:
    """A capsule."""
    a, b = np.array(start), np.array(end)

    def distance(p: Floats) -> Floats:
        t = ((p - a) @ (b - a) / ((b - a) @ (b - a))).clip(0, 1)
        return np.asarray(np.linalg.norm(p - a - t[:, None] * (b - a), axis=-1) - radius)

    return distance


def turned(heights: list[float], radii: list[float], wall: float | None = None) -> Shape:
    """A solid of revolution about y, its radius linear between heights; with `wall`, a vessel."""
    low, high = heights[0], heights[-1]
    slope = max(abs(np.diff(radii) / np.diff(heights)))
    flat = 1 / np.hypot(1, slope)  # so that it never is more than the distance

    def distance(p: Floats) -> Floats:
        around, y = np.hypot(p[:, 0], p[:, 2]), p[:, 1]
        side = (around - np.interp(y, heights, radii)) * flat
        solid = np.maximum(side, np.maximum(low - y, y - high))
        if wall is None:
            return np.asarray(solid)
        hollow = np.maximum(side + wall * flat, low + wall - y)
        return np.asarray(np.maximum(solid, -hollow))

    return distance


def ring(center: tuple[float, ...], radii: tuple[float, float], thick: float) -> Shape:
    """An upright elliptic ring in the plane z = 0: the handle of a cup."""

    def distance(p: Floats) -> Floats:
        q = p - np.array(center)
        stretched = np.hypot(q[:, 0] / radii[0], q[:, 1] / radii[1])
        flat = (stretched - 1) * min(radii)
        return np.asarray(np.hypot(flat, q[:, 2]) - thick)

    return distance


def joined(*parts: Shape) -> Shape:
    """All of them."""
    return lambda p: np.minimum.reduce([part(p) for part in parts])


def without(shape: Shape, other: Shape) -> Shape:
    """The first, outside the second."""
    return lambda p: np.maximum(shape(p), -other(p))


# ---------------------------------------------------------------------- objects


def cup(height: float = 0.62, radius: float = 0.5, widening: float = 0.0) -> Shape:
    """A cup with a handle."""
    heights, radii = [-height, height], [radius - widening, radius + widening]
    solid = turned(heights, [r - 0.04 for r in radii])
    handle = ring((radius, 0.0, 0.0), (0.32, 0.36), 0.06)
    body = joined(turned(heights, radii, wall=0.08), without(handle, solid))
    return lambda p: body(p + np.array([0.18, 0.0, 0.0]))


def vase(radii: tuple[float, ...] = (0.25, 0.42, 0.45, 0.3, 0.17, 0.24)) -> Shape:
    """A vase with a neck."""
    return turned(np.linspace(-0.75, 0.75, len(radii)).tolist(), list(radii), wall=0.05)


def chair(back: float = 0.75, width: float = 0.34, leg: float = 0.04) -> Shape:
    """Four legs, a seat, a back at −z."""
    legs = [
        box((x * (width - leg), -0.4, z * (width - leg)), (leg, 0.35, leg))
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    seat = box((0.0, -0.04, 0.0), (width, 0.05, width))
    rest = box((0.0, 0.5 * back, -width + 0.04), (width, 0.5 * back, 0.04))
    return joined(seat, rest, *legs)


def table(depth: float = 0.45, height: float = 0.42, leg: float = 0.05) -> Shape:
    """A top on four legs."""
    legs = [
        box((x * (0.7 - leg), -0.05, z * (depth - leg)), (leg, height - 0.05, leg))
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    return joined(box((0.0, height - 0.05, 0.0), (0.75, 0.05, depth)), *legs)


def airplane(wings: float = 0.68, sweep: float = 0.22) -> Shape:
    """A fuselage along z, wings, a tail."""
    tail = (0.0, 0.02, -0.66)
    parts = [
        rod((0.0, 0.0, 0.64), (0.0, 0.0, -0.5), 0.1),
        rod((0.0, 0.0, -0.4), tail, 0.06),
        rod((0.0, 0.02, -0.56), (0.0, 0.3, -0.7), 0.04),
    ]
    for side in (-1, 1):
        for forward in (0.0, 0.07, 0.14):
            end = (side * wings, 0.02, 0.02 - sweep + 0.5 * forward)
            parts.append(rod((0.0, -0.02, forward), end, 0.035))
        parts.append(rod(tail, (side * 0.27, 0.05, -0.72), 0.035))
    return joined(*parts)


def solid(shape: Shape, resolution: int = 32) -> NDArray[np.bool_]:
    """`[R, R, R]` bool over the box [-1, 1]³, after the middle and longest side are canonical."""
    fine = _grid(64)
    inside = fine[shape(fine) < 0]
    low, high = inside.min(0), inside.max(0)
    scale = float((high - low).max() + 2 / 63) / 1.5
    places = _grid(resolution) * scale + (low + high) / 2
    return np.asarray(shape(places) < 0).reshape((resolution,) * 3)


def _grid(resolution: int) -> Floats:
    steps = np.linspace(-1, 1, resolution)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
