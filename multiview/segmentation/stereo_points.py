"""Points of a scene that has cameras and no points: where photographs agree on depths.

Depth maps by `multiview.dense` in a box about the point that the cameras look at, those pixels of
them that two other views or more confirm.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from multiview.dense.start import MOST_VIEWS, as_shown, confirmed_depths
from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.scenes import load_scene
from multiview.scenes.readers.points import SparsePoints
from multiview.segmentation.object_box import Fixation
from multiview.segmentation.photograph import Array
from sdfrender.errors import InputError

log = logging.getLogger("multiview")

HALF_SIDE = 0.55  # of the box, in the cameras' distance: no camera is in it
STEP = 3  # pixels: one of so many along each axis becomes a point
MOST_POINTS = 40_000
LEAST = 0.05  # of the depths in the box, that other views confirm; of noise it is .03


def stereo_points(scene: Path, fixation: Fixation, longest: int) -> SparsePoints:
    """Points that three views or more agree on.

    Args:
        scene: its folder or camera file.
        fixation: where its cameras look, world units.
        longest: side of the pictures that are compared, pixels.

    Raises:
        InputError: hardly any depth is confirmed.
    """
    loaded = load_scene(scene, max_size=longest, silhouettes="none", boxed=True)
    targets = as_shown(Targets.of(loaded, range(len(loaded.names))), loaded.color_space == "srgb")
    middle = torch.from_numpy(fixation.point - loaded.offset).float()
    side = HALF_SIDE * fixation.distance
    some = take_turns(targets.cameras, middle, MOST_VIEWS)[0]
    views = targets[some]
    depths, kept = confirmed_depths(views, torch.stack((middle - side, middle + side)))
    share = float((kept > 0).sum()) / max(int((depths > 0).sum()), 1)
    points = [_points(views, kept, n) for n in range(len(views.cameras))]
    found = np.concatenate(points) + loaded.offset
    log.info(
        "no points in the scene: %d by dense stereo, %.0f %% of the depths confirmed",
        len(found), 100 * share,
    )  # fmt: skip
    if share < LEAST or not len(found):
        raise InputError(
            f"{scene}: need points to find the object by, the scene has none and neighbouring "
            f"views agree on {share:.1%} of the depths only: look at the cameras, take photographs "
            "nearer to each other, or give masks/NAME.png (white = object)"
        )
    keep = np.random.default_rng(0).permutation(len(found))[:MOST_POINTS]
    return SparsePoints(found[keep], np.full(len(keep), 3), np.zeros(len(keep)))


def _points(views: Targets, depths: np.ndarray, n: int) -> Array:
    """`[P, 3]` about the scene's offset, of one view's depths `[N, H, W]`."""
    offset = STEP // 2
    row, column = np.nonzero(depths[n, offset::STEP, offset::STEP])
    row, column = offset + STEP * row, offset + STEP * column
    K, c2w = (x[n].double().numpy() for x in (views.cameras.Ks, views.cameras.c2w))
    pixels = np.stack((column + 0.5, row + 0.5, np.ones(len(row))), -1)
    local = pixels @ np.linalg.inv(K).T * depths[n, row, column, None]
    found: Array = local @ c2w[:3, :3].T + c2w[:3, 3]
    return found
