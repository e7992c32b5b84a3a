"""Ear clipping: the triangles of a polygon that is not convex, holes cut open included.

An ear is a convex corner whose triangle has no other part of the polygon in it; every simple
polygon has two (Meisters 1975). Corners in the same place, as where a cut leads to a hole and back,
block an ear only if the polygon enters its triangle there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdfrender.kernels.compiled import kernel, scalar

TINY = 1e-14  # area, of a polygon within [-1, 1]², that counts as none


@kernel
def clip_ears(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """`[n − 2, 3]` triangles of a polygon `[n, 2]`, counter-clockwise, within [-1, 1]².

    Every corner is used, also those on a straight side: neighbours may meet there. Polygons that
    cross themselves are cut somehow.
    """
    n = len(points)
    left = np.arange(n)
    found = np.zeros((n - 2, 3), np.int64)
    count, at, tried = n, 0, 0
    while count > 3:
        strict = tried < count  # afterwards take flat corners, then any
        a, b, c = left[(at - 1) % count], left[at % count], left[(at + 1) % count]
        area = _area(points, a, b, c)
        flat = abs(area) <= TINY and 2 * count > tried >= count
        if (area > TINY and strict and _is_ear(points, left, count, at % count)) or (
            flat or tried >= 2 * count
        ):
            found[n - count] = a, b, c
            for i in range(at % count, count - 1):
                left[i] = left[i + 1]
            at = at % count
            count, tried = count - 1, 0
        else:
            at, tried = at + 1, tried + 1
    found[n - 3] = left[0], left[1], left[2]
    return found


@scalar
def _area(points: NDArray[np.float64], a: int, b: int, c: int) -> float:
    """Twice the signed area."""
    ux, uy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
    vx, vy = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1]
    return float(ux * vy - uy * vx)


@scalar
def _is_ear(points: NDArray[np.float64], left: NDArray[np.int64], count: int, at: int) -> bool:
    """Whether nothing of what is `left` is in the triangle at a convex corner."""
    a, b, c = left[(at - 1) % count], left[at], left[(at + 1) % count]
    for k in range(2, count - 1):
        i = (at + k) % count
        j = left[i]
        before, after = left[(i - 1) % count], left[(i + 1) % count]
        for corner, nxt, last in ((a, b, c), (b, c, a), (c, a, b)):
            if points[j, 0] == points[corner, 0] and points[j, 1] == points[corner, 1]:
                for q in (before, after):
                    if _area(points, corner, nxt, q) > 0 and _area(points, corner, last, q) < 0:
                        return False
                break
        else:
            if (
                _area(points, a, b, j) >= 0
                and _area(points, b, c, j) >= 0
                and _area(points, c, a, j) >= 0
            ):
                return False
    return True
