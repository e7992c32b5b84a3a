"""What marching cubes is given, made where the surface is, against the same on all vertices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from sdfrender import Lattice
from sdfrender.geometry.blocks import SIDE
from sdfrender.geometry.mesh_files import merge_exact
from sdfrender.meshes import extraction
from sdfrender.meshes.tiles import CORNERS, FLOOR, SEPARATION, tiles_around


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


def assert_tiles(values: NDArray[Any], level: float) -> None:
    """The tiles have what the twin has, and all cells of it that marching cubes would mesh."""
    expected = closed_everywhere(values, level)
    found = tiles_around(values, level)
    assert found is not None
    rest = np.pad(expected, (0, SIDE), constant_values=1.0)
    wanted = {tuple(cell // SIDE) for cell in np.argwhere(_mixed(expected))}
    assert {tuple(place) for place in found.places} == wanted
    for place, tile in zip(found.places, found.values, strict=True):
        part = tuple(slice(SIDE * n, SIDE * n + CORNERS) for n in place)
        assert np.array_equal(tile, rest[part])


def _mixed(closed: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Cells with corners on both sides."""
    corners = np.lib.stride_tricks.sliding_window_view(closed, (2, 2, 2)).min((3, 4, 5)) < 0
    beside = np.lib.stride_tricks.sliding_window_view(closed, (2, 2, 2)).max((3, 4, 5)) > 0
    mixed: NDArray[np.bool_] = corners & beside
    return mixed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("level", [0.0, 0.1, -1e-7])
@pytest.mark.parametrize("shape", [(2, 3, 4), (19, 5, 7), (32, 9, 4), (7, 8, 15)])
def test_it_is_the_same_as_on_all_vertices(
    shape: tuple[int, int, int], level: float, dtype: type
) -> None:
    rng = np.random.default_rng(7)
    # values of all sizes: some are negligible, some are zero
    values = rng.standard_normal(shape) * 10.0 ** rng.integers(-9, 1, shape)
    values[rng.random(shape) < 0.1] = 0
    values[0, 0, 0] = -1
    assert_tiles(values.astype(dtype), level)


@pytest.mark.parametrize("shape", [(20, 33, 17), (16, 8, 40)])
def test_tiles_are_where_the_surface_is(shape: tuple[int, int, int]) -> None:
    values = np.random.default_rng(8).standard_normal(shape)
    values = ndimage.gaussian_filter(values, 1.5) + 0.1 * (np.arange(shape[2]) - 5)
    assert_tiles(values.astype(np.float32), 0.0)


def test_nothing_is_outside() -> None:
    assert_tiles(np.full((3, 4, 5), -2.0, np.float32), 0.0)


def test_nothing_is_inside() -> None:
    assert tiles_around(np.full((3, 4, 5), 2.0, np.float32), 2.0) is None


@pytest.mark.parametrize("together", [3, 4096])
def test_meshes_of_tiles_join_to_that_of_the_whole(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vertices, triangles and their turn are those of marching cubes on all vertices at once."""
    monkeypatch.setattr(extraction, "TOGETHER", together)
    for sigma, shape in ((1.2, (20, 33, 17)), (0.0, (9, 10, 18))):
        values = np.random.default_rng(9).standard_normal(shape)
        values = (ndimage.gaussian_filter(values, sigma) - 0.02).astype(np.float32)
        values[0, 0, 0] = values[-1, -1, -1] = -1e-6  # caps of almost nothing, at corners
        box = torch.tensor([[0.0] * 3, [n - 1.0 for n in shape]])
        mesh = extraction.extract_mesh(Lattice(torch.from_numpy(values), box))
        closed = closed_everywhere(values, 0.0)
        index, faces, _, _ = marching_cubes(closed, 0.0)  # type: ignore[no-untyped-call]
        expected = np.clip(index.astype(np.float64) - 1, 0, np.array(shape) - 1)
        verts, faces = merge_exact(expected, faces.astype(np.int64))
        assert len(mesh.vertices) == len(verts)
        distance, nearest = cKDTree(verts).query(mesh.vertices)
        assert distance.max() < 1e-4  # rounding of positions in float32
        assert len(set(nearest)) == len(verts)
        assert _turned(nearest[mesh.faces]) == _turned(faces)


def _turned(faces: NDArray[np.int64]) -> set[tuple[int, ...]]:
    """Triangles from their least corner on."""
    return {tuple(np.roll(face, -int(face.argmin()))) for face in faces}
