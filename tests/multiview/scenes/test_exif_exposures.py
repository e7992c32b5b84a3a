"""Exposures that cameras wrote into EXIF are what exposures of photographs begin with."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scene_folders import HEIGHT, WIDTH, disc, pose

from multiview.config import FitConfig
from multiview.fit import tell_exposures
from multiview.photo.exposure import starting_gains
from multiview.scenes import Scene, load_scene

TIME, F_NUMBER, ISO = 0x829A, 0x829D, 0x8827


def photographed(folder: Path, settings: list[Mapping[int, float]]) -> Scene:
    """A scene of JPEG files with masks, each with some tags of EXIF."""
    (folder / "masks").mkdir(parents=True)
    frames = []
    for n, tags in enumerate(settings):
        exif = Image.Exif()
        exif.get_ifd(0x8769).update(tags)
        file = folder / f"v_{n}.jpg"
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(file, exif=exif)
        Image.fromarray((disc() * 255).astype(np.uint8)).save(folder / "masks" / f"v_{n}.png")
        frames.append({"file_path": file.name, "transform_matrix": pose(5.0 + n)})
    (folder / "transforms.json").write_text(json.dumps({"fl_x": 30.0, "frames": frames}))
    return load_scene(folder)


def test_light_goes_with_time_and_speed_and_the_square_of_the_aperture(tmp_path: Path) -> None:
    tags = [
        {TIME: 1 / 60, ISO: 100, F_NUMBER: 4.0},
        {TIME: 1 / 30, ISO: 100, F_NUMBER: 4.0},
        {TIME: 1 / 60, ISO: 200, F_NUMBER: 2.0},
    ]
    scene = photographed(tmp_path, tags)
    assert scene.exposures is not None
    assert scene.exposures == pytest.approx(np.array([1, 2, 8]) / 16 ** (1 / 3), rel=1e-4)
    gains = starting_gains(scene)
    assert gains.shape == (3, scene.images.shape[-1])
    # Files of cameras are for a screen: their values go with a root of the light.
    assert float(gains[1, 0] / gains[0, 0]) == pytest.approx(2 ** (1 / 2.2), rel=1e-4)
    linear = starting_gains(replace(scene, color_space="linear"))
    assert float(linear[1, 0] / linear[0, 0]) == pytest.approx(2, rel=1e-4)


@pytest.mark.parametrize(
    "second",
    [
        {},
        {TIME: 1 / 60, ISO: 100},
        {TIME: 1 / 61, ISO: 100},
        {TIME: float("nan"), ISO: 400},
        {TIME: 0.0, ISO: 400},
        {TIME: 30.0, ISO: 100},
    ],
    ids=["none", "the same", "about the same", "nan", "no time", "far from any photograph"],
)
def test_exposures_that_tell_nothing(tmp_path: Path, second: Mapping[int, float]) -> None:
    scene = photographed(tmp_path, [{TIME: 1 / 60, ISO: 100}, second])
    assert scene.exposures is None
    assert torch.equal(starting_gains(scene), torch.ones(2, scene.images.shape[-1]))


def test_a_speed_that_not_all_state_does_not_count(tmp_path: Path) -> None:
    scene = photographed(tmp_path, [{TIME: 1 / 60, ISO: 100}, {TIME: 1 / 15}])
    assert scene.exposures == pytest.approx((0.5, 2), rel=1e-4)


@pytest.mark.parametrize(
    ("exposure", "said"), [("per-view", "start from there"), ("same", "not used")]
)
def test_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, exposure: str, said: str
) -> None:
    scene = photographed(tmp_path, [{TIME: 1 / 60}, {TIME: 1 / 15}])
    config = FitConfig(scene=tmp_path, out=tmp_path / "run", exposure=exposure)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, "multiview"):
        tell_exposures(scene, config, unknown=True)
    assert "up to 4 times" in caplog.text
    assert said in caplog.text
