"""Cameras of pictures that are not there: told and left out, unless most are missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from scene_folders import refused, write_middlebury, write_model, write_transforms

from multiview.scenes import load_scene

LAYOUTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "transforms.json": (write_transforms, "v_{}.png"),
    "x_par.txt": (write_middlebury, "x{}.png"),
    "images.txt": (write_model, "images/v {}.png"),
    "images.bin": (lambda folder: write_model(folder, binary=True), "images/v {}.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_pictures_that_are_there_are_taken(tmp_path: Path, layout: str) -> None:
    write, name = LAYOUTS[layout]
    folder = write(tmp_path / "scene")
    whole = load_scene(folder)
    (folder / name.format(1)).unlink()
    scene = load_scene(folder)
    assert scene.names == (whole.names[0], whole.names[2])
    np.testing.assert_array_equal(scene.cameras.c2w, whole.cameras.c2w[[0, 2]])
    told = [warning for warning in scene.warnings if "not there" in warning]
    assert len(told) == 1
    assert Path(name.format(1)).name in told[0]
    assert f"1 of the 3 images that {layout} names" in told[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_most_pictures_missing_is_an_error(tmp_path: Path, layout: str) -> None:
    write, name = LAYOUTS[layout]
    folder = write(tmp_path / "scene")
    for n in (1, 2):
        (folder / name.format(n)).unlink()
    refused(folder, Path(name.format(1)).name, "no such file", layout, "2 of the 3 images")


def test_a_scene_whose_pictures_have_no_extension_in_the_file(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path / "scene")
    text = (folder / "transforms.json").read_text()
    (folder / "transforms.json").write_text(text.replace(".png", ""))
    (folder / "v_2.png").unlink()
    assert load_scene(folder).names == ("v_0", "v_1")


def test_a_damaged_picture_is_still_an_error(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path / "scene")
    iio.imwrite(folder / "v_0.png", np.zeros((4, 4, 3), np.uint8))
    (folder / "v_1.png").write_bytes(b"")
    refused(folder, "v_1.png", "0 bytes")
