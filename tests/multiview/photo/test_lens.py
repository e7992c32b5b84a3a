"""The blur of a lens: against SciPy's, its derivative, and how it is found."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from multiview.photo.lens import LEAST, LensEstimate, blur, blur_, parabola_minimum


def pictures(width: int = 23, height: int = 17, channels: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.rand((2, height, width, channels), generator=random, dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.7])
@pytest.mark.parametrize("size", [(23, 17, 3), (8, 31, 1), (3, 2, 2)])  # also narrower than it
def test_it_is_scipys(size: tuple[int, int, int], sigma: float) -> None:
    x = pictures(*size)
    taps = ndimage.gaussian_filter(x.numpy(), (0, sigma, sigma, 0), mode="reflect", radius=6)
    if min(size[:2]) > 6:
        torch.testing.assert_close(blur(x, sigma), torch.from_numpy(taps), atol=2e-3, rtol=0)
    ones = torch.ones_like(x)
    torch.testing.assert_close(blur(ones, sigma), ones)  # nothing is lost at the frame
    torch.testing.assert_close(blur(x.float(), sigma), blur(x, sigma).float())


def test_empty_parts_of_a_picture_change_nothing() -> None:
    """They are skipped: what is left has to spread into them, also at the frame."""
    x = pictures(40, 30)
    kept = torch.zeros_like(x)
    kept[0, 12:19, 8:15], kept[1, :3, 35:] = x[0, 12:19, 8:15], x[1, :3, 35:]
    kept[0, 27, 0] = 1.0
    expected = blur(x, 1.3) - blur(x - kept, 1.3)
    torch.testing.assert_close(blur(kept, 1.3), expected, atol=1e-12, rtol=0)
    assert not bool(blur(torch.zeros_like(x), 1.3).any())


def test_a_lens_that_is_sharp_enough_changes_nothing() -> None:
    x = pictures()
    assert blur(x, 0.99 * LEAST) is x


def test_in_place_it_is_the_same() -> None:
    x = pictures()
    expected = blur(x, 0.9)
    assert not torch.equal(expected, x)  # which was left alone
    assert blur_(x, 0.9) is x
    assert torch.equal(x, expected)
    assert torch.equal(blur_(x, 0.99 * LEAST), expected)


def test_twice_is_once_with_a_wider_one() -> None:
    x = pictures(40, 30)
    torch.testing.assert_close(blur(blur(x, 0.9), 0.9), blur(x, 2**0.5 * 0.9), atol=6e-3, rtol=0)


def test_its_derivative_is_itself() -> None:
    x = pictures(9, 7, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: blur(v, 0.9), (x,))
    a, b = pictures(9, 7, 2), pictures(9, 7, 2).flip(0)
    torch.testing.assert_close((blur(a, 0.9) * b).sum(), (a * blur(b, 0.9)).sum())


def test_it_does_not_depend_on_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(blur(pictures(), 1.1))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


@pytest.mark.parametrize("sigma", [0.0, 0.62, 1.1, 2.0])
def test_the_blur_of_photographs_is_found(sigma: float) -> None:
    sharp = pictures(60, 50).float()
    sharp[:, 20:30, 25:40] = 1  # a contour
    photographs = blur(sharp, sigma)
    photographs[:, :10] = 0.5  # which do not count
    weights = torch.ones(sharp.shape[:3])
    weights[:, :14] = 0
    estimate = LensEstimate(0.01)
    assert estimate.best() == 0.01
    estimate.observe(sharp[:1], photographs[:1], weights[:1])
    estimate.observe(sharp[1:], photographs[1:], weights[1:])
    assert abs(60 * estimate.best() - sigma) < 0.08


def test_the_least_of_a_parabola() -> None:
    def f(x: float) -> float:
        return 3 * (x - 0.7) ** 2 + 1

    x = (0.0, 0.4, 1.0, 1.5)
    assert abs(parabola_minimum(x, [f(v) for v in x]) - 0.7) < 1e-12
    assert parabola_minimum(x, [0, 1, 2, 3]) == 0.0
    assert parabola_minimum(x, [3, 2, 1, 0]) == 1.5
