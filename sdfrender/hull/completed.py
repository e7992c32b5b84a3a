"""Silhouettes that the frame cuts a little, continued beyond it.

A view whose silhouette reaches the edge of the frame says nothing about what lies outside of the
frame. Where hardly any view shows the whole object, the space that few frames hold would be left
full. Where a silhouette narrows towards the cut it is continued to a tip, and the rest beyond the
frame is taken for empty: the square of its width, which for a round end is linear in the distance
from the tip, is c² at the cut and w² at d pixels within; it ends d c² / (w² − c²) beyond.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.view.cameras import Cameras

INWARDS = 0.25  # of the length of a cut: where the other width is measured
LONGEST = 0.5  # of the length of a cut: what would go on farther is left open
ROOM = 1.25  # by which silhouettes are continued farther than they should end
MOST = 0.75  # of the views that are cut are continued, or none

Cut = tuple[int, int, int, float]  # quarter turns that bring the side above, first, last, height


def completed(
    cameras: Cameras, silhouettes: Tensor, weights: Tensor
) -> tuple[Cameras, Tensor, Tensor]:
    """Views with a border around their frames, in which their silhouettes go on.

    Args:
        cameras: N views.
        silhouettes: `[N, H, W]` coverage in [0, 1].
        weights: `[N, H, W]` 1 where the silhouette is known, 0 where it is not.

    Returns:
        The same views with larger frames, `[N, H + 2b, W + 2b]` silhouettes and weights: 0 in the
        border of views that are not continued. As they are if more than a quarter of the views show
        the whole object, or most cuts are too long.
    """
    N, H, W = silhouettes.shape
    inside = ((silhouettes > 0.5) & (weights > 0)).cpu().numpy()
    cuts = [_cuts(view) for view in inside]
    shown = int(inside.any((1, 2)).sum())
    cut = [n for n in range(N) if cuts[n]]
    short = [n for n in cut if all(c[3] <= LONGEST * (c[2] - c[1]) for c in cuts[n])]
    if not cut or shown - len(cut) > shown // 4 or len(short) < MOST * len(cut):
        return cameras, silhouettes, weights
    b = 2 + math.ceil(ROOM * max(c[3] for n in short for c in cuts[n]))
    larger = torch.nn.functional.pad(silhouettes, (b, b, b, b))
    known = torch.nn.functional.pad(weights, (b, b, b, b), value=1.0)
    planes = larger.numpy()
    for n in cut:
        if n not in short:
            known[n] = torch.nn.functional.pad(weights[n], (b, b, b, b))
            continue
        for side, first, last, height in cuts[n]:
            above = np.rot90(planes[n], side)[:b, b + first : b + last]
            above[:] = _tip(last - first, b, ROOM * height + 1)
    Ks = cameras.Ks.clone()
    Ks[:, :2, 2] += b
    return Cameras(cameras.c2w, Ks, W + 2 * b, H + 2 * b), larger, known


def _cuts(inside: NDArray[np.bool_]) -> list[Cut]:
    """The cuts of a silhouette `[H, W]`, and how far it should go on beyond each."""
    found = []
    for side in range(4):
        turned = np.rot90(inside, side)
        for first, last in _runs(turned[0]):
            length, middle = last - first, (first + last) // 2
            d = min(max(2, round(INWARDS * length)), len(turned) - 1)
            width = sum(j - i for i, j in _runs(turned[d]) if i <= middle < j)
            grows = width**2 - length**2
            height = d * length**2 / grows if grows > 0 else math.inf
            found.append((side, first, last, height))
    return found


def _runs(row: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last + 1 of what is true together in a row `[W]`."""
    steps = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0))
    return [(int(i), int(j)) for i, j in zip(steps[::2], steps[1::2], strict=True)]


def _tip(length: int, rows: int, height: float) -> NDArray[np.bool_]:
    """`[rows, length]` a round end on a cut, whose square of the width is linear."""
    x = (np.arange(length) + 0.5) / length * 2 - 1
    y = (np.arange(rows, 0, -1) - 0.5)[:, None] / height
    tip: NDArray[np.bool_] = x**2 + y <= 1
    return tip
