"""Places far from the origin, as of maps in metres, which float32 cannot tell apart.

Float32 has 24 bits: at 5 000 000 m its steps are half a metre. Everything here is computed near the
origin and in float32; what is far is moved there by an offset in float64, and results are moved
back. An offset is zero wherever float32 does, so that nothing changes there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import trimesh

Doubles = NDArray[np.float64]

PRECISION = 1e-5  # of the extent, that positions may be rounded by
EPSILON = 2.0**-24  # relative error of float32


def far_offset(points: Doubles, extent: float | None = None) -> Doubles:
    """What to take from points so that float32 holds them.

    Args:
        points: `[P, 3]`, at least one.
        extent: what their rounding is compared with; default: the longest side of their box, or 1
            if they are all in one place.

    Returns:
        `[3]` the middle of their box with the digits that matter; zeros where float32 rounds the
        points by no more than `PRECISION` of `extent`.

    Worked value: for points around (431234.2, 5412345.3, 312) within 2 of each other it is
    (431234, 5412345, 312), and for a box that holds the origin it is zero.
    """
    low, high = points.min(0), points.max(0)
    extent = extent or float((high - low).max()) or 1.0
    if EPSILON * float(np.abs(points).max()) <= PRECISION * extent:
        return np.zeros(3)
    step = 10.0 ** math.floor(math.log10(extent))
    offset: Doubles = np.round((low + high) / 2 / step) * step
    return offset


def is_far(points: Doubles, extent: float | None = None) -> bool:
    """Whether `points` `[P, 3]` need an offset; arguments as of `far_offset`."""
    return bool(far_offset(points, extent).any())


def moved(mesh: trimesh.Trimesh, offset: Doubles) -> trimesh.Trimesh:
    """The mesh with `offset` `[3]` added to its vertices, in float64; itself if that is zero."""
    if not offset.any():
        return mesh
    shifted = mesh.copy()
    shifted.vertices = np.asarray(mesh.vertices, np.float64) + offset
    return shifted
