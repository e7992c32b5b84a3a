"""Ten photographs of objects with grounds, shadows and paint: their masks, and their category."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from photographs.camera import Scene, photograph
from photographs.shapes import Shape, airplane, chair, cup, solid, table, vase
from photographs.ten import TEN
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation
from torch import Tensor

from sdfrender.files.assets import find_asset
from sdfrender.files.formats.pngs import write_png
from sdfrender.geometry.mesh_files import Doubles
from sdfrender.masks.one_picture import object_in_picture
from singleview.pictures.input_pictures import load_picture
from singleview.predict.predict import DEMO_WEIGHTS, load_predictor

# Some of each category, to be likened to.
KNOWN: dict[str, list[Shape]] = {
    "cup": [cup(), cup(0.5, 0.45, 0.1), cup(0.4, 0.5)],
    "vase": [vase(), vase((0.3, 0.34, 0.3, 0.2, 0.2, 0.3)), vase((0.2, 0.3, 0.42, 0.4, 0.3, 0.2))],
    "chair": [chair(), chair(0.65, 0.38, 0.05), chair(0.7, 0.3)],
    "table": [table(), table(0.7, 0.4), table(0.6, 0.3)],
    "airplane": [airplane(), airplane(0.7, 0.1), airplane(0.74, 0.3)],
}
pictures = cache(photograph)


@pytest.mark.parametrize("scene", TEN, ids=lambda scene: scene.name)
def test_the_object_is_found(scene: Scene) -> None:
    picture, true = pictures(scene)
    found = object_in_picture((picture / 255).astype(np.float32))
    assert not found.doubt
    mask = found.coverage > 0.5
    assert (mask & true).sum() / (mask | true).sum() > 0.8


@pytest.mark.slow
def test_nine_of_ten_photographs_give_a_shape_of_their_category(tmp_path: Path) -> None:
    predictor = load_predictor(find_asset(*DEMO_WEIGHTS), white=False)
    right = []
    for scene in TEN:
        write_png(tmp_path / "photo.png", pictures(scene)[0])
        picture = load_picture(tmp_path / "photo.png", "auto", False)
        lattice = predictor(picture.planes(64)[None])
        right.append(likest(lattice.resample((32,) * 3).values[0] < 0) == scene.category)
    assert sum(right) >= 9, [scene.name for scene, good in zip(TEN, right, strict=True) if not good]


def likest(shape: Tensor) -> str:
    """The category one of whose shapes is nearest to a solid `[32, 32, 32]`, however it is turned.

    Overlap would not do: of two tables, each a plate as thick as a voxel, it is 0 or 1.
    """
    points = _points(shape.numpy())
    return min(KNOWN, key=lambda category: min(_away(points, x) for x in _clouds(category)))


@cache
def _clouds(category: str) -> list[KDTree]:
    return [KDTree(_points(solid(shape))) for shape in KNOWN[category]]


def _away(points: Doubles, other: KDTree) -> float:
    """The mean distance there and back, at the best of four turns about y."""
    found = []
    for k in range(4):
        turned = points @ Rotation.from_euler("y", 90 * k, degrees=True).as_matrix()
        there, back = other.query(turned)[0], KDTree(turned).query(other.data)[0]
        found.append(float(there.mean() + back.mean()))
    return min(found)


def _points(inside: NDArray[np.bool_]) -> Doubles:
    """`[P, 3]` the samples that are inside."""
    axis = np.linspace(-1, 1, len(inside))
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    return grid[inside] if inside.any() else np.zeros((1, 3))
