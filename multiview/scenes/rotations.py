"""Rotations that were rounded when they were written, made orthonormal again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from multiview.scenes.scene import Array, View
from sdfrender.errors import InputError

ROUNDED = 0.02  # largest error of RᵀR that is taken for rounding; two decimals have less
FAR = 1e15  # world units: beyond, squares of squares leave float64
LONGEST = 1e9  # pixels
LEAST_FOCAL = 0.02  # of the longer side of a picture, which is a view of 175 degrees
EXACT = 2e-4  # what cameras may be off without a word


def orthonormal(views: Sequence[View]) -> tuple[list[View], list[str]]:
    """Views whose rotations are such, and a note if some were rounded.

    The nearest rotation is the orthogonal factor of the polar decomposition. A matrix that is
    mirrored, scaled or not finite stays as it is, for the check of cameras to refuse.
    """
    found, rounded = [], list[tuple[str, float]]()
    for view in views:
        R = view.c2w[:3, :3]
        error = _error(R)
        if EXACT < error <= ROUNDED and np.linalg.det(R) > 0:
            U, _, Vt = np.linalg.svd(R)
            c2w = view.c2w.copy()
            c2w[:3, :3] = U @ Vt
            view = replace(view, c2w=c2w)
            rounded.append((view.name, error))
        found.append(view)
    if not rounded:
        return found, []
    name, worst = max(rounded, key=lambda each: each[1])
    return found, [
        f"the rotations of {len(rounded)} of {len(views)} cameras are rounded (off by up to "
        f"{worst:.1g}, view '{name}') and were made orthonormal: more decimals are better"
    ]


def check_camera(file: Path, view: View) -> None:
    """Refuse a camera whose numbers cannot be those of one.

    Raises:
        InputError: not finite, farther away than `FAR`, or intrinsics that are not upper
            triangular with 1 at the end, singular, or not in pixels.
    """
    for name, matrix, largest in (("pose", view.c2w, FAR), ("intrinsics", view.K, LONGEST)):
        if not (np.abs(matrix) <= largest).all():
            bad = matrix[~(np.abs(matrix) <= largest)][0]
            raise InputError(
                f"{file}: view '{view.name}': its {name} need finite numbers up to {largest:g}, "
                f"got {bad:g}"
            )
    below = np.abs([view.K[1, 0], view.K[2, 0], view.K[2, 1], view.K[2, 2] - 1]).max()
    focal = min(view.K[0, 0], view.K[1, 1])
    if below > 1e-3 or not focal > 1e-6:
        raise InputError(
            f"{file}: view '{view.name}': need intrinsics with positive focal lengths, 0 below the "
            f"diagonal and 1 at its end, got {view.K.round(6).tolist()}"
        )
    if focal < LEAST_FOCAL * max(view.size):
        raise InputError(
            f"{file}: view '{view.name}': need focal lengths in pixels, got {focal:g} for a "
            f"picture of {view.size[0]}×{view.size[1]}: are they parts of its size?"
        )


def _error(R: Array) -> float:
    """Largest entry of RᵀR − 1."""
    return float(np.abs(R.T @ R - np.eye(3)).max()) if np.isfinite(R).all() else np.inf
