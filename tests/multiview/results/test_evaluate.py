"""Scores of views: what has none is left out of the means and told."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import tiny
import torch

from multiview.photo.targets import Targets
from multiview.results.evaluate import ViewScore, mean_scores, score_view
from multiview.results.results import doubts
from multiview.scenes import Scene
from sdfrender import render


def targets(coverage: float) -> Targets:
    """Two views; the mask of the second is multiplied by `coverage`."""
    cameras = tiny.ring(2, 21, 17)
    out = render(tiny.true_lattice(), cameras, lighting=tiny.LIGHT)
    factor = torch.tensor([1.0, coverage])[:, None, None]
    ones = torch.ones_like(out.silhouettes)
    return Targets(cameras, out.images, out.silhouettes * factor, ones, ones)


def test_a_mask_below_one_half_has_no_psnr_inside_it() -> None:
    """As of a wire that is thinner than a pixel of images that were averaged down."""
    views = targets(0.4)
    seen = views.silhouettes
    scores = [score_view(views.images[n] + 0.1, seen[n], views, n) for n in (0, 1)]
    assert math.isnan(scores[1].psnr)
    assert scores[1].psnr_full == pytest.approx(20, abs=1e-3)
    means = mean_scores(scores)
    assert means["psnr"] == scores[0].psnr == pytest.approx(20, abs=1e-3)
    assert means["silhouette_iou"] == 1
    assert math.isnan(mean_scores(scores[1:])["psnr"])


def test_views_without_a_score_are_told() -> None:
    views = targets(1.0)
    scene = Scene(
        "wires",
        ("a", "b"),
        views.images,
        views.silhouettes,
        views.silhouette_weights,
        views.image_weights,
        views.cameras,
        (0, 1),
        (),
    )
    good = ViewScore(30.0, 30.0, None, 0.9)
    assert doubts(scene, [good, good]) == []
    (told,) = doubts(scene, [good, replace(good, psnr=math.nan)])
    assert "1 of 2 views (b)" in told
    assert "--image-size" in told
