"""Depth and normal maps of a fit: whether they can be meant, what is told of them, what of colours.

Maps in the wrong unit would carve an object away without a word.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from multiview.config import FitConfig
from multiview.photo.targets import Targets
from multiview.scenes import Scene
from sdfrender.errors import InputError

log = logging.getLogger("multiview")

BLACK = 0.01  # of full scale; pictures that are darker throughout say nothing
AROUND = 0.25  # of the box's longest side, by which it is grown to look for what depths show
LEAST = 0.3  # of what maps show inside the masks is in that box, if they are in its units


def colors_count(config: FitConfig, scene: Scene) -> bool:
    """Whether the shape is fitted to the photographs' colours.

    Raises:
        InputError: they are to be left out, and there are no maps.
    """
    if config.colors == "off" and scene.maps is None:
        raise InputError(
            f"--colors off: need depth or normal maps, {config.scene} has none (depth/NAME.npz, "
            ".exr or .png of 16 bits, or normal/NAME.png or .exr)"
        )
    if config.colors != "auto":
        return config.colors == "on"
    dark = scene.maps is not None and float(scene.images.amax()) < BLACK
    return not (dark and config.fits_maps)


def tell_maps(scene: Scene, colors: bool, config: FitConfig) -> None:
    """How many views have maps, and what is not used."""
    maps = scene.maps
    if maps is None:
        return
    train = list(scene.train)
    for name, weights in (("depth", maps.depth_weights), ("normal", maps.normal_weights)):
        if weights is not None:
            some = int((weights[train] > 0).any(2).any(1).sum())
            log.info("%s maps: of %d of %d views to fit", name, some, len(train))
    if not config.fits_maps:
        log.warning(
            "depth and normal maps are not used: --preset %s knows none (use best or fast)",
            config.preset,
        )
    if not colors:
        log.info("colours: not looked at for the shape, only fitted to it at the end")


def check_depths(targets: Targets, bounds: Tensor) -> None:
    """Refuse depths that put hardly anything that masks show into the box `[2, 3]`.

    Raises:
        InputError: they are in another unit, or along the rays.
    """
    maps = targets.maps
    if maps is None or maps.scaled or maps.depths is None or maps.depth_weights is None:
        return
    inside = torch.minimum(targets.silhouettes, targets.silhouette_weights) > 0.5
    known = (maps.depth_weights > 0) & inside
    if not known.any():
        raise InputError(
            "depth maps: need some depths inside the masks, all are unknown there (0, inf and NaN "
            "mean unknown)"
        )
    points = targets.cameras.unproject(maps.depths, known)
    margin = AROUND * float((bounds[1] - bounds[0]).max())
    within = ((points > bounds[0] - margin) & (points < bounds[1] + margin)).all(-1).float().mean()
    if within < LEAST:
        distance = (targets.cameras.centers - bounds.mean(0)).norm(dim=-1).median()
        raise InputError(
            f"depth maps: need depths in world units, but they put only {float(within):.0%} of the "
            f"object into its box (their median is {float(maps.depths[known].median()):.4g}, the "
            f"cameras are {float(distance):.4g} from its middle): give their unit with "
            "--depth-unit, or find a scale and shift of each with --depth-scale fit"
        )
