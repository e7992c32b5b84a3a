"""Pixels of scenes: depths and channels, silhouettes by threshold, averaging, selection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scene_folders import (
    HEIGHT,
    WIDTH,
    disc,
    rgba,
    write_transforms,
)

from multiview.scenes import load_scene
from multiview.scenes.selection import natural_key, select
from sdfrender.errors import InputError
from sdfrender.files.formats.pngs import write_png
from sdfrender.files.images import area_average, read_image
from sdfrender.masks.silhouettes import threshold_silhouette

# ---------------------------------------------------------------------- silhouettes by threshold


def test_threshold_recovers_shadows_but_does_not_trust_them() -> None:
    v, u = np.mgrid[:480, :640] + 0.5
    r = np.hypot(u - 320, v - 240)
    shadow = np.hypot(u - 320, v - 300) < 15  # wider than the closing
    notch = (abs(u - 320) < 8) & (v < 180)  # narrower
    gap = np.hypot(u - 400, v - 240) < 30  # too wide to be a shadow
    lit = (r < 150) & ~shadow & ~notch & ~gap
    photo = np.where(lit, 0.6, 0.05).astype(np.float32)[..., None]
    photo[5, 5] = 1.0  # noise
    silhouette, known = threshold_silhouette(photo, 0.14)
    unsure = shadow | (notch & (r < 145))
    assert silhouette[unsure].all()
    assert not known[unsure].any()
    assert silhouette[lit].all()
    assert known[lit].all()
    assert not silhouette[r > 151].any()
    assert not silhouette[gap].any()
    assert known[gap].all()


def test_threshold_takes_nothing_for_background_beyond_the_frame() -> None:
    photo = np.zeros((480, 640, 1), np.float32)
    photo[:, 200:] = 0.5  # leaves the frame on three sides
    photo[0:25, 400:435] = 0.0  # a shadow that the frame cuts
    silhouette, known = threshold_silhouette(photo, 0.14)
    assert silhouette[:, 200:].all()
    assert not known[0:25, 400:435].any()
    assert not silhouette[:, :200].any()
    assert known[:, :200].all()


# ---------------------------------------------------------------------- pixels


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_png_depths_and_channels(tmp_path: Path, channels: int, dtype: type, top: int) -> None:
    drawn = np.random.default_rng(0).integers(0, top, (6, 7, channels))
    pixels: Any = drawn.astype(dtype)
    write_png(tmp_path / "a.png", pixels)
    color, alpha = read_image(tmp_path / "a.png")
    assert color.dtype == np.float32
    assert color.shape == (6, 7, 3 if channels > 2 else 1)
    stored = pixels / top
    count = color.shape[-1]
    np.testing.assert_allclose(color, stored[..., :count], atol=1e-6)
    if channels in (2, 4):
        assert alpha is not None
        np.testing.assert_allclose(alpha, stored[..., -1], atol=1e-6)
    else:
        assert alpha is None


def test_palette_bilevel_and_jpeg(tmp_path: Path) -> None:
    Image = pytest.importorskip("PIL.Image")
    picture = Image.fromarray(rgba()[..., :3]).quantize(8)
    picture.save(tmp_path / "p.png")
    picture.save(tmp_path / "t.png", transparency=bytes([0] * 8))
    Image.fromarray(disc()).save(tmp_path / "b.png")
    Image.fromarray(rgba()[..., :3]).save(tmp_path / "j.jpg", quality=95)
    assert read_image(tmp_path / "p.png")[0].shape == (HEIGHT, WIDTH, 3)
    color, alpha = read_image(tmp_path / "t.png")
    assert color.shape == (HEIGHT, WIDTH, 3)
    assert alpha is not None
    assert alpha.max() == 0.0
    np.testing.assert_array_equal(read_image(tmp_path / "b.png")[0][..., 0], disc())
    np.testing.assert_allclose(read_image(tmp_path / "j.jpg")[0], 200 / 255, atol=0.02)


@pytest.mark.parametrize(("width", "height"), [(6, 4), (5, 3), (12, 8), (1, 1)])
def test_area_average_keeps_the_mean_and_linear_ramps(width: int, height: int) -> None:
    v, u = np.mgrid[:8, :12] + 0.5
    ramp = np.stack((u / 12, v / 8), -1).astype(np.float32)
    small = area_average(ramp, width, height)
    np.testing.assert_allclose(small.mean((0, 1)), 0.5, atol=1e-6)
    # A pixel cut in two counts with its one value on both sides: off by up to 1/8 of a pixel.
    tolerance = 1e-6 if 12 % width == 0 and 8 % height == 0 else 0.125 / 8
    v, u = np.mgrid[:height, :width] + 0.5
    np.testing.assert_allclose(small, np.stack((u / width, v / height), -1), atol=tolerance)
    np.testing.assert_allclose(area_average(ramp[..., 0], width, height), small[..., 0], atol=1e-6)


def test_max_size_averages_premultiplied_and_resizes_the_cameras(tmp_path: Path) -> None:
    write_transforms(tmp_path, cx=10.0)
    write_png(tmp_path / "v_1.png", rgba(70) + np.array([0, 20, 40, 0], np.uint8))
    full = load_scene(tmp_path)
    half = load_scene(tmp_path, max_size=12)
    assert half.images.shape == (3, 8, 12, 3)
    expected = full.images.reshape(3, 8, 2, 12, 2, 3).mean((2, 4))
    torch.testing.assert_close(half.images, expected)
    assert half.cameras.Ks[0].tolist() == [[15, 0, 5], [0, 15, 4], [0, 0, 1]]
    third = load_scene(tmp_path, max_size=7)  # not a whole factor
    assert third.images.shape == (3, 5, 7, 3)
    torch.testing.assert_close(third.silhouettes.mean(), full.silhouettes.mean())
    same = load_scene(tmp_path, max_size=1000)
    assert torch.equal(same.images, full.images)


# ---------------------------------------------------------------------- selection


def test_natural_order() -> None:
    names = ["r_10", "r_2", "r_1", "b", "test/r_1"]
    assert sorted(names, key=natural_key) == ["b", "r_1", "r_2", "r_10", "test/r_1"]


@pytest.mark.parametrize(
    ("selection", "picked"),
    [
        ("2::3", [2, 5]),
        (":2", [0, 1]),
        ("-2:", [4, 5]),
        ("f,a", [0, 5]),
        ("b.png", [1]),
        ("[ab],c", [0, 1, 2]),
        ("*", [0, 1, 2, 3, 4, 5]),
        (":", [0, 1, 2, 3, 4, 5]),
        ("::", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_selection(selection: str, picked: list[int]) -> None:
    assert select(selection, ["a", "b", "c", "d", "e", "f"]) == picked


def test_digits_that_are_no_numbers_are_letters() -> None:
    """`"²".isdigit()` is true, and `int("²")` raises."""
    names = ["r_10²", "r_2²", "①", "r_२"]
    assert sorted(names, key=natural_key) == ["r_२", "r_2²", "r_10²", "①"]
    assert select("r_2²", names) == [1]


def test_names_with_brackets_and_the_folder_of_the_pictures() -> None:
    names = ["a[1]", "a1", "b (2)"]
    assert select("a[1]", names) == [0]
    assert select("a1", names) == [1]
    assert select("images/b (2).png,images/a[1].png", names) == [0, 2]


@pytest.mark.parametrize("selection", ["1²", "-:", ":-", "::-", "1²:", ".", "/", ".."])
def test_a_selection_that_names_nothing(selection: str) -> None:
    with pytest.raises(InputError, match="picks none of the 2 views"):
        select(selection, ["a", "b"])


def test_views_not_selected_are_held_out_and_sorted(tmp_path: Path) -> None:
    write_transforms(tmp_path, count=11)
    scene = load_scene(tmp_path, "v_2,v_10")
    assert scene.names == tuple(f"v_{n}" for n in range(11))
    assert scene.train == (2, 10)
    assert set(scene.held_out) == set(range(11)) - {2, 10}
