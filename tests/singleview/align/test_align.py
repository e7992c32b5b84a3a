"""Meshes that lie about in their files, turned to one pose."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from sdfrender import InputError, save_mesh
from sdfrender.files.formats.pngs import read_png
from singleview import cli
from singleview.align.align import align, doubtful, shares
from singleview.align.category import BLUR, align_category, pair_overlaps
from singleview.align.closer import closer
from singleview.align.turns import rotations, turned
from singleview.config import AlignConfig
from singleview.data.meshes import canonical_mesh, find_meshes

SIZES = [(0.34, 0.7), (0.4, 0.6), (0.3, 0.75), (0.36, 0.5), (0.42, 0.8)]


def seat(width: float, back: float) -> trimesh.Trimesh:
    """A chair without a left and right that differ: four legs, a seat, a back at −z."""
    boxes = [((2 * width, 0.12, 2 * width), (0.0, 0.0, 0.0)),
             ((2 * width, back, 0.1), (0.0, back / 2, 0.05 - width))]  # fmt: skip
    boxes += [
        ((0.1, 0.5, 0.1), (x * (width - 0.05), -0.25, z * (width - 0.05)))
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    parts = [trimesh.creation.box(size) for size, _ in boxes]
    for part, (_, middle) in zip(parts, boxes, strict=True):
        part.apply_translation(middle)
    return trimesh.util.concatenate(parts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Chairs: the first three stand as they should, the fourth and fifth lie about."""
    group = rotations()
    (tmp_path / "seat").mkdir()
    for n, size in enumerate(SIZES):
        mesh = seat(*size)
        if n >= 3:
            mesh.vertices = mesh.vertices @ group[5 * n].T + (3.0, 0.0, 1.0)
        save_mesh(tmp_path / "seat" / f"{n}.ply", mesh)
    return tmp_path


def check_upright(folder: Path, names: list[str] | None = None) -> None:
    for n, source in enumerate(find_meshes(folder)):
        if names is None or source.name in names:
            low, high = seat(*SIZES[n]).bounds
            true = (seat(*SIZES[n]).vertices - (low + high) / 2) * 1.5 / (high - low).max()
            found = canonical_mesh(source).vertices
            order = [np.lexsort(x.round(4).T) for x in (true, found)]
            np.testing.assert_allclose(found[order[1]], true[order[0]], atol=1e-3)


def test_the_rotations_of_a_cube() -> None:
    group = rotations()
    assert len({R.tobytes() for R in group}) == 24
    assert np.array_equal(group[0], np.eye(3))
    rng = np.random.default_rng(0)
    solid = rng.random((5, 5, 5)).astype(np.float32)
    places = np.stack(np.meshgrid(*3 * [np.arange(5) - 2], indexing="ij"), -1)
    for R in group:
        found = turned(solid, R)
        came_from = (places @ R + 2).astype(int)  # Rᵀ x, of rows
        np.testing.assert_array_equal(found, solid[tuple(np.moveaxis(came_from, -1, 0))])


def test_meshes_are_turned_as_most_of_the_files_are(folder: Path) -> None:
    found = align(AlignConfig(folder), quiet=True)
    check_upright(folder)
    table = json.loads((folder / "alignment.json").read_text())
    assert table["seat/0.ply"] == np.eye(3).tolist()
    assert set(table["_overlap"]) == {f"seat/{n}.ply" for n in range(5)}
    assert not doubtful(found)
    assert read_png(folder / "seat.png").shape == (96 + 24, 5 * 96, 3)


def test_what_is_told_stays_and_the_others_follow(folder: Path) -> None:
    up = Rotation.from_euler("y", 90, degrees=True).as_matrix().round().tolist()
    (folder / "alignment.json").write_text(json.dumps({"seat/1.ply": up}))
    found = align(AlignConfig(folder), quiet=True)
    assert [one.kept for one in found] == [False, True, False, False, False]
    table = json.loads((folder / "alignment.json").read_text())
    assert table["seat/1.ply"] == up
    align(AlignConfig(folder, turn=("seat:y-90",)), quiet=True)
    check_upright(folder)
    align(AlignConfig(folder, turn=("seat/2.ply:x180", "seat/2:x180")), quiet=True)
    check_upright(folder)
    with pytest.raises(InputError, match="--turn: need a mesh"):
        align(AlignConfig(folder, turn=("table:x90",)), quiet=True)
    with pytest.raises(InputError, match="--turn: need PATH:AXISDEGREES"):
        AlignConfig(folder, turn=("seat",))


def test_the_last_degrees() -> None:
    mesh = seat(*SIZES[0])
    points = np.asarray(mesh.sample(2000, seed=1))
    R = Rotation.from_euler("yx", [17, 6], degrees=True)
    back = closer(points @ R.as_matrix().T, np.asarray(mesh.sample(8000, seed=2)))
    assert (Rotation.from_matrix(back) * R).magnitude() < np.radians(1.5)


def test_overlaps_of_pairs_are_those_of_kernels_about_their_points() -> None:
    """Σ of Gaussians of all pairs of points, twice as wide as the blur in variance."""
    rng = np.random.default_rng(0)
    clouds = [rng.uniform(-0.6, 0.6, (200, 3)) * (1.0, 0.2, 0.5) for _ in range(2)]
    clouds[1][:, 1] += 0.2
    group = rotations()
    table = pair_overlaps([shares(cloud, 40) for cloud in clouds], group)
    variance = 2 * (2 * BLUR) ** 2

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-cdist(a, b, "sqeuclidean") / (2 * variance)).sum())

    for n in (0, 5, 17):
        own, other = clouds[0] @ group[n].T, clouds[1]
        true = kernel(own, other) / (kernel(own, own) * kernel(other, other)) ** 0.5
        assert table[n, 0, 1] == pytest.approx(true, abs=0.02)
        back = next(m for m in range(24) if np.array_equal(group[m], group[n].T))
        assert table[back, 1, 0] == pytest.approx(table[n, 0, 1], rel=1e-5)
    assert table[0, 1, 1] == pytest.approx(1.0)


def test_a_single_mesh_stays_as_it_is() -> None:
    solid = np.zeros((4, 4, 4), np.float32)
    solid[:2] = 1
    assert np.array_equal(align_category([solid], [False])[0], np.eye(3))


def test_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["singleview", "align", str(folder), "--json"])
    assert cli.main() == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told) == 5
    assert min(told.values()) > 0.7
