"""Data that stays on disk: the same batches from anywhere, in the same order, from any place on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from occupancy_tiny import train_occupancy, write_samples, write_solids
from tiny_training import read_rows

from sdfrender.errors import InputError
from sdfrender.files.tensors import load_tensors, save_tensors
from singleview.config import DeepsdfConfig, OccupancyConfig, SamplePointsConfig, TrainConfig
from singleview.data.columns import Column, stays_on_disk
from singleview.data.distances import open_distances
from singleview.data.open import open_samples
from singleview.data.order import Order
from singleview.from_meshes.sample_points import sample_points
from singleview.training.checkpoint import load_model
from singleview.training.distributed import Job
from singleview.training.learners.deepsdf import DeepsdfLearner
from singleview.training.learners.occupancy import OccupancyLearner

# Newer Pythons warn of forks beside threads; the workers use none of ours.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
ONE = Job(0, 1, torch.device("cpu"))
ARRAYS = ("points", "inside", "near", "near_inside", "surface", "normals")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples and distances of the same few objects."""
    folder = tmp_path_factory.mktemp("streams")
    samples = write_samples(folder)
    write = SamplePointsConfig(folder / "meshes", samples, sdf=1200)
    sample_points(write, quiet=True)
    return samples


# ---------------------------------------------------------------------- the order


@pytest.mark.parametrize(("objects", "buffer"), [(1, 1), (7, 3), (45, 1), (130, 25), (50, 1000)])
def test_every_object_comes_once_an_epoch(objects: int, buffer: int) -> None:
    order = Order(objects, buffer, seed=3)
    for epoch in range(3):
        places = range(epoch * objects, (epoch + 1) * objects)
        assert sorted(order[p] for p in places) == list(range(objects))


def test_an_order_is_that_of_its_seed_from_any_place_on() -> None:
    order = Order(130, 25, seed=3)
    whole = [order[p] for p in range(400)]
    assert [Order(130, 25, seed=3)[p] for p in range(200, 400)] == whole[200:]
    assert [Order(130, 25, seed=4)[p] for p in range(400)] != whole
    assert whole[:130] != whole[130:260]


def test_what_lies_near_on_disk_is_read_near_in_time() -> None:
    """With a small buffer few shards of 20 are open together; with a large one all are."""
    spread = {}
    for buffer in (10, 1000):
        order = Order(400, buffer, seed=0)
        windows = [{order[p] // 20 for p in range(a, a + 20)} for a in range(0, 400, 20)]
        spread[buffer] = np.mean([len(w) for w in windows])
    assert spread[10] < 4
    assert spread[1000] > 10


def test_objects_are_shuffled_evenly() -> None:
    first = Counter(Order(5, 5, seed)[0] for seed in range(1000))
    assert min(first.values()) > 150
    assert max(first.values()) < 250


# ---------------------------------------------------------------------- columns


def test_arrays_on_disk_are_those_in_memory(data: Path) -> None:
    memory, disk = open_samples(data), open_samples(data, "disk")
    assert disk.names == memory.names
    assert disk.splits == memory.splits
    for part in (lambda s: s, lambda s: s.split("val")):
        a, b = part(memory), part(disk)
        for name in ARRAYS:
            column = getattr(b, name)
            assert isinstance(column, Column)
            assert column.shape == getattr(a, name).shape
            for i in range(len(a)):
                assert torch.equal(column[i], getattr(a, name)[i])
                assert torch.equal(column[i, 3:9], getattr(a, name)[i, 3:9])
    stored, found = open_distances(data), open_distances(data, "disk")
    assert torch.equal(torch.stack(list(found.split("train").values)), stored.split("train").values)
    assert torch.equal(found.points[2], stored.points[2])


def test_the_layout_of_occupancy_networks_stays_on_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        folder = tmp_path / "02828884" / name
        folder.mkdir(parents=True)
        points = rng.uniform(-0.55, 0.55, (20, 3)).astype(np.float16)
        inside = np.packbits(np.linalg.norm(points, axis=1) < 0.4)
        np.savez(folder / "points.npz", points=points, occupancies=inside)
        np.savez(folder / "pointcloud.npz", points=points[:7], normals=np.eye(3)[[0] * 7])
    memory, disk = open_samples(tmp_path), open_samples(tmp_path, "disk")
    for name in ARRAYS:
        assert getattr(disk, name).shape == getattr(memory, name).shape
        assert torch.equal(getattr(disk, name)[2], getattr(memory, name)[2])


def test_large_data_stay_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("singleview.data.columns.free_memory", lambda: 1000)
    assert [stays_on_disk("auto", size) for size in (400, 600)] == [False, True]
    assert stays_on_disk("disk", 1)
    assert not stays_on_disk("memory", 10**9)
    monkeypatch.setattr("singleview.data.columns.free_memory", lambda: None)
    assert not stays_on_disk("auto", 10**15)  # the system does not tell


def test_damage_is_told_when_it_is_met(tmp_path: Path) -> None:
    write_solids(tmp_path / "meshes")
    folder = write_samples(tmp_path)
    shard = folder / "samples_000.safetensors"
    tensors, state = load_tensors(shard, "a shard")
    save_tensors(shard, {k: x * torch.nan if k.endswith("/points") else x
                         for k, x in tensors.items()}, state)  # fmt: skip
    config = TrainConfig(folder, tmp_path / "no", model="occupancy", size="small", data="disk",
                         occupancy=OccupancyConfig(decoded=20), augment="none")  # fmt: skip
    with pytest.raises(InputError, match="samples: need finite numbers, got NaN or infinity"):
        OccupancyLearner(config).step(ONE)
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"samples_000\.safetensors: need a shard of samples"):
        OccupancyLearner(config).step(ONE)
    shard.unlink()
    with pytest.raises(InputError, match=r"samples_000\.safetensors: need a shard of samples"):
        open_samples(folder, "disk")


# ---------------------------------------------------------------------- batches


def steps(folder: Path, job: Job, after: int = 0, **changes: object) -> list[list[torch.Tensor]]:
    """What three steps of an occupancy network look at."""
    own = OccupancyConfig(decoded=40, cloud=20)
    learner = OccupancyLearner(
        TrainConfig(folder, folder / "no", model="occupancy", size="small", occupancy=own,
                    batch=4, **changes)  # type: ignore[arg-type]
    )  # fmt: skip
    learner.taken = 4 * after
    found = [learner.step(job) for _ in range(after, 3)]
    return [[s.observations, s.points, s.inside] for s in found if s.observations is not None]


def test_batches_are_the_same_from_memory_and_disk_and_by_workers(data: Path) -> None:
    whole = steps(data, ONE, data="memory")
    assert len(whole) == 3
    for changes in ({"data": "disk"}, {"data": "disk", "workers": 2}, {"after": 1}):
        found = steps(data, ONE, **changes)  # type: ignore[arg-type]
        for a, b in zip(whole[-len(found) :], found, strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True)), changes
    assert not torch.equal(steps(data, ONE, seed=1)[0][1], whole[0][1])


