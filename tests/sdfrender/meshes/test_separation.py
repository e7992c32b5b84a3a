"""What marching cubes is given, made where the surface is, against the same on all vertices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sdfrender.meshes.extraction import FLOOR, LAYERS, SEPARATION, _closed


def closed_everywhere(values: NDArray[np.float32], level: float) -> NDArray[np.float32]:
    """The twin: whole arrays in double precision."""
    phi = values.astype(np.float64) - level
    inside = phi < 0
    size = np.maximum(np.abs(phi) / np.abs(phi).max(), FLOOR)
    for _ in range(3):
        largest = size.copy()
        for axis in range(3):
            here, there, solid = (np.moveaxis(x, axis, 0) for x in (size, largest, inside))
            across = solid[1:] != solid[:-1]
            np.maximum(there[1:], here[:-1], out=there[1:], where=across)
            np.maximum(there[:-1], here[1:], out=there[:-1], where=across)
        size = np.maximum(size, SEPARATION * largest)
    size[inside] *= -1
    return np.pad(size, 1, constant_values=1.0).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("level", [0.0, 0.1, -1e-7])
@pytest.mark.parametrize("shape", [(2, 3, 4), (LAYERS + 3, 5, 7), (2 * LAYERS, 9, 4)])
def test_it_is_the_same_as_on_all_vertices(
    shape: tuple[int, int, int], level: float, dtype: type
) -> None:
    rng = np.random.default_rng(7)
    # values of all sizes: some are negligible, some are zero
    values = rng.standard_normal(shape) * 10.0 ** rng.integers(-9, 1, shape)
    values[rng.random(shape) < 0.1] = 0
    values[0, 0, 0] = -1
    found = _closed(values.astype(dtype), level)
    expected = closed_everywhere(values.astype(dtype), level)
    assert np.array_equal(found, expected)
    assert (found[1:-1, 1:-1, 1:-1] < 0).any()


def test_nothing_is_outside() -> None:
    values = np.full((3, 4, 5), -2.0, np.float32)
    assert np.array_equal(_closed(values, 0.0), closed_everywhere(values, 0.0))
