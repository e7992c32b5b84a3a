"""Bodies from runs, against labels of all vertices."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from multiview.surgery.bodies import Bodies

FACES = ndimage.generate_binary_structure(3, 1)
SHAPES = [(2, 2, 2), (2, 9, 31), (17, 12, 23), (20, 20, 5)]


def blobs(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).standard_normal(shape)
    values = ndimage.gaussian_filter(values, seed % 3 / 2) + 0.02
    values[values < -2] = -0.0  # which is outside
    single: NDArray[np.float32] = values.astype(np.float32)
    return single


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_bodies_are_those_of_labels_of_all_vertices(shape: tuple[int, ...], seed: int) -> None:
    values = blobs(shape, seed)
    found, painted = Bodies.of(values), np.full(shape, -1)
    flat, which = found.vertices(np.arange(len(found.size)))
    painted.reshape(-1)[flat] = which
    assert sorted(flat) == list(range(values.size))
    assert np.array_equal(found.inside[painted], values < 0)
    for side in (False, True):
        labels, count = ndimage.label((values < 0) == side, FACES)
        mine = np.flatnonzero(found.inside == side)
        assert len(mine) == count  # both in order of their first vertex
        assert np.array_equal(labels[labels > 0], 1 + np.searchsorted(mine, painted[labels > 0]))
        assert np.array_equal(found.size[mine], np.bincount(labels.ravel())[1:])
        centers = ndimage.center_of_mass(labels > 0, labels, np.arange(1, count + 1))
        assert np.allclose(found.centers(mine), np.reshape(centers, (-1, 3)), rtol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_voids_are_what_filling_holes_fills(shape: tuple[int, ...]) -> None:
    values = -blobs(shape, 2)
    if min(shape) > 4:
        values[1:4, 1:4, 1:4], values[2, 2, 2] = -1, 1
    found, voids = Bodies.of(values), np.zeros(shape, bool)
    flat, _ = found.vertices(np.flatnonzero(~found.inside & ~found.on_box))
    voids.reshape(-1)[flat] = True
    inside = values < 0
    expected = ndimage.binary_fill_holes(inside, FACES) & ~inside
    assert np.array_equal(voids, expected)
    assert expected.any() or min(shape) <= 4


def test_some_bodies_have_their_own_vertices_alone() -> None:
    values = np.ones((5, 6, 7), np.float32)
    values[1, 1:3, 2], values[3, 4, 4:6] = -1, -1
    found = Bodies.of(values)
    inside = np.flatnonzero(found.inside)
    flat, which = found.vertices(inside[::-1])
    i, j, k = np.unravel_index(flat, values.shape)
    assert set(zip(i, j, k, which, strict=True)) == {
        (1, 1, 2, 1), (1, 2, 2, 1), (3, 4, 4, 0), (3, 4, 5, 0),
    }  # fmt: skip
    assert found.centers(inside).tolist() == [[1, 1.5, 2], [3, 4, 4.5]]
