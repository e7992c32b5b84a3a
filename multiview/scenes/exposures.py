"""Exposures of photographs, as a run finds and keeps them, and the scene that they make.

How they are found: `multiview.photo.exposure`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from multiview.scenes.scene import Scene


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
    """
    return torch.tensor([found["gains"][name] for name in scene.names])
