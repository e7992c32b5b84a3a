"""Pictures of light all around: where directions are; filters, files and averages."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sdfrender import InputError
from sdfrender.materials.environment import (
    LEVELS,
    Environment,
    four_pixels,
    level_weights,
    lobe_matrix,
    picture_directions,
    solid_angles,
)
from sdfrender.materials.microfacet import ggx
from sdfrender.view.lighting import spread


def random_light(height: int = 8) -> Environment:
    generator = torch.Generator().manual_seed(0)
    return Environment(torch.rand(height, 2 * height, 3, generator=generator))


def test_directions_and_pixels_are_each_others_inverse() -> None:
    directions = picture_directions(6)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(6, 12).double())
    pixels, weights = four_pixels(directions, 6)
    best = pixels.gather(-1, weights.argmax(-1, keepdim=True))[..., 0]
    assert torch.equal(best.flatten(), torch.arange(72))
    torch.testing.assert_close(weights.amax(-1), torch.ones(6, 12).double())
    assert directions[0, :, 1].min() > 0.9  # the first row is up
    assert directions[3, 6, 2] < -0.9  # the middle column −z
    assert directions[3, 8, 0] > 0.7  # then +x


def test_pixels_hold_the_whole_sphere() -> None:
    assert float(solid_angles(7).sum() * 14) == pytest.approx(4 * math.pi)


def test_columns_go_round() -> None:
    seam = torch.tensor([[0.0, 0.0, 1.0]]).double()  # between the last column and the first
    pixels, weights = four_pixels(seam, 4)
    assert sorted(set((pixels % 8).flatten().tolist())) == [0, 7]
    assert float(weights.sum()) == pytest.approx(1)


def test_averages_keep_the_light() -> None:
    light = random_light(12)
    for height in (4, 5, 9):
        small = light.resized(height)
        before = (light.radiance * solid_angles(12)[:, None, None]).sum((0, 1))
        after = (small.radiance * solid_angles(height)[:, None, None]).sum((0, 1))
        # A row of both edges is shared by area of the picture, where solid angle changes little.
        torch.testing.assert_close(after, before, rtol=0.05, atol=0)
    assert light.resized(12) is light
    even = Environment(torch.full((12, 24, 3), 0.7)).resized(5)
    torch.testing.assert_close(even.radiance, torch.full((5, 10, 3), 0.7))


def test_filters_keep_even_light() -> None:
    filtered = Environment(torch.full((8, 16, 3), 0.3)).filtered()
    torch.testing.assert_close(filtered, torch.full((len(LEVELS), 8, 16, 3), 0.3))


@pytest.mark.parametrize("roughness", [0.35, 0.7])
def test_filters_are_the_lobe(roughness: float) -> None:
    """Against a sum over directions all around, of light that has no pixels."""
    height = 24
    away = picture_directions(height).reshape(-1, 3)
    axis = torch.nn.functional.normalize(torch.tensor([0.3, 0.5, -0.8]).double(), dim=0)
    filtered = lobe_matrix(roughness, height).double() @ (3 * (away @ axis - 1)).exp()
    light = spread(100_000)
    for n in (0, 300, 777):
        cosine = (light @ away[n]).clamp(min=0)
        weight = ggx(((1 + cosine) / 2).sqrt(), roughness) * cosine
        expected = (weight * (3 * (light @ axis - 1)).exp()).sum() / weight.sum()
        assert float(filtered[n]) == pytest.approx(float(expected), rel=0.01)


def test_levels_are_met_exactly() -> None:
    levels = torch.tensor(LEVELS)
    where, weights = level_weights(levels)
    torch.testing.assert_close((levels[where] * weights).sum(-1), levels)
    _, outside = level_weights(torch.tensor([0.0, 2.0]))
    assert outside.min() >= 0


def test_a_file_holds_the_light(tmp_path: Path) -> None:
    light = random_light()
    light.save(tmp_path / "light.hdr")
    back = Environment.load(tmp_path / "light.hdr")
    brightest = light.radiance.amax(-1, keepdim=True)
    assert float(((back.radiance - light.radiance).abs() / brightest).max()) <= 1 / 256
    with pytest.raises(InputError, match=r"light.png: need a light as a Radiance picture"):
        Environment.load(tmp_path / "light.png")


def test_a_picture_of_another_form_is_refused(tmp_path: Path) -> None:
    from sdfrender.files.formats.hdr import write_hdr

    write_hdr(tmp_path / "square.hdr", np.ones((9, 9, 3), np.float32))
    with pytest.raises(InputError, match=r"twice as wide as high, got 9×9"):
        Environment.load(tmp_path / "square.hdr")
    with pytest.raises(ValueError, match=r"radiance: need \[H, 2 H, 3\]"):
        Environment(torch.ones(4, 9, 3))
