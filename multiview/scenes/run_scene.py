"""The scene of a run: what its settings name, seen as the run found its cameras and exposures."""

from __future__ import annotations

import json
from dataclasses import replace

from multiview.config import FitConfig
from multiview.scenes import Scene, corrections, exposures, load_scene
from sdfrender.cluster.ranks import ALONE, Ranks
from sdfrender.files.atomic import read_bytes
from sdfrender.files.tensors import expect


def load_run_scene(config: FitConfig, ranks: Ranks = ALONE) -> Scene:
    """The scene that the settings name, shared out over `ranks`; one view is enough for a prior."""
    return load_scene(
        config.scene,
        config.train_views,
        config.image_size,
        config.mask_threshold,
        least_views=1 if config.prior else 2,
        maps=config.maps,
        silhouettes=config.silhouettes,
        boxed=config.bounds is not None,
        max_pixels=config.max_pixels,
        ranks=ranks,
    )


def scene_of(config: FitConfig) -> Scene:
    """The scene of a finished run, its cameras and exposures as the run refined them."""
    return refined(config, load_run_scene(config))


def refined(config: FitConfig, scene: Scene) -> Scene:
    """A run's scene with the cameras and exposures that the run wrote.

    Raises:
        InputError: files of another scene, or damaged.
    """
    if config.refine_cameras:
        file = config.folder / "cameras.json"
        with expect(file, "the cameras of a run"):
            moved = corrections.from_description(json.loads(read_bytes(file)), scene.offset)
            scene = corrections.on_scene(moved, scene)
    file = config.folder / "exposures.json"
    if config.exposure == "per-view" or file.is_file():
        with expect(file, "the exposures of a run"):
            gains = exposures.from_description(json.loads(read_bytes(file)), scene)
            scene = exposures.on_scene(gains, scene)
    return scene


def with_channels(scene: Scene, least: int) -> Scene:
    """The scene, its pictures with `least` equal channels if they are grey and have fewer."""
    images = scene.images
    if images.shape[-1] >= least:
        return scene
    return replace(scene, images=images.expand(*images.shape[:3], least).contiguous())
