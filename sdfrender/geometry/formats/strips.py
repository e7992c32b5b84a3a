"""Triangle strips and fans, as PLY and glTF have them, to triangles."""

from __future__ import annotations

import numpy as np

from sdfrender.geometry.formats.polygons import Indices


def strip_triangles(corners: Indices, counts: Indices, restart: int | None = None) -> Indices:
    """`[F, 3]` triangles of strips; every second one is turned, so that all face the same way.

    Args:
        corners: `[C]` numbers of vertices, strip after strip.
        counts: `[S]` corners of each strip.
        restart: a number that is no vertex: after it a new strip begins.
    """
    strip = np.repeat(np.arange(len(counts)), counts)
    breaks = corners == restart if restart is not None else np.zeros(len(corners), bool)
    strip = strip * (len(corners) + 1) + np.cumsum(breaks)
    corners, strip = corners[~breaks], strip[~breaks]
    if len(corners) < 3:
        return np.zeros((0, 3), np.int64)
    first = np.flatnonzero(np.diff(strip, prepend=strip[0] - 1))
    place = np.arange(len(corners)) - np.repeat(first, np.diff(first, append=len(corners)))
    start = np.flatnonzero(strip[:-2] == strip[2:])
    odd = place[start] % 2
    return np.stack((corners[start], corners[start + 1 + odd], corners[start + 2 - odd]), -1)


def fan_triangles(corners: Indices) -> Indices:
    """`[F, 3]` triangles of one fan `[C]`."""
    middle = corners[1:-1]
    return np.stack((np.full_like(middle, corners[0]), middle, corners[2:]), -1)
