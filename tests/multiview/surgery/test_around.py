"""Means around a surface, window by window, against filters of the whole lattice."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from multiview.surgery.around import SIDE, Windows

SHAPES = [(5, 40, 33), (SIDE, 2 * SIDE + 1, 7), (70, 3, 100)]
SIGMAS = [(1.0, 1.0, 1.0), (1.0, 2.3, 0.4), (12.0, 1.0, 1.0)]


def spots(shape: tuple[int, ...], count: int = 6) -> tuple[NDArray[np.intp], ...]:
    """A few vertices, among them the first and the last."""
    rng = np.random.default_rng(3)
    ids = [np.concatenate(([0, n - 1], rng.integers(0, n, count))) for n in shape]
    return np.unravel_index(np.unique(np.ravel_multi_index(tuple(ids), shape)), shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_windows_get_what_the_whole_lattice_gets(
    shape: tuple[int, ...], sigma: tuple[float, ...]
) -> None:
    rng, ids = np.random.default_rng(4), spots(shape)
    total, count = (np.zeros(shape, np.float32) for _ in range(2))
    total[ids], count[ids] = rng.standard_normal(len(ids[0])), 1
    sums, counts = (ndimage.gaussian_filter(x, sigma) for x in (total, count))
    expected = np.where(counts > 1e-4, sums / np.maximum(counts, 1e-4), 0)

    found, filtered = (np.zeros(shape, np.float32) for _ in range(2))
    reached = Windows.of(ids, shape, sigma, reached=True)
    for part, mean in reached.means(total, count):
        found[part] = mean
    for part, smooth, inner in reached.filtered(total):
        filtered[part] = smooth[inner]
    assert np.array_equal(found, expected)  # beyond them there is nothing
    assert np.array_equal(filtered, sums)

    mine = Windows.of(ids, shape, sigma)
    assert np.array_equal(mine.means_at(ids, total, count), expected[ids])
    assert sorted(np.concatenate(list(mine.members(ids)))) == list(range(len(ids[0])))
    values = rng.standard_normal(shape).astype(np.float32)
    whole = ndimage.gaussian_filter(values, sigma)
    for part, smooth, inner in mine.filtered(values, beside=2):
        wide = tuple(
            slice(p.start - i.start, p.start - i.start + n)
            for p, i, n in zip(part, inner, smooth.shape, strict=True)
        )
        near = tuple(  # what is two vertices beside a window is right too
            slice(max(i.start - 2, 0), i.stop + 2) for i in inner
        )
        assert np.array_equal(smooth[inner], whole[part])
        assert np.array_equal(smooth[near], whole[wide][near])


def test_windows_are_few_where_the_surface_is_small() -> None:
    ids = tuple(np.array([97]) for _ in range(3))
    assert len(Windows.of(ids, (256, 256, 256), (1.0, 1.0, 1.0)).places) == 1
    assert len(Windows.of(ids, (256, 256, 256), (1.0, 1.0, 1.0), reached=True).places) == 8
