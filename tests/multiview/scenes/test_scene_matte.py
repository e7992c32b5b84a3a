"""Soft outlines of a bright object before a dark stage, against a coverage that is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from multiview.scenes.masks.matte import soften
from sdfrender.files.images import area_average
from sdfrender.masks.silhouettes import threshold_silhouette

Doubles = NDArray[np.float64]
STAGE, OBJECT = 0.04, 0.6


def disc(height: int = 61, width: int = 84, fine: int = 8) -> Doubles:
    """Coverage of an off-centre disc, by supersampling."""
    y, x = np.mgrid[: height * fine, : width * fine] / fine
    inside = ((x - 47.3) ** 2 + (y - 26.6) ** 2 < 19.2**2).astype(np.float32)
    return area_average(inside[..., None], width, height)[..., 0].astype(np.float64)


@pytest.mark.parametrize(("blur", "worst"), [(0.0, 0.02), (0.8, 0.05), (1.2, 0.2)])
def test_coverage_is_found_between_stage_and_object(blur: float, worst: float) -> None:
    truth = ndimage.gaussian_filter(disc(), blur) if blur else disc()
    photo = (STAGE + (OBJECT - STAGE) * truth).astype(np.float32)
    hard, known = threshold_silhouette(photo[..., None], 0.14)
    soft, taken = soften(photo, hard, known)
    inside = known > 0.5
    # A wide blur reaches farther into the object than the outline is softened.
    assert float(np.abs(soft - truth)[inside].max()) < worst
    assert float(np.abs(soft - truth)[inside].mean()) < 0.2 * np.abs(hard - truth)[inside].mean()
    # Photographs of the stage are dark, not black: what is taken of them is nearly premultiplied.
    assert float(np.abs(photo * taken - OBJECT * truth)[inside].max()) < STAGE + 0.02


def test_where_the_outline_is_a_guess_it_stays_hard() -> None:
    photo = (STAGE + (OBJECT - STAGE) * disc()).astype(np.float32)
    hard, known = threshold_silhouette(photo[..., None], 0.14)
    known[:, :40] = 0
    soft, taken = soften(photo, hard, known)
    assert np.array_equal(soft[:, :40], hard[:, :40])
    assert np.array_equal(taken[:, :40], hard[:, :40])
    assert not np.array_equal(soft, hard)


def test_without_a_stage_or_contrast_nothing_is_softened() -> None:
    full = np.ones((20, 30), np.float32)
    assert np.array_equal(soften(0.5 * full, full, full)[0], full)
    hard = (disc() > 0.5).astype(np.float32)
    faint = (0.3 + 0.05 * hard).astype(np.float32)
    assert np.array_equal(soften(faint, hard, np.ones_like(hard))[0], hard)
