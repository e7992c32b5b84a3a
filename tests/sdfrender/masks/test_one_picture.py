"""Objects in single pictures: before smooth and two-coloured grounds, with shadows, and none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sdfrender.masks.one_picture import enlarged, object_in_picture, without_specks

H, W = 90, 120
V, U = np.mgrid[:H, :W] + 0.5


def disk(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    return np.asarray(np.hypot(U - x, V - y) < radius)


def on_ground(
    paint: tuple[float, ...], ground: tuple[float, ...], noise: float = 0.01
) -> NDArray[np.float32]:
    """A shaded ball on a ground that gets darker away from it, with a soft shadow beside it."""
    light = 1 - 0.1 * ((U - 60) ** 2 / 60**2 + (V - 45) ** 2 / 45**2)
    shadow = 1 - 0.45 * np.exp(-(((U - 82) / 20) ** 2) - ((V - 66) / 9) ** 2)
    picture = np.array(ground) * (light * shadow)[..., None]
    ball = disk(60, 45, 22)
    shade = 0.6 + 0.4 * np.sqrt(np.clip(1 - ((U - 54) ** 2 + (V - 38) ** 2) / 32**2, 0, 1))
    picture[ball] = (np.array(paint) * shade[..., None])[ball]
    picture += noise * np.random.default_rng(0).standard_normal(picture.shape)
    return picture.clip(0, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("paint", "ground"),
    [
        ((0.8, 0.2, 0.15), (0.7, 0.7, 0.7)),
        ((0.08, 0.08, 0.1), (0.75, 0.72, 0.7)),
        ((0.9, 0.9, 0.85), (0.5, 0.4, 0.3)),
        ((0.85, 0.87, 0.9), (0.5, 0.65, 0.9)),
        ((0.2, 0.45, 0.25), (0.85, 0.85, 0.85)),
    ],
)
def test_a_ball_is_told_from_its_ground_and_shadow(
    paint: tuple[float, ...], ground: tuple[float, ...]
) -> None:
    found = object_in_picture(on_ground(paint, ground))
    assert not found.doubt
    mask, true = found.coverage > 0.5, disk(60, 45, 22)
    assert (mask & true).sum() / (mask | true).sum() > 0.9


def test_a_horizon_is_background() -> None:
    picture = np.where((V > 40)[..., None], (0.5, 0.35, 0.25), (0.75, 0.78, 0.8))
    true = disk(55, 45, 18)
    picture[true] = (0.2, 0.25, 0.7)
    mask = object_in_picture(picture.astype(np.float32)).coverage > 0.5
    assert (mask & true).sum() / (mask | true).sum() > 0.95


def test_grey_and_large_pictures() -> None:
    grey = np.where(disk(60, 45, 20), 0.2, 0.8)[..., None].astype(np.float32)
    assert ((object_in_picture(grey).coverage > 0.5) == disk(60, 45, 20)).mean() > 0.999
    large = grey.repeat(5, 0).repeat(5, 1)
    coverage = object_in_picture(large).coverage
    assert coverage.shape == large.shape[:2]
    assert ((coverage > 0.5) == (large[..., 0] < 0.5)).mean() > 0.995


def test_what_cannot_be_told_is_said() -> None:
    empty = np.full((H, W, 3), 0.5, np.float32)
    assert object_in_picture(empty).doubt == "nothing in it does"
    noise = np.random.default_rng(0).random((40, 40, 3)).astype(np.float32)
    assert object_in_picture(noise).doubt


def test_specks_go_and_outlines_stay() -> None:
    mask = disk(60, 45, 20) | disk(5, 5, 2)
    assert np.array_equal(without_specks(mask), disk(60, 45, 20))
    soft = enlarged(disk(60, 45, 20).astype(np.float32), (2 * H, 2 * W))
    assert abs(float(soft.sum()) / (4 * np.pi * 20**2) - 1) < 0.03


@pytest.mark.parametrize("shape", [(4, 4), (4, 900), (700, 4), (5, 7), (1, 300)])
@pytest.mark.parametrize("channels", [1, 3])
def test_odd_sizes(shape: tuple[int, int], channels: int) -> None:
    """Pictures that hold next to nothing are answered, too."""
    picture = np.random.default_rng(0).random((*shape, channels)).astype(np.float32)
    for values in (picture, np.zeros_like(picture), 0.5 + 0.01 * picture):
        found = object_in_picture(values)
        assert found.coverage.shape == shape
        assert np.isfinite(found.coverage).all()
