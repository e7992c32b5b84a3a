"""`singleview render-dataset`: what it writes, reads back, resumes and refuses."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from singleview_tiny import write_meshes

from sdfrender import Lattice, render
from sdfrender.errors import InputError
from sdfrender.files.formats.pngs import read_png
from sdfrender.meshes.metrics import silhouette_iou
from singleview import cli
from singleview.config import RenderDatasetConfig
from singleview.data.dataset import Dataset
from singleview.data.meshes import (
    canonical_mesh,
    find_meshes,
    protocol_split,
    random_split,
)
from singleview.data.open import open_dataset
from singleview.from_meshes.render_dataset import render_dataset
from singleview.from_meshes.rigs import ELEVATIONS_DEG, rig_cameras

QUICK = {"size": 24, "views": 4, "resolution": 24, "supersampling": 3, "jobs": 1}


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_meshes(tmp_path_factory.mktemp("singleview") / "meshes")


@pytest.fixture(scope="module")
def folder(meshes: Path) -> Path:
    out = meshes.parent / "dataset"
    render_dataset(RenderDatasetConfig(meshes, out, **QUICK))  # type: ignore[arg-type]
    return out


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return open_dataset(folder)


# ---------------------------------------------------------------------- what it writes


def test_the_objects_are_there(dataset: Dataset, folder: Path) -> None:
    assert dataset.names == ("ball/0", "ball/1", "ball/2", "brick/0", "brick/1", "brick/2")
    assert dataset.splits == ("train", "train", "val") * 2
    assert dataset.images.shape == (6, 4, 24, 24, 1)
    assert dataset.values is not None
    assert dataset.values.shape == (6, 24, 24, 24)
    assert {p.name for p in folder.iterdir()} == {
        "dataset.json", "ball", "brick", "ball.png", "brick.png",
    }  # fmt: skip
    sheet = read_png(folder / "ball.png")
    assert sheet.shape == (3 * 26, 4 * 26, 1)


def test_the_pictures_show_the_true_shapes(dataset: Dataset) -> None:
    assert dataset.values is not None
    assert dataset.shared_cameras is not None
    lattices = Lattice(dataset.values.float(), dataset.bounds)
    seen = render(lattices, dataset.shared_cameras, lighting=dataset.lighting)
    masks = dataset.silhouettes.float() / 255
    for i in range(len(dataset)):
        assert silhouette_iou(seen.silhouettes[i], masks[i]) > 0.85, dataset.names[i]
        both = (seen.silhouettes[i] > 0.99) & (masks[i] > 0.99)
        error = (seen.images[i] - dataset[i].views.images)[both].abs()
        assert float(error.median()) < 0.03, dataset.names[i]


def test_objects_are_centred_with_the_longest_side_as_agreed(dataset: Dataset) -> None:
    assert dataset.values is not None
    for name, values in zip(dataset.names, dataset.values.float(), strict=True):
        lattice = Lattice(values, dataset.bounds)
        solid = lattice.vertices[values < 0]
        extents = solid.amax(0) - solid.amin(0)
        h = float(lattice.spacing[0])
        assert abs(float(extents.max()) - 1.5) < 2 * h, name
        torch.testing.assert_close(solid.amax(0), -solid.amin(0), atol=1.01 * h, rtol=0)


def test_a_mesh_with_a_hole_has_an_inside(dataset: Dataset) -> None:
    assert dataset.values is not None
    volume = int((dataset.values[2] < 0).sum()) * (2 / 23) ** 3
    assert volume == pytest.approx(4 / 3 * math.pi * 0.75**3, rel=0.12)


def test_the_light_is_soft_and_stored(dataset: Dataset, folder: Path) -> None:
    assert dataset.lighting is not None
    assert dataset.lighting.headlight is not None
    assert dataset.lighting.headlight.intensity == 0.7
    assert tuple(dataset.lighting.directional[0].to_light) == (0.3, 0.8, 0.5)
    stored = json.loads((folder / "dataset.json").read_text())
    assert stored["settings"]["cameras"] == "elevations"
    assert stored["settings"]["supersampling"] == 3


# ---------------------------------------------------------------------- going on


def test_a_finished_object_is_not_rendered_again(folder: Path, meshes: Path) -> None:
    kept, lost = folder / "ball" / "0.npz", folder / "brick" / "1.npz"
    before, bytes_before = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    config = RenderDatasetConfig(meshes, folder, **QUICK)  # type: ignore[arg-type]
    render_dataset(config)
    assert kept.stat().st_mtime_ns == before
    with np.load(lost) as again:
        names = again.files
    assert names == ["images", "silhouettes", "values", "inside_32"]
    assert len(lost.read_bytes()) == len(bytes_before)


def test_torch_works_on_as_many_threads_as_before(meshes: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    config = RenderDatasetConfig(meshes, tmp_path / "out", **QUICK)  # type: ignore[arg-type]
    try:
        torch.set_num_threads(3)
        render_dataset(config)
        assert torch.get_num_threads() == 3
        broken = patch(
            "singleview.from_meshes.render_dataset.raytrace", side_effect=InputError("no")
        )
        with broken, pytest.raises(InputError):
            render_dataset(replace(config, out=tmp_path / "other"))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_other_settings_need_another_folder(folder: Path, meshes: Path) -> None:
    config = RenderDatasetConfig(meshes, folder, **QUICK)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="was rendered with size 24, now 32"):
        render_dataset(replace(config, size=32))
    with pytest.raises(InputError, match=r"was rendered with categories \[\], now \['ball'\]"):
        render_dataset(replace(config, categories=("ball",)))
    with pytest.raises(InputError, match=r"not a dataset \(no dataset.json\)"):
        render_dataset(replace(config, out=meshes))


@pytest.mark.slow
def test_processes_make_the_same_files(folder: Path, meshes: Path, tmp_path: Path) -> None:
    config = RenderDatasetConfig(
        meshes, tmp_path / "out", categories=("brick",), **{**QUICK, "jobs": 2}  # type: ignore[arg-type]
    )  # fmt: skip
    render_dataset(config)
    for i in range(3):
        here, there = tmp_path / "out" / "brick" / f"{i}.npz", folder / "brick" / f"{i}.npz"
        with np.load(here) as a, np.load(there) as b:
            for key in a.files:
                assert np.array_equal(a[key], b[key])


def test_an_error_in_a_process_names_the_mesh(tmp_path: Path) -> None:
    meshes = write_meshes(tmp_path / "meshes", count=1)
    (meshes / "brick" / "broken.ply").write_bytes(b"ply\nformat nonsense")
    config = RenderDatasetConfig(meshes, tmp_path / "out", **QUICK)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"broken.ply: not a readable .ply mesh"):
        render_dataset(config)


# ---------------------------------------------------------------------- meshes, splits, cameras


def test_an_alignment_turns_meshes(meshes: Path, tmp_path: Path) -> None:
    up = [[0, 0, -1], [0, 1, 0], [1, 0, 0]]  # z to −x
    (tmp_path / "turn.json").write_text(json.dumps({"_": "note", "brick/0.ply": up}))
    turned, plain = (
        canonical_mesh(find_meshes(meshes, alignment)[3])
        for alignment in (tmp_path / "turn.json", None)
    )
    np.testing.assert_allclose(plain.extents, (0.375, 0.75, 1.5))
    np.testing.assert_allclose(turned.extents, (1.5, 0.75, 0.375))
    np.testing.assert_allclose(turned.vertices, plain.vertices @ np.array(up).T, atol=1e-12)
    np.testing.assert_allclose(plain.bounds.mean(0), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("rotation", "problem"),
    [
        ([[1, 0, 0], [0, 1, 0], [0, 0, -1]], "mirror image"),
        ([[2, 0, 0], [0, 1, 0], [0, 0, 1]], "needs a rotation"),
        ("up", "needs a rotation"),
    ],
)
def test_an_alignment_must_be_rotations(
    meshes: Path, tmp_path: Path, rotation: object, problem: str
) -> None:
    (tmp_path / "turn.json").write_text(json.dumps({"brick/0.ply": rotation}))
    with pytest.raises(InputError, match=problem):
        find_meshes(meshes, tmp_path / "turn.json")


def test_an_alignment_for_other_meshes_is_refused(meshes: Path, tmp_path: Path) -> None:
    (tmp_path / "turn.json").write_text(json.dumps({"0.ply": np.eye(3).tolist()}))
    with pytest.raises(
        InputError, match=r"turn.json: need the path of a mesh below .*, got '0.ply'"
    ):
        find_meshes(meshes, tmp_path / "turn.json")


def test_folders_without_meshes_are_named(tmp_path: Path, meshes: Path) -> None:
    (tmp_path / "chair").mkdir()
    with pytest.raises(InputError, match=r"chair: need a mesh .* it has none"):
        find_meshes(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_meshes(tmp_path / "absent")
    with pytest.raises(InputError, match=r"--categories: .*cup is not a folder"):
        find_meshes(meshes, categories=("cup",))
    assert [s.name for s in find_meshes(meshes / "ball")] == ["ball/0", "ball/1", "ball/2"]


def test_the_protocol_counts_from_zero_in_each_category() -> None:
    names = [f"{c}/{i:03d}" for c in ("chair", "cup") for i in range(101, 121)]
    splits = protocol_split(names)
    chairs = [n for n in names if n.startswith("chair")]
    test = [n for n in chairs if splits[n] == "test"]
    assert test == ["chair/104", "chair/109", "chair/114", "chair/119"]
    assert [n for n in chairs if splits[n] == "val"] == ["chair/103", "chair/113"]
    assert list(splits.values()).count("train") == 28


def test_a_random_split_depends_on_the_seed_alone() -> None:
    names = [f"a/{i}" for i in range(30)]
    first = random_split(names, 1)
    assert first == random_split(names[::-1], 1)
    assert first != random_split(names, 2)
    assert sorted(first.values()).count("test") == 6


def test_a_split_file_names_every_object(meshes: Path, tmp_path: Path) -> None:
    names = ["ball/0", "ball/1", "ball/2", "brick/0", "brick/1", "brick/2"]
    file = tmp_path / "split.json"
    config = RenderDatasetConfig(meshes, tmp_path / "out", split=str(file), **QUICK)  # type: ignore[arg-type]
    for table, problem in (
        ({"train": names[:-1]}, "'brick/2' has no split"),
        ({"train": [*names, "cup/1"]}, "'cup/1' has no mesh"),
        ({"train": names, "test": ["ball/0"]}, "'ball/0' is there twice"),
        ({"train": names[:3], "dev": names[3:]}, "got 'dev'"),
        ({"test": names}, "need an object to train on"),
    ):
        file.write_text(json.dumps(table))
        with pytest.raises(InputError, match=problem):
            render_dataset(config)


def test_the_cameras_stand_where_they_should() -> None:
    paper = rig_cameras("paper", 24, 64)
    np.testing.assert_allclose(paper.centers[0], (0, 1.5, 2), atol=1e-6)
    np.testing.assert_allclose(paper.centers[6], (2, 1.5, 0), atol=1e-6)
    several = rig_cameras("elevations", 24, 64)
    heights = several.centers[:, 1] / several.centers.norm(dim=-1)
    found = sorted({round(math.degrees(math.asin(h))) for h in heights.tolist()})
    assert found == sorted(ELEVATIONS_DEG)
    for cameras in (paper, several):
        azimuths = torch.atan2(cameras.centers[:, 0], cameras.centers[:, 2]).rad2deg() % 360
        np.testing.assert_allclose(azimuths, 15.0 * np.arange(24), atol=1e-3)
        middle, _ = cameras.project(torch.zeros(1, 3))
        torch.testing.assert_close(middle, torch.full_like(middle, 32.0))


def test_an_object_that_leaves_the_picture_is_named(tmp_path: Path) -> None:
    meshes = tmp_path / "meshes"
    write_meshes(meshes, count=1)
    import trimesh

    trimesh.creation.box((1, 1, 1)).export(meshes / "brick" / "cube.ply")
    config = RenderDatasetConfig(meshes, tmp_path / "out", **{**QUICK, "views": 8})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"cube.ply: need an object that the pictures hold"):
        render_dataset(config)


# ---------------------------------------------------------------------- reading damaged folders


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(folder, tmp_path / "broken"))


def rewrite(file: Path, **changes: object) -> None:
    with np.load(file) as stored:
        arrays = {**{key: stored[key] for key in stored.files}, **changes}
    np.savez(file, **{k: x for k, x in arrays.items() if x is not None})  # type: ignore[arg-type]


def test_damage_is_named(broken: Path) -> None:
    file = broken / "ball" / "1.npz"
    whole = file.read_bytes()
    floats = np.full((4, 24, 24, 1), np.nan, np.float32)
    for changes, problem in (
        ({"silhouettes": None}, "1.npz: need the array 'silhouettes'"),
        ({"silhouettes": np.zeros((4, 24, 24), np.uint8)}, "all of them are empty"),
        ({"images": np.zeros((3, 24, 24, 1), np.uint8)}, "need 4 images as there are cameras"),
        ({"images": floats}, "1.npz: 'images' need uint8"),
        ({"values": np.full((24,) * 3, np.nan, np.float16)}, "'values' need finite"),
        ({"values": np.ones((23,) * 3, np.float16)}, r"1.npz: 'values' needs shape \[24, 24, 24\]"),
    ):
        file.write_bytes(whole)
        rewrite(file, **changes)
        with pytest.raises(InputError, match=problem):
            open_dataset(broken)
    file.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"1.npz: not a readable npz file"):
        open_dataset(broken)
    file.unlink()
    with pytest.raises(InputError, match=r"1.npz: the object is not there"):
        open_dataset(broken)


def test_a_bad_manifest_is_named(broken: Path) -> None:
    file = broken / "dataset.json"
    table = json.loads(file.read_text())
    for changes, problem in (
        ({"version": 7}, "need the format 'singleview.dataset' version 1"),
        ({"objects": []}, "'objects' need at least one"),
        ({"objects": table["objects"][:1] * 2}, "each name once"),
        ({"objects": [{"name": "ball/0", "split": "dev"}]}, "got 'dev'"),
        ({"cameras": {**table["cameras"], "width": 0}}, "cameras: need a positive size"),
        ({"cameras": {**table["cameras"], "c2w": [[1]]}}, "a value of the wrong kind"),
        ({"lighting": {"ambiant": 1.0}}, "ambiant"),
    ):
        file.write_text(json.dumps({**table, **changes}))
        with pytest.raises(InputError, match=problem):
            open_dataset(broken)
    file.write_text("{")
    with pytest.raises(InputError, match="need valid JSON"):
        open_dataset(broken)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"need a dataset: dataset.json, \*_images.npz or"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match="there is no such folder"):
        open_dataset(tmp_path / "absent")


# ---------------------------------------------------------------------- the command


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["singleview", *map(str, arguments)])
    return cli.main()


def test_the_command_counts_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], meshes: Path, folder: Path
) -> None:
    options = [f"--{name}={value}" for name, value in QUICK.items()]
    assert run(monkeypatch, "render-dataset", meshes, "--out", folder, "--json", *options) == 0
    assert json.loads(capsys.readouterr().out) == {
        "ball": {"train": 2, "val": 1, "test": 0},
        "brick": {"train": 2, "val": 1, "test": 0},
    }


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--size=4"], "--size: need from 8 to 1024, got 4"),
        (["--views=0"], "--views: need from 1 to 1000, got 0"),
        (["--supersampling=2"], "--supersampling: need odd"),
        (["--split=half"], "--split: need protocol, random or a JSON file, got half"),
        (["--jobs=0"], "--jobs: need at least 1"),
        (["--resolution=1"], "--resolution: need from 2 to 512"),
        (["--seed=-1"], "--seed: need from 0"),
    ],
)
def test_options_out_of_range(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    meshes: Path,
    tmp_path: Path,
    options: list[str],
    problem: str,
) -> None:
    assert run(monkeypatch, "render-dataset", meshes, "--out", tmp_path / "out", *options) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
