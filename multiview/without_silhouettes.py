"""Fits of scenes in which nothing says what the object is: a box, and what photographs agree on."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from multiview.config import FitConfig
from multiview.dense.start import dense_start
from multiview.levels.state import Fit
from multiview.photo.targets import Targets
from multiview.run_folder import RunFolder
from multiview.scenes import Scene
from sdfrender import InputError

log = logging.getLogger("multiview")

MOST_POINTS = 0.02  # of the points on each side of each axis that are taken for mistakes
MARGIN = 0.1  # of the box's longest side, about the points


def check_settings(config: FitConfig, scene: Scene) -> Scene:
    """Refuse settings that need silhouettes; returns the scene without maps, which are not used.

    Raises:
        InputError: names the option.
    """
    config.need_no_silhouettes()
    if config.colors == "on":
        raise InputError(
            "--colors on: need silhouettes; without them the shape comes from where photographs "
            "agree (--colors auto)"
        )
    if scene.maps is not None:
        log.warning("depth and normal maps are not used without silhouettes")
    return replace(scene, maps=None)


def box_without_silhouettes(scene: Scene) -> Tensor:
    """The box `[2, 3]` that a scene states, or one about the points that its cameras have seen.

    Raises:
        InputError: it has neither.
    """
    if scene.bounds is not None:
        return scene.bounds
    if scene.points is None or len(scene.points) < 20:
        raise InputError(
            "--bounds: need the box to look in, x y z of its lower and upper corner: the scene has "
            "no silhouettes, states no box and has no points of COLMAP (sparse/0/points3D)"
        )
    ends = np.quantile(scene.points, (MOST_POINTS, 1 - MOST_POINTS), axis=0)
    margin = MARGIN * float((ends[1] - ends[0]).max())
    box = np.stack((ends[0] - margin, ends[1] + margin)) + scene.offset
    told = " ".join(f"{x:.6g}" for x in box.ravel())
    log.info("box: about %d points of the cameras (--bounds %s)", len(scene.points), told)
    return torch.from_numpy(box - scene.offset).float()


def start_from_stereo(state: Fit, config: FitConfig, targets: Targets, run: RunFolder) -> None:
    """Find the surface by dense stereo; `state` starts from it.

    Writes `observed.safetensors`. A run that goes on takes that up, and its lattice from the last
    checkpoint.

    Raises:
        InputError: photographs agree on hardly any depth.
    """
    if config.resume and run.has_checkpoint and run.has_observed:
        state.observed = run.load_observed()
        return
    found = dense_start(targets, state.lattice.bounds, config.resolution)
    state.lattice, state.observed = found.lattice, found.observed
    run.save_observed(found.observed)
