"""DeepSDF from meshes to measures: distances on disk, a few steps of training, found codes."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from latent_tiny import AXES, ellipsoid, ellipsoids
from occupancy_tiny import write_solids
from tiny_training import read_rows

from sdfrender.errors import InputError
from sdfrender.geometry.mesh_distance import signed_distances
from sdfrender.geometry.mesh_files import load_mesh, save_mesh
from sdfrender.latent.field import LatentField
from sdfrender.meshes.metrics import squared_chamfer
from singleview import cli
from singleview.config import DeepsdfConfig, EvaluateConfig, SamplePointsConfig, TrainConfig
from singleview.data.distances import is_warped, open_distances
from singleview.data.meshes import find_meshes
from singleview.evaluate import deepsdf as evaluate_deepsdf
from singleview.evaluate.copies import Bank
from singleview.evaluate.evaluate import evaluate
from singleview.from_meshes.sample_distances import points_around, warped_copies, warped_mesh
from singleview.from_meshes.sample_points import sample_points
from singleview.measures import tables
from singleview.models import AutoDecoder
from singleview.models.latent import adam_code, clamped_error, energy_of, find_code
from singleview.train import train
from singleview.training.checkpoint import load_model, save_model
from singleview.training.distributed import Job
from singleview.training.learners.deepsdf import DeepsdfLearner

ONE = Job(0, 1, torch.device("cpu"))


def write_distances(folder: Path, **changes: Any) -> Path:
    """Distances of balls and bricks; the meshes lie in `folder/meshes`."""
    if not (folder / "meshes").exists():
        write_solids(folder / "meshes")
    settings: dict[str, Any] = {"sdf": 1200, **changes}
    config = SamplePointsConfig(folder / "meshes", folder / "distances", **settings)
    sample_points(config, quiet=True)
    return config.out


def settings_of(dataset: Path, out: Path, **changes: Any) -> TrainConfig:
    own = {k: changes.pop(k) for k in list(changes) if k in DeepsdfConfig.__dataclass_fields__}
    options: dict[str, Any] = {"steps": 4, "batch": 3, "evaluate_every": 4, **changes}
    deepsdf = DeepsdfConfig(**{"drawn": 64, **own})
    return TrainConfig(dataset, out, model="deepsdf", deepsdf=deepsdf, **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_distances(tmp_path_factory.mktemp("deepsdf"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The family of ellipsoids as a weights file."""
    path = tmp_path_factory.mktemp("weights") / "ellipsoids.safetensors"
    save_model(path, AutoDecoder(ellipsoids()), {"clamp": 0.1})
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["singleview", *map(str, arguments)])
    return cli.main()


# ---------------------------------------------------------------------- distances


def test_distances_are_those_of_the_mesh(tmp_path: Path) -> None:
    """A cube, also with a side missing: analytic distances of the whole one, mostly."""
    (tmp_path / "meshes" / "cube").mkdir(parents=True)
    cube = trimesh.creation.box((3.0, 3.0, 3.0))
    open_box = trimesh.Trimesh(cube.vertices, cube.faces[:-1], process=False)
    save_mesh(tmp_path / "meshes" / "cube" / "closed.ply", cube)
    save_mesh(tmp_path / "meshes" / "cube" / "open.ply", open_box)
    samples = open_distances(write_distances(tmp_path, sdf=4000, split="all"))
    assert samples.names == ("cube/closed", "cube/open")
    assert samples.splits == ("train", "train")
    points, values = samples.points.double(), samples.values.double()
    q = points.abs() - 0.75
    true = q.clamp(min=0).norm(dim=-1) + q.amax(-1).clamp(max=0)
    torch.testing.assert_close(values[0], true[0], rtol=1e-3, atol=1e-6)  # of half precision
    # Half of one side is missing: the winding number tells in from out still, but near the hole.
    assert float(((values[1] < 0) == (true[1] < 0)).double().mean()) > 0.95
    # Most are near the surface, with the paper's two widths; the others anywhere in the box.
    assert float((values[0].abs() < 0.05).double().mean()) > 0.6
    assert float(points[0].abs().max()) > 0.95
    first, last = values[0, :2000].abs().mean(), values[0, 2000:].abs().mean()
    assert float((first - last).abs()) < 0.01  # in no order


