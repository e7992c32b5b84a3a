"""The last degrees: iterative closest points of a mesh to its neighbours in the category."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from sdfrender.geometry.mesh_files import Doubles

STEPS = 30  # of closest points, at most
TRUSTED = 0.8  # of the points, the nearest ones, count
MOST = np.radians(40)  # further than that, one of the 24 rotations would have been nearer
STILL = 1e-4  # radians in a step, after which nothing moves


def closer(points: Doubles, target: Doubles) -> Doubles:
    """The rotation `[3, 3]` that brings points nearer to a target, by iterative closest points.

    Only turns about the origin; the middle of each mesh's box is there. Not differentiable.

    Args:
        points: `[P, 3]` on a mesh.
        target: `[Q, 3]` on others, in the canonical frame.

    Returns:
        The identity where it would turn too far.
    """
    tree = KDTree(target)
    R = np.eye(3)
    for _ in range(STEPS):
        moved = points @ R.T
        distances, nearest = tree.query(moved)
        close = distances <= np.quantile(distances, TRUSTED)
        step = Rotation.align_vectors(target[nearest[close]], moved[close])[0]
        R = step.as_matrix() @ R
        if step.magnitude() < STILL:
            break
    turn: Doubles = R if Rotation.from_matrix(R).magnitude() < MOST else np.eye(3)
    return turn
