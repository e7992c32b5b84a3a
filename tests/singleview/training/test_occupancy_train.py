"""Occupancy networks from training to prediction and evaluation, a few steps each."""

import json
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import trimesh
from occupancy_tiny import train_occupancy, write_samples, write_solids
from tiny_training import read_rows

from sdfrender.errors import InputError
from sdfrender.geometry.mesh_files import load_mesh
from singleview import cli
from singleview.config import OccupancyConfig, RenderDatasetConfig, TrainConfig
from singleview.data.open import open_samples
from singleview.from_meshes.render_dataset import render_dataset
from singleview.models import OccupancyNetwork
from singleview.run_folder import RunFolder
from singleview.training.checkpoint import load_model
from singleview.training.distributed import Job
from singleview.training.learners.occupancy import OccupancyLearner

ONE = Job(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples, with pictures of the same objects in the same folder."""
    folder = tmp_path_factory.mktemp("occupancy")
    write_solids(folder / "meshes")
    options = {"size": 16, "views": 3, "resolution": 8, "supersampling": 1, "jobs": 1}
    render_dataset(RenderDatasetConfig(folder / "meshes", folder / "samples", **options))  # type: ignore[arg-type]
    return write_samples(folder)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for clouds that has seen enough to occupy something."""
    out = tmp_path_factory.mktemp("trained") / "points"
    train_occupancy(data, out, steps=60, evaluate_every=30, learning_rate=5e-3, batch=4)
    return out


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["singleview", *map(str, arguments)])
    return cli.main()


# ---------------------------------------------------------------------- training


@pytest.mark.slow
def test_training_lowers_the_loss_and_stores_the_threshold(trained: Path) -> None:
    rows = read_rows(trained / "losses.csv")
    assert list(rows[0]) == ["step", "rate", "total", "cross_entropy", "divergence"]
    first, last = (np.mean([float(r["total"]) for r in part]) for part in (rows[:5], rows[-5:]))
    assert last < 0.7 * first
    assert [r["step"] for r in read_rows(trained / "validation.csv")] == ["30", "60"]
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["validation"]["iou"] > 0.3
    model, about = load_model(trained)
    assert isinstance(model, OccupancyNetwork)
    assert 0 < about["threshold"] < 1
    assert about["threshold"] == metrics["threshold"]
    about_box = about["observations"].pop("half")
    assert about_box == pytest.approx(0.825)  # of the padded box
    assert about["observations"] == {"cloud": 50, "noise": 0.005, "voxels": 8}
    assert (trained / "predictions" / "step_000060.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image", "voxels", "none", "index"])
def test_every_kind_of_input_trains(data: Path, tmp_path: Path, kind: str) -> None:
    metrics = train_occupancy(data, tmp_path / "run", input=kind, evaluate_every=4)
    assert metrics["steps"] == 4
    assert metrics["input"] == kind
    assert metrics["validation"]["iou"] >= 0
    divergence = float(read_rows(tmp_path / "run" / "losses.csv")[0]["divergence"])
    assert (divergence > 0) == (kind == "none")


