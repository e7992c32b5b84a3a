"""Where the steps of a fit are computed: on the CPU, or on a card."""

from __future__ import annotations

import logging

import torch

from multiview.config import FitConfig
from multiview.optimize.gauss_newton import CPU
from multiview.scenes import Scene
from multiview.scenes.scene import SharedScene
from sdfrender import InputError
from sdfrender.rendering.cards import card_obstacle

log = logging.getLogger("multiview")

CARD = "cuda"


def check_device(config: FitConfig) -> None:
    """Refuse a card that is asked for and cannot be used, before anything is read.

    Raises:
        InputError: the reason, and what helps.
    """
    obstacle = card_obstacle() if config.device == "cuda" else None
    if obstacle is not None:
        raise InputError(f"--device cuda: no card can be used here: {obstacle}")


def device_for(config: FitConfig, scene: Scene, colors: bool) -> torch.device:
    """The device for the steps by colours.

    Args:
        config: the settings.
        scene: what is fitted.
        colors: whether the shape is fitted to colours.

    Raises:
        InputError: a card is asked for, and there are no steps for it.
    """
    if config.device == "cpu":
        return CPU
    if not scene.has_silhouettes or not colors:
        if config.device == "cuda":
            what = "colours" if scene.has_silhouettes else "silhouettes"
            raise InputError(f"--device cuda: need {what}, which this scene is fitted without")
        return CPU
    shared = isinstance(scene, SharedScene)
    if shared or config.preset not in ("best", "fast"):
        return CPU
    obstacle = card_obstacle()
    if obstacle is not None:
        if torch.cuda.is_available():  # or there is nothing to wonder about
            log.info("device: steps stay on the CPU: %s", obstacle)
        return CPU
    device = torch.device(CARD, torch.cuda.current_device())
    log.info("device: steps by colours are on %s", torch.cuda.get_device_name(device))
    return device