def test_warped_copies_are_for_training(tmp_path: Path) -> None:
    samples = open_distances(write_distances(tmp_path, sdf=200, warped=2))
    warped = [name for name in samples.names if is_warped(name)]
    assert len(samples) == 6 + 8
    assert "ball/0~2" in warped
    assert "ball/2~1" not in warped  # that one is held out
    assert {samples.splits[samples.names.index(name)] for name in warped} == {"train"}
    a, b, c = (samples.values[samples.names.index(n)] for n in ("ball/0", "ball/0~1", "ball/0~2"))
    assert not torch.equal(a, b)
    assert not torch.equal(b, c)


def test_a_warped_mesh_is_in_the_canonical_frame() -> None:
    brick = trimesh.creation.box((1.5, 0.5, 1.0))
    warped = warped_mesh(brick, torch.Generator().manual_seed(1))
    low, high = warped.bounds
    assert (high - low).max() == pytest.approx(1.5)
    assert np.allclose(low + high, 0, atol=1e-6)
    assert warped.is_watertight
    assert len(warped.faces) > len(brick.faces)
    again = warped_mesh(brick, torch.Generator().manual_seed(1))
    assert np.array_equal(warped.vertices, again.vertices)


def test_sampling_goes_on_where_it_stopped_and_refuses_other_settings(tmp_path: Path) -> None:
    folder = write_distances(tmp_path)
    before = (folder / "distances_000.safetensors").stat().st_mtime_ns
    write_distances(tmp_path)
    assert (folder / "distances_000.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="other objects or settings"):
        write_distances(tmp_path, sdf=300)
    (folder / "distances_000.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="distances_000"):
        open_distances(folder)
    with pytest.raises(InputError, match="--sdf"):
        open_distances(tmp_path)


@pytest.mark.parametrize("wrong", [{"sdf": 5}, {"sdf": None, "warped": 2}, {"warped": -1}])
def test_options_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"--{list(wrong)[-1]}"):
        write_distances(tmp_path, **wrong)


# ---------------------------------------------------------------------- training


def test_training_learns_codes_and_writes_one_file(data: Path, tmp_path: Path) -> None:
    metrics = train(settings_of(data, tmp_path / "run", steps=60, evaluate_every=60), quiet=True)
    rows = read_rows(tmp_path / "run" / "losses.csv")
    assert list(rows[0]) == ["step", "rate", "total", "distance", "codes"]
    first, last = (np.mean([float(r["distance"]) for r in part]) for part in (rows[:5], rows[-5:]))
    assert last < 0.8 * first
    assert metrics["model"] == "deepsdf"
    assert 0 < metrics["validation"]["unknown"] < 1
    assert 0 < metrics["validation"]["known"] < 1
    assert -4500 <= metrics["validation"]["closeness"] < 0
    field = LatentField.load(tmp_path / "run")
    assert field.names == ("ball/0", "ball/1", "brick/0", "brick/1")
    assert field.about["categories"] == ["ball", "brick"]
    assert field.about["metrics"]["steps"] == 60
    model, about = load_model(tmp_path / "run")
    assert isinstance(model, AutoDecoder)
    assert about == field.about
    assert (tmp_path / "run" / "predictions" / "step_000060.png").exists()


def test_a_training_goes_on_as_if_it_had_not_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(settings_of(data, tmp_path / "whole"), quiet=True)
    learn, calls = DeepsdfLearner.learn, []

    def interrupted(self: DeepsdfLearner, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return learn(self, *arguments)

    monkeypatch.setattr(DeepsdfLearner, "learn", interrupted)
    train(settings_of(data, tmp_path / "parts"), quiet=True)
    train(settings_of(data, tmp_path / "parts", resume=True), quiet=True)
    a, b = (LatentField.load(tmp_path / name) for name in ("whole", "parts"))
    for key, x in a.state_dict().items():
        assert torch.equal(x, b.state_dict()[key]), key
    rows = [len(read_rows(tmp_path / name / "losses.csv")) for name in ("whole", "parts")]
    assert rows == [4, 4]


def test_the_loss_is_the_papers(data: Path, tmp_path: Path) -> None:
    learner = DeepsdfLearner(settings_of(data, tmp_path / "run", code_weight=0.5, clamp=0.2))
    torch.manual_seed(0)
    model = learner.build()
    assert isinstance(model, AutoDecoder)
    found = learner.learn(model, learner.schedule(1.0), ONE, _clock())
    torch.testing.assert_close(found["total"], found["distance"] + 0.5 * found["codes"])
    torch.testing.assert_close(found["codes"], found["codes"].clamp(0.5, 2.0))  # N(0, 1/C)
    early = learner.learn(model, learner.schedule(0.0), ONE, _clock())
    torch.testing.assert_close(early["total"], early["distance"])  # the weight of codes rises
    values = torch.tensor([-0.5, 0.05, 0.3])
    truth = torch.tensor([-0.05, 0.1, 0.25])
    assert float(clamped_error(values, truth, 0.1)) == pytest.approx((0.05 + 0.05 + 0) / 3)


def test_settings_out_of_range_are_refused() -> None:
    for name, value in (("code", 0), ("drawn", 0), ("clamp", 0.0), ("code_weight", -1.0)):
        with pytest.raises(InputError, match="--" + name.replace("_", "-")):
            DeepsdfConfig(**{name: value})  # type: ignore[arg-type]


def test_each_setting_changes_the_learner(data: Path, tmp_path: Path) -> None:
    learner = DeepsdfLearner(settings_of(data, tmp_path / "run", code=7, drawn=33))
    model = learner.build()
    assert isinstance(model, AutoDecoder)
    assert model.decoder.codes.shape == (4, 7)
    ids, points, values = learner._step(ONE)
    assert (ids.shape, points.shape, values.shape) == ((3,), (3, 33, 3), (3, 33))
    paper = DeepsdfLearner(settings_of(data, tmp_path / "run", size="paper", drawn=None))
    assert paper.drawn == 16384
    assert [part for _, part in model.rates()] == [1.0, 2.0]


def _clock() -> Any:
    from singleview.training.state import Clock

    return Clock()


# ---------------------------------------------------------------------- unknown shapes


def test_newton_needs_a_tenth_of_adams_steps() -> None:
    """Counted in passes through the network, since a test does not look at the clock."""
    field, axes = ellipsoids(), (0.75, 0.42, 0.58)
    generator = torch.Generator().manual_seed(2)
    points = 1.6 * torch.rand(2000, 3, generator=generator) - 0.8
    truth = ellipsoid(points, axes)
    found = find_code(field, points, truth)
    assert len(found.energies) <= 80
    newton = energy_of(field, found.code, points, truth)
    assert newton == pytest.approx(found.energies[-1], rel=1e-4)
    code, energies = adam_code(field, points, truth, batch=256)
    assert len(energies) == 800
    assert newton < 1.01 * energy_of(field, code, points, truth)


def test_a_mesh_is_predicted_in_its_own_frame(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=3)
    mesh.vertices = mesh.vertices * (3.0, 1.6, 2.4) + (5.0, -2.0, 1.0)
    save_mesh(tmp_path / "egg.ply", mesh)
    options = ("--frames", "2", "--size", "32", "--levels", "0", "--faces", "1500")
    arguments = ("--model", weights, "--out", tmp_path / "out", *options)
    assert run(monkeypatch, "predict", tmp_path / "egg.ply", "ball/3", *arguments) == 0
    found = load_mesh(tmp_path / "out" / "egg" / "mesh.ply")
    assert np.allclose(found.bounds, mesh.bounds, atol=0.15)
    code = json.loads((tmp_path / "out" / "egg" / "code.json").read_text())
    assert len(code["code"]) == 4
    known = load_mesh(tmp_path / "out" / "ball-3" / "mesh.ply")
    assert np.allclose(known.extents / 2, AXES[3], atol=0.05)
    for name in ("egg", "ball-3"):
        for file in ("lattice.safetensors", "turntable.gif", "sheet.png"):
            assert (tmp_path / "out" / name / file).exists()
    for wrong, rule in (("ball/99", "known shape"), (tmp_path / "no.ply", "no such file")):
        capsys.readouterr()
        assert run(monkeypatch, "predict", wrong, *arguments) == 2
        assert rule in capsys.readouterr().err


def test_evaluation_of_known_and_unknown_shapes(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network knows ellipsoids by name: ball/0 is one of them, brick/2 is not."""
    monkeypatch.setattr(evaluate_deepsdf, "COARSE", 24)
    monkeypatch.setattr(evaluate_deepsdf, "LEVELS", 0)
    monkeypatch.setattr(evaluate_deepsdf, "FACES", 900)
    monkeypatch.setattr("singleview.models.latent.ADAM_STEPS", 5)
    data = write_distances(tmp_path, categories=("ball",))
    options = {"meshes": tmp_path / "meshes", "baselines": True, "adam": True}
    result = evaluate(EvaluateConfig(data, (weights,), split="val", **options))  # type: ignore[arg-type]
    newton, simple, refined, adam, nearest = result["methods"]
    assert [m["name"].split(", ")[-1] for m in (simple, refined, adam, nearest)] == [
        "900 triangles",
        "refined",
        "Adam",
        "nearest training shape",
    ]
    for key in ("chamfer", "cosine"):
        assert simple["objects"]["ball/2"][key] != refined["objects"]["ball/2"][key]
    assert result["known"] == ["ball/2"]
    assert newton["chamfer"] > 0
    assert newton["chamfer_1000"] == pytest.approx(1000 * newton["chamfer"])
    assert set(nearest["objects"]["ball/2"]) == set(evaluate_deepsdf.MEASURES) - {
        "energy",
        "seconds",
    }
    assert adam["objects"]["ball/2"]["seconds"] > 0
    assert "Chamfer ×10³" in tables.markdown(result)
    with pytest.raises(InputError, match="--meshes"):
        evaluate(EvaluateConfig(data, (weights,)))


def test_nearest_shapes_are_looked_for_among_warped_copies_too(tmp_path: Path) -> None:
    data = write_distances(tmp_path, categories=("ball",), warped=2)
    distances = open_distances(data)
    train = distances.split("train")
    sources = {s.name: s for s in find_meshes(tmp_path / "meshes", categories=("ball",))}
    known = [sources[name] for name in train.names if "~" not in name]
    bank = Bank.of(train, warped_copies(known, train.names, 0))
    name = next(name for name in train.names if "~" in name)
    copy = bank.mesh(name)
    values = signed_distances(copy, train.points[train.names.index(name)].double().numpy())
    stored = train.values[train.names.index(name)].numpy()
    assert np.abs(values - stored).max() < 2e-3  # made again just as it was, but for float16
    assert bank.nearest(copy, 0) is copy
    assert bank.nearest(copy, 0, warped=False) is not copy
    base = name.partition("~")[0]
    other = bank.nearest(copy, 0, without=base)
    assert other is not None
    assert not any(other is bank.mesh(n) for n in train.names if n.partition("~")[0] == base)


def test_the_papers_chamfer() -> None:
    """Squared, both ways, and not zero for equal surfaces: 2 A / (π S)."""
    ball = trimesh.creation.icosphere(subdivisions=4)
    floor = squared_chamfer(ball, ball, 4000)
    assert floor == pytest.approx(2 * 4 * np.pi / (np.pi * 4000), rel=0.1)
    larger = trimesh.Trimesh(1.1 * ball.vertices, ball.faces, process=False)
    # Distances are those between the surfaces and, at right angles to them, between the samples.
    assert squared_chamfer(ball, larger, 4000) == pytest.approx(0.02 + 1.1 * floor, rel=0.05)


def test_the_ball_around_a_mesh() -> None:
    brick = trimesh.creation.box((2.0, 4.0, 4.0))
    brick.vertices += (1.0, 2.0, 3.0)
    radius, center = evaluate_deepsdf.ball(brick)
    assert radius == pytest.approx(3.0)
    assert center.tolist() == pytest.approx([1.0, 2.0, 3.0])
    points = points_around(brick, 100, np.random.default_rng(0))
    assert points.shape == (100, 3)
