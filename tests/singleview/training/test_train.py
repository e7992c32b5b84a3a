from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from singleview_tiny import make_up, tiny_dataset
from tiny_training import read_rows, train_tiny, write_dataset

from sdfrender import Cameras, InputError, Lattice, render
from sdfrender.geometry.primitives import capsule
from sdfrender.meshes.metrics import occupancy_iou
from singleview.augment import augment
from singleview.augment.warps import WarpSettings, random_warp, surface_points, warp_lattice
from singleview.config import TrainConfig
from singleview.data.dataset import unit
from singleview.predict.predict import load_predictor
from singleview.training import batches, prepare
from singleview.training.batches import Sampler, halved, jitter
from singleview.training.distributed import Job
from singleview.training.fitting import FitLevel, FitRecipe, fit_lattice, hollow, silhouette_hull
from singleview.training.learners.sdfdiff import compare
from singleview.training.schedule import schedule
from singleview.training.state import State
from singleview.training.validate import resampled

ONE = Job(0, 1, torch.device("cpu"))
QUICK = FitRecipe(trial=FitLevel(10, 1, 0.3), levels=(FitLevel(12, 1, 1.0),), walls=(0.1,))


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("datasets") / "tiny")


@pytest.fixture(scope="session")
def run(objects: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    train_tiny(objects, out, steps=60, evaluate_every=30)
    return out


# ---------------------------------------------------------------------- a run


@pytest.mark.slow
def test_training_lowers_the_loss_and_leaves_a_run_folder(run: Path) -> None:
    rows = read_rows(run / "losses.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, 61))
    first, last = (sum(float(r["silhouette"]) for r in part) for part in (rows[:10], rows[-10:]))
    assert last < 0.7 * first
    assert [row["step"] for row in read_rows(run / "validation.csv")] == ["30", "60"]
    assert (run / "predictions" / "step_000060.png").exists()
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["steps"] == 60
    assert metrics["validation"]["iou_32"] > 0.2
    assert sum(metrics["shares_of_a_step"].values()) == pytest.approx(1, abs=1e-3)
    stored = json.loads((run / "config.json").read_text())
    assert stored["settings"]["resolution"] == 12


@pytest.mark.release
def test_the_same_seed_gives_the_same_run_and_another_one_does_not(
    objects: Path, tmp_path: Path
) -> None:
    logs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_tiny(objects, tmp_path / name, seed=seed)
        logs.append(read_rows(tmp_path / name / "losses.csv"))
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]


@pytest.mark.slow
def test_resumed_run_is_the_uninterrupted_one_bit_for_bit(objects: Path, tmp_path: Path) -> None:
    train_tiny(objects, tmp_path / "whole", steps=8, evaluate_every=2)
    draw = Sampler.draw

    def interrupted(self: Sampler, *args: object) -> object:
        self.drawn = getattr(self, "drawn", 0) + 1  # type: ignore[attr-defined]
        if self.drawn > 5:
            raise KeyboardInterrupt
        return draw(self, *args)  # type: ignore[arg-type]

    with patch.object(Sampler, "draw", interrupted):
        metrics = train_tiny(objects, tmp_path / "parts", steps=8, evaluate_every=2)
    assert metrics["interrupted"]
    assert metrics["steps"] == 5
    train_tiny(objects, tmp_path / "parts", steps=8, evaluate_every=2, resume=True)
    for name in ("losses.csv", "validation.csv"):
        assert read_rows(tmp_path / "whole" / name) == read_rows(tmp_path / "parts" / name)
    weights = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("whole", "parts")]
    tensors = [load_predictor(tmp_path / n).model.state_dict() for n in ("whole", "parts")]
    assert len(weights[0]) > 1000
    for name, x in tensors[0].items():
        assert torch.equal(x, tensors[1][name]), name


@pytest.mark.slow
def test_a_training_starts_from_another_ones_weights(objects: Path, tmp_path: Path) -> None:
    train_tiny(objects, tmp_path / "first", steps=3)
    first = load_predictor(tmp_path / "first").model
    own = {k: x for k, x in first.state_dict().items() if not k.startswith("camera_head")}
    with patch.object(Sampler, "draw", side_effect=KeyboardInterrupt):  # before the first step
        train_tiny(objects, tmp_path / "second", start=tmp_path / "first", seed=5)
    began = load_predictor(tmp_path / "second").model.state_dict()
    for name, x in own.items():
        moved = began[name] - x
        if name == "start":  # by the level at which silhouettes agree, stored in half precision
            moved = moved - moved.flatten()[0]
        assert float(moved.abs().max()) <= (1e-3 if name == "start" else 0), name
    with pytest.raises(InputError, match="resolution 12 where 16 is trained"):
        train_tiny(objects, tmp_path / "third", start=tmp_path / "first", resolution=16)
    with pytest.raises(InputError, match="--start: need weights of sdfdiff or occupancy"):
        replace(TrainConfig(Path("x"), Path("y")), model="deepsdf", start=Path("z"))


