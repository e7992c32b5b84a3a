"""True meshes stand as when the data set was made, whatever becomes of alignment.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from sdfrender import InputError, save_mesh
from singleview.config import RenderDatasetConfig, SamplePointsConfig
from singleview.data.layouts.folder import read_manifest
from singleview.data.meshes import canonical_mesh, source_of
from singleview.data.shards import stored_rotations
from singleview.evaluate.truths import true_meshes
from singleview.from_meshes.render_dataset import render_dataset
from singleview.from_meshes.sample_points import sample_points

TURN = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]  # x to y
NAMES = ["brick/0", "brick/1"]


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """Two bricks, the first of which is turned."""
    folder = tmp_path / "meshes"
    (folder / "brick").mkdir(parents=True)
    for n in range(2):
        save_mesh(folder / "brick" / f"{n}.ply", trimesh.creation.box((1.0, 2.0 + n, 0.7)))
    (folder / "alignment.json").write_text(json.dumps({"brick/0.ply": TURN}))
    return folder


def test_rotations_are_stored_and_used(
    meshes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, sdf in (("samples", None), ("distances", 200)):
        out = tmp_path / name
        config = SamplePointsConfig(
            meshes, out, points=50, near=20, surface=30, split="all", sdf=sdf
        )
        sample_points(config, quiet=True)
        stored = stored_rotations(out / f"{name}.json")
        assert stored is not None
        assert {key: R.tolist() for key, R in stored.items()} == {"brick/0": TURN}
    true = true_meshes(meshes, NAMES, out / "distances.json")
    assert not caplog.text
    (meshes / "alignment.json").write_text(json.dumps({"brick/1.ply": TURN}))
    found = true_meshes(meshes, NAMES, out / "distances.json")
    assert "alignment has changed for 2 of 2 meshes" in caplog.text
    for name in NAMES:
        assert np.array_equal(true[name].vertices, found[name].vertices)
    assert found["brick/0"].extents.argmax() == 0
    assert found["brick/1"].extents.argmax() == 1


def test_a_manifest_from_before_leaves_it_to_the_folder(
    meshes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = tmp_path / "samples.json"
    manifest.write_text("{}")
    assert true_meshes(meshes, NAMES, manifest)["brick/0"].extents.argmax() == 0
    assert "does not say how meshes were turned" in caplog.text


def test_pictures_store_them_too(meshes: Path, tmp_path: Path) -> None:
    config = RenderDatasetConfig(
        meshes, tmp_path / "data", size=16, views=2, resolution=8, supersampling=1, jobs=1,
        split="protocol",
    )  # fmt: skip
    render_dataset(config)
    stored = read_manifest(tmp_path / "data").rotations
    assert {name: R.tolist() for name, R in stored.items()} == {"brick/0": TURN}


def test_a_folder_of_another_alignment_is_not_completed(meshes: Path, tmp_path: Path) -> None:
    points = SamplePointsConfig(meshes, tmp_path / "s", points=50, near=20, surface=30, split="all")
    pictures = RenderDatasetConfig(
        meshes, tmp_path / "p", size=16, views=2, resolution=8, supersampling=1, jobs=1
    )
    sample_points(points, quiet=True)
    render_dataset(pictures)
    (meshes / "alignment.json").write_text(json.dumps({"brick/1.ply": TURN}))
    with pytest.raises(InputError, match="other objects or settings"):
        sample_points(points, quiet=True)
    with pytest.raises(InputError, match="aligned in another way"):
        render_dataset(pictures)
    for file in (tmp_path / "s" / "samples.json", tmp_path / "p" / "dataset.json"):
        table = json.loads(file.read_text())
        del table["rotations"]  # as before they were stored
        file.write_text(json.dumps(table))
    sample_points(points, quiet=True)
    render_dataset(pictures)


def test_a_single_mesh_is_turned_as_the_file_beside_it_says(meshes: Path) -> None:
    assert source_of(meshes / "brick" / "0.ply").rotation.tolist() == TURN
    assert canonical_mesh(source_of(meshes / "brick" / "0.ply")).extents.argmax() == 0
    assert source_of(meshes / "brick" / "1.ply").rotation.tolist() == np.eye(3).tolist()
    (meshes / "brick" / "alignment.json").write_text(json.dumps({"1.ply": TURN}))
    assert source_of(meshes / "brick" / "1.ply").rotation.tolist() == TURN
