"""The 24 rotations that take a cube to itself, and what they do to voxels: no resampling."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from sdfrender.geometry.mesh_files import Doubles

Solid = NDArray[np.float32]  # [R, R, R], over a cube about the origin


def rotations() -> list[Doubles]:
    """`[3, 3]` each; the first is the identity."""
    found = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        R = np.zeros((3, 3))
        R[range(3), order] = signs
        if np.linalg.det(R) > 0:
            found.append(R)
    return found


def turned(solid: Solid, R: Doubles) -> Solid:
    """Voxels of the object after its points were turned by one of the 24: `x → R x`.

    Row i of R has its one number at j: axis i of the result is axis j of `solid`, the other way
    round if the number is −1.
    """
    axes = np.abs(R).argmax(1)
    flipped = tuple(i for i in range(3) if R[i, axes[i]] < 0)
    return np.ascontiguousarray(np.flip(solid.transpose(axes), flipped))