@pytest.mark.slow
def test_a_run_interrupted_before_its_first_validation_goes_on(
    objects: Path, tmp_path: Path
) -> None:
    out, draw = tmp_path / "run", Sampler.draw

    def interrupted(self: Sampler, *args: object) -> object:
        self.drawn = getattr(self, "drawn", 0) + 1  # type: ignore[attr-defined]
        if self.drawn > 2:
            raise KeyboardInterrupt
        return draw(self, *args)  # type: ignore[arg-type]

    with patch.object(Sampler, "draw", interrupted):
        assert train_tiny(objects, out)["steps"] == 2
    load_predictor(out)
    assert train_tiny(objects, out, resume=True)["steps"] == 6


@pytest.mark.release
def test_training_stops_when_validation_does_not_improve(objects: Path, tmp_path: Path) -> None:
    with patch(
        "singleview.training.learners.sdfdiff.validate",
        return_value={"iou_32": 0.1, "silhouette_iou": 0.1},
    ):
        metrics = train_tiny(objects, tmp_path / "run", steps=50, evaluate_every=2, patience=3)
    assert metrics["steps"] == 8  # the first is the best, then three without progress
    assert metrics["validation"]["step"] == 2


@pytest.mark.slow
def test_minutes_end_a_training(objects: Path, tmp_path: Path) -> None:
    metrics = train_tiny(objects, tmp_path / "run", steps=None, minutes=0.02, evaluate_every=None)
    assert metrics["steps"] > 0
    assert metrics["seconds"] < 60


# ---------------------------------------------------------------------- made-up objects


def test_training_with_shapes_from_images_and_made_up_objects(
    objects: Path, tmp_path: Path
) -> None:
    with (
        patch.object(prepare, "FitRecipe", lambda: QUICK),
        patch.object(prepare, "SHAPE_RESOLUTION", 16),
    ):
        metrics = train_tiny(objects, tmp_path / "run", augment="made-up", made_up=8)
    assert metrics["steps"] == 6
    assert len(list((tmp_path / "run" / "shapes").iterdir())) == 4
    assert not (tmp_path / "run" / "made_up").exists()
    assert float(read_rows(tmp_path / "run" / "losses.csv")[-1]["shape"]) > 0


@pytest.mark.slow
def test_images_are_all_that_image_supervision_reads(objects: Path, tmp_path: Path) -> None:
    blind = replace(tiny_dataset(), values=torch.zeros_like(tiny_dataset().values))
    other = write_dataset(tmp_path / "blind", blind)
    logs = []
    with (
        patch.object(prepare, "FitRecipe", lambda: QUICK),
        patch.object(prepare, "SHAPE_RESOLUTION", 16),
    ):
        for name, folder in (("a", objects), ("b", other)):
            train_tiny(folder, tmp_path / name, augment="made-up", made_up=4, steps=3)
            logs.append(read_rows(tmp_path / name / "losses.csv"))
    assert logs[0] == logs[1]


def test_shape_supervision_compares_with_the_true_lattices(objects: Path, tmp_path: Path) -> None:
    train_tiny(objects, tmp_path / "run", supervision="shape")
    assert float(read_rows(tmp_path / "run" / "losses.csv")[0]["shape"]) > 0


def test_fitted_shape_resembles_the_object() -> None:
    dataset = tiny_dataset(size=32, resolution=24)
    recipe = FitRecipe(levels=(FitLevel(16, 6, 0.3), FitLevel(24, 6, 1.0)), walls=())
    generator = torch.Generator().manual_seed(0)
    item = dataset[0]
    found = fit_lattice(item.views, dataset.lighting, dataset.bounds, recipe, generator)
    assert item.values is not None
    hull = silhouette_hull(item.views, dataset.bounds, 24).values
    scores = [float(occupancy_iou(x[None] < 0, item.values[None] < 0)) for x in (hull, found)]
    assert scores[1] > max(0.8, scores[0])


