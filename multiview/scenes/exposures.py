"""Exposures of photographs, as a run finds and keeps them, and the scene that they make.

How they are found: `multiview.photo.exposure`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from multiview.scenes.scene import Scene
from sdfrender.magnitude import LARGEST


def on_scene(gains: Tensor, scene: Scene) -> Scene:
    """The scene with its N photographs at a common exposure: divided by their gains `[N, C]`."""
    return replace(scene, images=scene.images / gains[list(scene.here), None, None])


def description(gains: Tensor, scene: Scene) -> dict[str, Any]:
    """As JSON: per view, the gain of each channel; of `[N, C]`."""
    return {"gains": dict(zip(scene.names, gains.tolist(), strict=True))}


def from_description(found: dict[str, Any], scene: Scene) -> Tensor:
    """What `description` was made of.

    Raises:
        KeyError: a view of the scene is missing.
        ValueError: gains that are not positive, or of another number of channels.
    """
    gains = torch.tensor([found["gains"][name] for name in scene.names], dtype=torch.float32)
    need = (len(scene.names), scene.images.shape[-1])
    if gains.shape != need or not bool(((gains > 0) & (gains <= LARGEST)).all()):
        raise ValueError(f"need positive gains {list(need)}, got {found['gains']}")
    return gains
