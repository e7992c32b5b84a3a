"""Rotations that were rounded when they were written, made orthonormal again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from multiview.scenes.scene import Array, View

ROUNDED = 0.02  # largest error of RᵀR that is taken for rounding; two decimals have less
EXACT = 5e-4  # what cameras may be off without a word


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


def _error(R: Array) -> float:
    """Largest entry of RᵀR − 1."""
    return float(np.abs(R.T @ R - np.eye(3)).max()) if np.isfinite(R).all() else np.inf