def test_hollow_takes_out_the_inside_and_what_is_above() -> None:
    ball = Lattice.sphere(0.7, resolution=33)
    cup = hollow(ball, 0.2, up=True)
    points = torch.tensor([[0.0, 0, 0], [0, 0.65, 0], [0, -0.6, 0], [0.6, 0, 0], [0, 0.9, 0]])
    assert (cup.sample(points) < 0).tolist() == [False, False, True, True, False]
    bell = hollow(ball, 0.2, up=False)
    torch.testing.assert_close(bell.values.flip(1), cup.values)


def test_warps_have_an_inverse_and_keep_the_longest_side() -> None:
    generator = torch.Generator().manual_seed(3)
    values = tiny_dataset(resolution=32).values
    assert values is not None
    for _ in range(10):
        warp = random_warp(WarpSettings(), generator)
        points = 2 * torch.rand(50, 3, generator=generator) - 1
        torch.testing.assert_close(warp.to_new(warp.to_old(points)), points, atol=1e-5, rtol=0)
        warped = warp_lattice(values[0].float(), warp, 1.5, 40)
        surface = surface_points(warped)
        low, high = surface.amin(0), surface.amax(0)
        assert float((high - low).max()) == pytest.approx(1.5, abs=0.05)
        torch.testing.assert_close((low + high) / 2, torch.zeros(3), atol=0.03, rtol=0)


def test_a_warp_without_range_changes_nothing() -> None:
    still = WarpSettings(scale=0, local_scale=0, taper=0, sweep=0, thickness=0, join=0)
    warp = random_warp(still, torch.Generator().manual_seed(0))
    points = torch.rand(20, 3)
    expected = points * torch.tensor([-1.0 if warp.mirror else 1.0, 1, 1])
    torch.testing.assert_close(warp.to_old(points), expected, atol=1e-6, rtol=0)


def test_made_up_objects_show_the_shapes_they_have() -> None:
    dataset = tiny_dataset(resolution=24).split("train")
    assert dataset.values is not None
    made = make_up(dataset, 4, 20, seed=1)
    assert sum(len(m) for m in made) >= 4
    for part in made:
        assert part.views == min(augment.VIEWS, dataset.views)
        item = part[0]
        assert item.values is not None
        lattice = Lattice(item.values, part.bounds)
        seen = augment.photograph(part, lattice.resample(24).values, list(range(part.views)))
        difference = (seen[1].float() - part.silhouettes[0].float()).abs().mean() / 255
        assert float(difference) < 0.05


# ---------------------------------------------------------------------- a step


def test_inputs_are_pictures_of_the_objects_flipped_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "ALBEDO", (1.0, 1.0))
    for name in ("TINT", "GAMMA", "SHIFT"):
        monkeypatch.setattr(batches, name, 0)
    dataset = tiny_dataset()
    step = Sampler(TrainConfig(Path("x"), Path("y"), batch=64), dataset).draw(ONE)
    pictures = unit(dataset.images.flatten(0, 1))
    assert 10 < int(step.flipped.sum()) < 54
    for flipped, picture in zip(step.flipped, step.inputs, strict=True):
        known = pictures.flip(2) if flipped else pictures
        assert float((known - picture).abs().amax((1, 2, 3)).min()) < 1e-6


def test_a_flipped_picture_is_of_the_mirrored_shape() -> None:
    lattice = Lattice.from_function(capsule((-0.3, 0.2, 0.1), (0.6, -0.4, -0.2), 0.2), 24)
    camera = Cameras.orbit(1, width=32)  # in the plane of the mirror
    seen = render(lattice, camera).images
    mirrored = render(lattice.with_values(lattice.values.flip(0)), camera).images
    torch.testing.assert_close(mirrored, seen.flip(2), atol=1e-4, rtol=0)


def test_shards_of_a_batch_are_the_batch() -> None:
    config = TrainConfig(Path("x"), Path("y"), batch=6)
    whole = Sampler(config, tiny_dataset()).draw(ONE)
    parts = [Sampler(config, tiny_dataset()).draw(Job(r, 2, ONE.device)) for r in range(2)]
    for name in ("inputs", "flipped", "images", "silhouettes"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name))


