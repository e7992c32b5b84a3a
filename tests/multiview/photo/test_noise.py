"""What noise images have, and what smoothness becomes under it."""

from __future__ import annotations

from dataclasses import replace

import places
import pytest
import torch

from multiview.optimize.gauss_newton import GaussNewton
from multiview.optimize.noise import CLEAN, DOUBLE, smoothness_under_noise
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.recipes import NewtonLevel, NewtonRecipe
from multiview.scenes import load_scene
from sdfrender import Cameras, Headlight, Lattice, Lighting, render
from sdfrender.view.noise import picture_noise

DATA = places.DATA
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")


def pictures(noise: float = 0.0, width: int = 90, height: int = 70) -> tuple[Targets, Lattice]:
    """A ball in colour from three sides, with noise where it is."""
    lattice = Lattice.sphere(0.5, (0.1, 0.0, -0.1), (23, 19, 21))
    eyes = [[0.0, 0.3, 3.0], [2.5, 0.5, 1.0], [-2.0, 1.0, 2.0]]
    square = Cameras.look_at(eyes, width=width, height=height)
    Ks = square.Ks.clone()
    Ks[:, 0, 2] += 4.0
    cameras = Cameras(square.c2w, Ks, width, height)
    light = Lighting(headlight=Headlight(torch.tensor([0.9, 0.6, 0.3])))
    out = render(lattice, cameras, lighting=light)
    drawn = noise * torch.randn(out.images.shape, generator=torch.Generator().manual_seed(0))
    images = out.images + drawn * out.silhouettes[..., None]
    ones = torch.ones_like(out.silhouettes)
    return Targets(cameras, images, out.silhouettes, ones, ones), lattice


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.3])
def test_noise_is_found(noise: float) -> None:
    assert pictures(noise)[0].noise == pytest.approx(noise, rel=0.05)


def test_clean_pictures_have_none_and_empty_ones_say_nothing() -> None:
    clean, _ = pictures()
    assert clean.noise < 1e-3
    nothing = replace(clean, silhouettes=torch.zeros_like(clean.silhouettes))
    assert nothing.noise == 0.0
    for size in (1, 2, 3):
        assert clean.resized(size, size).noise == 0.0


def test_what_is_constant_along_rows_or_columns_has_no_noise() -> None:
    stripes = (torch.arange(9.0) ** 2 % 5).expand(1, 7, 9)[..., None]
    known = torch.ones(1, 7, 9, dtype=torch.bool)
    assert picture_noise(stripes, known) == 0.0
    assert picture_noise(stripes.transpose(1, 2), known.transpose(1, 2)) == 0.0
    known[0, 3, 4] = False
    unknown = torch.where(known[..., None], stripes, torch.inf)
    assert picture_noise(unknown, known) == 0.0
    assert picture_noise(unknown, torch.zeros_like(known)) == 0.0


def test_pixels_that_cannot_be_trusted_do_not_count() -> None:
    targets, _ = pictures(0.02)
    images, weights = targets.images.clone(), targets.image_weights.clone()
    weights[:, :, :50] = 0
    images[:, :, :50] *= 1 + torch.randn(images[:, :, :50].shape)
    spoiled = replace(targets, images=images, image_weights=weights)
    assert spoiled.noise == pytest.approx(0.02, rel=0.15)


def test_smoothness_follows_the_variance_of_noise_in_a_cell() -> None:
    targets, lattice = pictures(0.1)
    size = targets.pixel_sizes(lattice).mean() / lattice.spacing.max()
    variance = targets.noise**2 - CLEAN**2
    expected = 1 + variance * (float(size) / DOUBLE) ** 2
    assert smoothness_under_noise(targets, lattice) == pytest.approx(expected)
    finer = lattice.resample(2 * 23 - 1)
    ratio = (smoothness_under_noise(targets, finer) - 1) / (expected - 1)
    assert ratio == pytest.approx(float(lattice.spacing.max() / finer.spacing.max()) ** 2, rel=1e-4)


def test_gauss_newton_smooths_noisy_pictures_more() -> None:
    level = NewtonLevel(1.0, 8, 1, laplacian=0.01)
    weights = []
    for noise in (0.0, 0.2):
        targets, lattice = pictures(noise)
        look = Appearance(3, Lighting(headlight=Headlight(torch.tensor([0.9, 0.6, 0.3]))))
        method = GaussNewton(lattice, targets, look, NewtonRecipe((level,)), level)
        weights.append(method.weights.laplacian)
    assert weights[0] == 0.01
    assert weights[1] > 0.012


@pytest.mark.release
@needs_data
def test_photographs_of_a_matte_figure_are_nearly_clean() -> None:
    scene = load_scene(DATA / "middlebury" / "dinoRing", "0::12", max_size=320)
    assert Targets.of(scene, scene.train).noise < CLEAN / 2
