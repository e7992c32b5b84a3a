"""Mask files as programs write them: labels, colours on black, cut-outs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdfrender.masks.silhouettes import read_mask

W, H = 40, 30
RANDOM = np.random.default_rng(0).integers(40, 220, (H, W, 3)).astype(np.uint8)


def disc() -> np.ndarray:
    """`[H, W]` bool, off the middle."""
    y, x = np.mgrid[:H, :W] + 0.5
    inside: np.ndarray = np.hypot(x - 17, y - 13) < 9
    return inside


def labels(colors: list[int]) -> Image.Image:
    """A picture with a palette, as Pascal VOC's."""
    image = Image.fromarray(disc().astype(np.uint8), "P")
    image.putpalette(colors + [0] * (768 - len(colors)))
    return image


@pytest.mark.parametrize("pixels", [
    disc().astype(np.uint8), disc() * np.uint8(7), disc().astype(np.uint16),
    disc() * np.uint16(255), disc()[..., None] * np.array([255, 0, 0], np.uint8),
    disc()[..., None] * np.array([0, 128, 0], np.uint8),
])  # fmt: skip
def test_one_dark_colour_on_black_is_white(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png", (W, H)), disc())


def test_labels_with_a_palette(tmp_path: Path) -> None:
    labels([0, 0, 0, 128, 0, 0]).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png", (W, H)), disc())


def test_several_dark_labels_stay_as_they_are(tmp_path: Path) -> None:
    several = disc().astype(np.uint8)
    several[:3] = 2
    Image.fromarray(several).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png", (W, H)).max() == pytest.approx(2 / 255)


def test_the_alpha_of_a_picture_that_is_cut_out(tmp_path: Path) -> None:
    alpha = disc() * np.uint8(255)
    Image.fromarray(np.dstack((RANDOM, alpha))).save(tmp_path / "cut.png")
    assert np.array_equal(read_mask(tmp_path / "cut.png", (W, H)), disc())
    white = np.dstack([disc() * np.uint8(255)] * 3)  # with an alpha channel that says nothing
    Image.fromarray(np.dstack((white, alpha // 2 + 100))).save(tmp_path / "white.png")
    assert np.array_equal(read_mask(tmp_path / "white.png", (W, H)), disc())