def test_no_augmentation_leaves_pictures_as_they_are() -> None:
    images = torch.rand(2, 5, 6, 1)
    none = torch.zeros(2, dtype=torch.bool)
    same = jitter(images, none, torch.ones(2, 1), torch.ones(2), (0, 0))
    assert torch.equal(same, images)


def test_pictures_are_painted_and_lit_in_other_ways() -> None:
    gain, gamma = batches.paint(500, 3, torch.Generator().manual_seed(0))
    assert 0.6 < float(gain.amin()) < 0.7
    assert 1.1 < float(gain.amax()) < 1.25
    assert float((gain[:, 0] / gain[:, 2]).log().abs().amax()) == pytest.approx(0.2, abs=0.02)
    assert float(gamma.log().abs().amax()) == pytest.approx(0.2, abs=0.01)
    grey, _ = batches.paint(500, 1, torch.Generator().manual_seed(0))
    assert grey.shape == (500, 1)
    assert float(grey.amin()) >= 0.7
    images = torch.rand(500, 2, 2, 3) / 2
    seen = jitter(images, torch.zeros(500, dtype=torch.bool), gain, gamma, (0, 0))
    expected = gain[7] * images[7] ** gamma[7]
    torch.testing.assert_close(seen[7], expected)


def test_halved_views_see_the_same() -> None:
    dataset = tiny_dataset(size=32)
    batch = dataset.batch([0, 1], [[0, 2]])
    small = halved(batch)
    assert small.images.shape == (2, 2, 16, 16, 1)
    assert small.shared_cameras is not None
    point = torch.tensor([[0.3, -0.2, 0.4]])
    uv, _ = batch.cameras.project(point)
    half_uv, _ = small.cameras.project(point)
    torch.testing.assert_close(half_uv, uv / 2)


def test_objects_with_their_own_cameras_are_rendered_one_by_one() -> None:
    dataset = tiny_dataset()
    own = replace(
        dataset,
        c2w=dataset.c2w.expand(len(dataset), -1, -1, -1).clone(),
        Ks=dataset.Ks.expand(len(dataset), -1, -1, -1).clone(),
    )
    state = State(_model(), TrainConfig(Path("x"), Path("y")))
    results = []
    for source in (dataset, own):
        sampler = Sampler(TrainConfig(Path("x"), Path("y"), batch=3, views=2), source)
        step = sampler.draw(ONE)
        values = torch.stack([Lattice.sphere(r, resolution=12).values for r in (0.4, 0.5, 0.6)])
        now = schedule(state.config, 0.9)
        results.append(compare(values, step, source, now.weights, state.clock))
        assert step.shared == (source is dataset)
    assert results[1][1].abs().sum() > 0
    assert results[0][1].shape == results[1][1].shape


def _model() -> torch.nn.Module:
    from singleview.models import Small

    return Small(1, 12)


# ---------------------------------------------------------------------- several processes

JOB = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def job_command(objects: Path, out: Path, steps: int, *more: str) -> list[str]:
    """`torchrun --nproc_per_node 2 -m singleview train` with the settings of `train_tiny`."""
    settings = f"--steps {steps} --batch 4 --resolution 12 --augment flip --evaluate-every 5"
    train = ["-m", "singleview", "train", str(objects), "--out", str(out)]
    return [*JOB, *train, *settings.split(), "--device", "cpu", *more]