def test_made_up_pictures_show_what_is_asked_at_points(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one of the cameras, perhaps in a mirror, points inside lie on the object's picture."""
    monkeypatch.setattr("singleview.training.learners.occupancy.REAL_SHARE", 0.0)
    own = OccupancyConfig(input="image", decoded=300)
    config = TrainConfig(data, tmp_path / "run", model="occupancy", size="small", occupancy=own,
                         batch=4, made_up=16)  # fmt: skip
    learner, run = OccupancyLearner(config), RunFolder(config)
    run.begin()
    learner.prepare(run, ONE, quiet=True)
    source = learner.made_up[0]
    step = learner.step(ONE)
    assert step.observations is not None
    assert step.points.shape == (4, 300, 3)
    assert 0.1 < float(step.inside.float().mean()) < 0.7
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    for image, points, inside in zip(step.observations, step.points, step.inside, strict=True):
        lit = image[..., 0] > 0
        found = []
        for pixels, places in ((lit, points), (lit.flip(1), points * mirror)):
            for camera in source.cameras(0):
                uv, _ = camera.project(places)
                column, row = uv[0].long().clamp(0, lit.shape[1] - 1).unbind(-1)
                on = pixels[row, column].float()
                found.append((float(on[inside].mean()), float(on[~inside].mean())))
        of_inside, of_outside = max(found)
        assert of_inside > 0.9
        assert of_outside < 0.8


def test_the_ablation_trains(data: Path, tmp_path: Path) -> None:
    train_occupancy(data, tmp_path / "run", conditioning="input", steps=2)
    model, _ = load_model(tmp_path / "run")
    assert isinstance(model, OccupancyNetwork)
    assert not model.decoder.conditional


def test_a_resumed_run_is_the_uninterrupted_one(data: Path, tmp_path: Path) -> None:
    train_occupancy(data, tmp_path / "whole", input="none")
    step = OccupancyLearner.step

    def interrupted(self: OccupancyLearner, job: Job) -> object:
        self.drawn = getattr(self, "drawn", 0) + 1  # type: ignore[attr-defined]
        if self.drawn > 2:
            raise KeyboardInterrupt
        return step(self, job)

    with patch.object(OccupancyLearner, "step", interrupted):
        assert train_occupancy(data, tmp_path / "parts", input="none")["interrupted"]
    train_occupancy(data, tmp_path / "parts", input="none", resume=True)
    for name in ("losses.csv", "validation.csv"):
        assert read_rows(tmp_path / "whole" / name) == read_rows(tmp_path / "parts" / name)
    weights = [load_model(tmp_path / n)[0].state_dict() for n in ("whole", "parts")]
    assert all(torch.equal(x, weights[1][name]) for name, x in weights[0].items())


def learner(data: Path, **changes: object) -> OccupancyLearner:
    own = OccupancyConfig(decoded=400, cloud=50, voxels=8, **changes)  # type: ignore[arg-type]
    return OccupancyLearner(TrainConfig(data, data / "no", model="occupancy", size="small",
                                        occupancy=own, batch=3))  # fmt: skip


def test_sampling_decides_where_points_are(data: Path) -> None:
    shares = {}
    for sampling in ("uniform", "mixed", "surface"):
        one = learner(data, sampling=sampling)
        one.warps = one.flips = False
        points = one.step(ONE).points
        surface = open_samples(data).surface.float().flatten(0, 1)
        distances = torch.cdist(points.flatten(0, 1), surface).amin(1)
        shares[sampling] = float((distances < 0.1).float().mean())
    assert shares["uniform"] < shares["mixed"] < shares["surface"]


def test_warped_steps_agree_with_themselves(data: Path) -> None:
    """After a warp, the cloud lies where occupancy changes, and the object fills its box."""
    step = learner(data, sampling="mixed", noise=0.0).step(ONE)
    assert step.observations is not None
    for cloud, points, inside in zip(step.observations, step.points, step.inside, strict=True):
        # Between the farthest points inside and the nearest ones outside runs the surface.
        to_inside = torch.cdist(cloud, points[inside]).amin(1)
        to_outside = torch.cdist(cloud, points[~inside]).amin(1)
        assert float(to_inside.max()) < 0.35
        assert float(to_outside.max()) < 0.35
        assert float((cloud.amax(0) - cloud.amin(0)).max()) == pytest.approx(1.5, abs=0.25)


def test_settings_that_do_not_fit_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--cloud: need at least 1"):
        OccupancyConfig(cloud=0)
    with pytest.raises(InputError, match="--image-weights: need --input image"):
        train_occupancy(data, tmp_path / "run", image_weights=tmp_path / "x", input="voxels")
    assert not (tmp_path / "run" / "model.safetensors").exists()
    with pytest.raises(InputError, match="need samples"):
        train_occupancy(tmp_path, tmp_path / "run2")


# ---------------------------------------------------------------------- prediction


@pytest.mark.slow
def test_a_cloud_becomes_a_mesh_in_its_own_frame(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: Path, data: Path
) -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=2.0)
    ball.apply_translation((10.0, 0.0, -3.0))
    ball.export(tmp_path / "ball.ply")
    trimesh.PointCloud(ball.vertices).export(tmp_path / "cloud.ply")
    np.savez(tmp_path / "points.npz", points=ball.vertices)
    inputs = [tmp_path / name for name in ("ball.ply", "cloud.ply", "points.npz")]
    options = ["--model", trained, "--out", tmp_path / "out", "--frames=2", "--size=16"]
    assert run(monkeypatch, "predict", *inputs, *options, "--faces=400", "--levels=0") == 0
    for path in inputs:
        folder = tmp_path / "out" / path.stem
        mesh = load_mesh(folder / "mesh.ply")
        assert mesh.is_watertight
        assert 100 < len(mesh.faces) <= 1600
        assert np.linalg.norm(mesh.vertices - [10, 0, -3], axis=1).max() < 4
        assert {p.name for p in folder.iterdir()} >= {"lattice.safetensors", "turntable.gif"}