def test_processes_share_a_batch(data: Path) -> None:
    whole = steps(data, ONE)
    parts = [steps(data, Job(rank, 2, ONE.device), data="disk") for rank in (0, 1)]
    for step, a, b in zip(whole, *parts, strict=True):
        for x, first, second in zip(step, a, b, strict=True):
            assert torch.equal(torch.cat((first, second)), x)


def test_deepsdf_learns_the_same_from_disk(data: Path) -> None:
    found = []
    for changes in ({"data": "memory"}, {"data": "disk"}, {"data": "disk", "workers": 1}):
        config = TrainConfig(data, data / "no", model="deepsdf", batch=3,
                             deepsdf=DeepsdfConfig(drawn=32), **changes)  # type: ignore[arg-type]  # fmt: skip
        learner = DeepsdfLearner(config)
        found.append([learner._step(ONE) for _ in range(3)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert sorted(int(i) for i in found[0][0][0]) == sorted({int(i) for i in found[0][0][0]})


@pytest.mark.slow
def test_a_training_goes_on_in_the_middle_of_an_epoch(data: Path, tmp_path: Path) -> None:
    """Four objects, batches of three: from disk and interrupted, as from memory in one go."""
    train_occupancy(data, tmp_path / "whole", batch=3, steps=6, data="memory")
    step = OccupancyLearner.step

    def interrupted(self: OccupancyLearner, job: Job) -> object:
        self.seen = getattr(self, "seen", 0) + 1  # type: ignore[attr-defined]
        if self.seen > 3:
            raise KeyboardInterrupt
        return step(self, job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OccupancyLearner, "step", interrupted)
        train_occupancy(data, tmp_path / "parts", batch=3, steps=6, data="disk")
    train_occupancy(data, tmp_path / "parts", batch=3, steps=6, data="disk", workers=1, resume=True)
    logs = [read_rows(tmp_path / name / "losses.csv") for name in ("whole", "parts")]
    assert logs[0] == logs[1]
    weights = [load_model(tmp_path / name)[0].state_dict() for name in ("whole", "parts")]
    assert all(torch.equal(x, weights[1][name]) for name, x in weights[0].items())