@pytest.mark.release
def test_two_processes_train_as_one_does(objects: Path, tmp_path: Path) -> None:
    train_tiny(objects, tmp_path / "one", steps=50, evaluate_every=5)
    done = subprocess.run(
        job_command(objects, tmp_path / "two", 50), env=ENV, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one, two = (read_rows(tmp_path / name / "losses.csv") for name in ("one", "two"))
    assert len(one) == len(two) == 50
    for a, b in zip(one, two, strict=True):
        assert float(b["total"]) == pytest.approx(float(a["total"]), rel=1e-4)


@pytest.mark.release
def test_a_lost_process_ends_the_job_and_the_run_goes_on(objects: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    job = subprocess.Popen(
        job_command(objects, out, 100_000), env=ENV, stderr=subprocess.PIPE, text=True
    )
    checkpoint = out / "checkpoints" / "latest.safetensors"
    deadline = time.monotonic() + 240
    while not checkpoint.exists():
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    workers = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    _, told = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "ended" in told
    assert "--resume" in told
    steps = int(read_rows(out / "losses.csv")[-1]["step"]) + 3
    metrics = train_tiny(objects, out, steps=steps, evaluate_every=5, resume=True)
    assert metrics["steps"] == steps


# ---------------------------------------------------------------------- settings


def test_schedule_warms_up_falls_and_brings_shading_in() -> None:
    config = TrainConfig(Path("x"), Path("y"), coarse_to_fine=True)
    rates = [schedule(config, u).rate for u in (0.0, 0.02, 0.5, 1.0)]
    assert rates[0] < 0.1 * rates[1]
    assert rates[1] > rates[2] > rates[3] > 0
    assert schedule(config, 0.1).weights.shading == 0
    assert schedule(config, 0.9).weights.shading == config.weights.shading
    assert [schedule(config, u).half_size for u in (0.1, 0.9)] == [True, False]
    paper = replace(config, size="paper")
    assert [schedule(paper, u).stage for u in (0.1, 0.6, 0.9)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 1.0, "steps": 3}, "--minutes, --steps"),
        ({"steps": 0}, "--steps: need at least 1, got 0"),
        ({"batch": 0}, "--batch: need at least 1, got 0"),
        ({"learning_rate": 2.0}, "--learning-rate: need between 0 and 1"),
        ({"resolution": 4}, "--resolution: need from 8 to 128, got 4"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(Path("x"), Path("y"), **changes)  # type: ignore[arg-type]


def test_what_cannot_be_trained_on_is_refused_before_anything_is_written(
    objects: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match="--views: need at most the dataset's 4, got 5"):
        train_tiny(objects, out, views=5)
    with pytest.raises(InputError, match=r"config\.json: need a run to resume"):
        train_tiny(objects, out, resume=True)
    assert not out.exists()


def test_a_dataset_that_lacks_what_is_asked_for_is_refused() -> None:
    dataset = tiny_dataset()
    config = TrainConfig(Path("data"), Path("y"), supervision="shape")
    with pytest.raises(InputError, match="data has no true lattices"):
        prepare.check_dataset(config, replace(dataset, values=None))
    config = TrainConfig(Path("data"), Path("y"), augment="made-up")
    with pytest.raises(InputError, match="--augment: made-up needs"):
        prepare.check_dataset(config, replace(dataset, lighting=None))
    masks = dataset.silhouettes.clone()
    masks[1] = 0
    with pytest.raises(InputError, match="box/1 has only empty masks"):
        prepare.check_dataset(config, replace(dataset, silhouettes=masks))


def test_a_run_is_not_overwritten_and_resumes_only_with_its_own_settings(
    objects: Path, run: Path
) -> None:
    with pytest.raises(InputError, match="need a folder without a run"):
        train_tiny(objects, run)
    with pytest.raises(InputError, match="need the same settings to resume, batch was 4 and is 2"):
        train_tiny(objects, run, resume=True, batch=2)


def test_a_damaged_checkpoint_is_named(objects: Path, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    (copy / "checkpoints").mkdir(parents=True)
    for name in ("config.json", "losses.csv", "validation.csv"):
        (copy / name).write_bytes((run / name).read_bytes())
    whole = (run / "checkpoints" / "latest.safetensors").read_bytes()
    (copy / "checkpoints" / "latest.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"latest\.safetensors: need a checkpoint of this run"):
        train_tiny(objects, copy, steps=60, evaluate_every=30, resume=True)


def test_iou_and_resampled() -> None:
    a = torch.tensor([[True, True, False], [False, False, False]])
    b = torch.tensor([[True, False, False], [False, False, False]])
    assert occupancy_iou(a, b, axes=1).tolist() == [0.5, 1.0]
    values = Lattice.sphere(0.5, resolution=16).values[None]
    assert resampled(values, 31).shape == (1, 31, 31, 31)


def test_without_a_known_light_shapes_are_fitted_but_nothing_is_made_up(
    objects: Path, tmp_path: Path
) -> None:
    dark = replace(tiny_dataset(), lighting=None)
    with (
        patch.object(prepare, "FitRecipe", lambda: QUICK),
        patch("singleview.training.learners.sdfdiff.open_dataset", return_value=dark),
    ):
        train_tiny(objects, tmp_path / "run", augment="auto", steps=4)
    rows = read_rows(tmp_path / "run" / "losses.csv")
    assert all(float(row["shape"]) > 0 for row in rows)
    assert all(float(row["silhouette"]) > 0 for row in rows)
    assert all(float(row["shading"]) == 0 for row in rows)