def test_made_up_shapes_and_the_way_between_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
) -> None:
    train_occupancy(data, tmp_path / "run", input="none", steps=70, evaluate_every=70, batch=4,
                    learning_rate=5e-3)  # fmt: skip
    options = ["--model", tmp_path / "run", "--out", tmp_path / "out", "--frames=2", "--size=16"]
    assert (
        run(
            monkeypatch,
            "predict",
            *options,
            "--count=2",
            "--between=1",
            "--no-refine",
            "--levels=0",
        )
        == 0
    )
    folders = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert folders == ["sample-0", "sample-0-1", "sample-1"]
    a, middle, b = (
        np.array(json.loads((tmp_path / "out" / name / "code.json").read_text())["code"])
        for name in folders
    )
    assert np.allclose(middle, (a + b) / 2, atol=1e-6)


def test_bad_inputs_are_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    trained: Path,
) -> None:
    np.savez(tmp_path / "flat.npz", points=np.zeros((20, 2)))
    np.savez(tmp_path / "nan.npz", points=np.full((20, 3), np.nan))
    np.savez(tmp_path / "one.npz", points=np.zeros((20, 3)))
    (tmp_path / "bad.ply").write_bytes(b"ply")
    (tmp_path / "cloud.txt").write_text("0 0 0")
    for name in ("flat.npz", "nan.npz", "one.npz", "bad.ply", "cloud.txt", "none.ply"):
        options = ["--model", trained, "--out", tmp_path / "out"]
        assert run(monkeypatch, "predict", tmp_path / name, *options) == 2, name
        assert name in capsys.readouterr().err
    assert run(monkeypatch, "predict", "--model", trained, "--out", tmp_path / "out") == 2
    assert "need at least one points file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------- evaluation


@pytest.mark.slow
def test_networks_and_baselines_share_a_table(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: Path,
    trained: Path,
) -> None:
    common = ["evaluate", data, trained, "--split=val", "--points=500", "--samples=300"]
    meshes = ["--meshes", data.parent / "meshes", "--observations=2"]
    assert run(monkeypatch, *common, *meshes, "--baselines", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["input"] == "points"
    network, mean, nearest, alpha = result["methods"]
    assert alpha["name"].startswith("alpha shape")
    assert alpha["iou"] > 0.3
    assert set(network["categories"]) == {"ball", "brick"}
    assert 0.2 < network["iou"] <= 1
    assert network["chamfer_tenths"] > 0
    assert network["chamfer"] > 0
    assert mean["told"] == "the category"
    assert nearest["iou"] > 0.5  # all balls look alike, and all bricks
    assert run(monkeypatch, *common, "--markdown", "--observations=1") == 0
    assert "tenths" in capsys.readouterr().out


def test_voxels_are_judged_beside_the_grid_they_start_from(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: Path,
    tmp_path: Path,
) -> None:
    train_occupancy(data, tmp_path / "run", input="voxels", steps=2)
    options = ["--split=val", "--points=2000", "--baselines", "--json", "--no-surfaces"]
    assert run(monkeypatch, "evaluate", data, tmp_path / "run", *options) == 0
    methods = {m["name"]: m["iou"] for m in json.loads(capsys.readouterr().out)["methods"]}
    assert 0.4 < methods["the input's voxels"] < 1


def test_images_are_compared_with_retrieval(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: Path,
    tmp_path: Path,
) -> None:
    train_occupancy(data, tmp_path / "run", input="image", steps=2)
    options = ["--split=val", "--points=500", "--baselines", "--json", "--no-surfaces"]
    assert run(monkeypatch, "evaluate", data, tmp_path / "run", *options) == 0
    nearest = json.loads(capsys.readouterr().out)["methods"][2]
    assert nearest["iou"] > 0.5
