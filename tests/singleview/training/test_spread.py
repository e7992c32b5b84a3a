"""Gradients of pictures are smoothed by a Gaussian, and what was a way down stays one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from singleview.models.small import GRAIN, smooth_noise
from singleview.training.spread import spread

SHAPE = (2, 9, 14, 7)


@pytest.mark.parametrize("width", [0.7, 3.0])
def test_the_filter_is_a_gaussian(width: float) -> None:
    x = torch.randn(SHAPE, dtype=torch.float64)
    each = [
        gaussian_filter(one, width, mode="constant", radius=math.ceil(3 * width))
        for one in x.numpy()
    ]
    np.testing.assert_allclose(spread(x, width).numpy(), np.stack(each), rtol=0, atol=1e-12)
    assert torch.equal(spread(x, 0.0), x)


def test_a_way_down_stays_one() -> None:
    x, y = torch.randn(2, *SHAPE, dtype=torch.float64)
    for width in (0.7, 3.0):
        assert float((x * spread(x, width)).sum()) > 0
        one, other = (x * spread(y, width)).sum(), (spread(x, width) * y).sum()
        torch.testing.assert_close(one, other)


def test_a_decoder_starts_from_shapes_not_from_dust() -> None:
    side, count = 13, 40
    fields = smooth_noise(count, side).T.reshape(count, side, side, side)
    assert 0.2 < float(fields.std()) < 1
    step = fields.diff(dim=1).std() / fields.std()  # of white noise it would be 1.41
    assert float(step) < 3 / GRAIN
