"""The small lattices that a fit keeps of itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
import torch

from multiview.levels.progress import SNAPSHOTS, snapshot_due
from multiview.recipes import Level
from multiview.run_folder import RunFolder, read_config
from sdfrender import InputError, Lattice

pytestmark = pytest.mark.parametrize("preset", ["fast"], indirect=True)


@pytest.fixture
def run(torus_run: Path, tmp_path: Path) -> RunFolder:
    """A copy of the finished run, to change."""
    folder = Path(shutil.copytree(torus_run, tmp_path / "run"))
    return RunFolder(read_config(folder))


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e6])  # half precision ends at 65504
def test_a_snapshot_is_the_shape(run: RunFolder, scale: float) -> None:
    lattice = Lattice(tiny.true_lattice().values * scale, tiny.BOX * scale)
    run.save_snapshot(lattice, 1000)
    update, found = run.load_snapshots()[-1]
    assert update == 1000
    torch.testing.assert_close(found.bounds, lattice.bounds)
    torch.testing.assert_close(found.values, lattice.values, rtol=1e-3, atol=1e-4 * scale)


def test_a_large_lattice_is_kept_small(run: RunFolder) -> None:
    run.save_snapshot(Lattice.sphere(0.5, resolution=90), 1000)
    _, found = run.load_snapshots()[-1]
    assert found.resolution == (64, 64, 64)
    inside = (found.values < 0).double().mean() * 8  # of the box, whose volume is 8
    assert float(inside) == pytest.approx(0.5236, rel=0.1)


def test_a_resumed_run_forgets_what_came_later(run: RunFolder) -> None:
    before = [update for update, _ in run.load_snapshots()]
    assert before == sorted(before)
    run.truncate_log(before[2])
    assert [update for update, _ in run.load_snapshots()] == before[:3]
    run.truncate_log(0)
    assert run.load_snapshots() == []
    run.snapshots.rmdir()  # as in a run of an older version
    assert run.load_snapshots() == []


def test_a_damaged_snapshot_is_named(run: RunFolder) -> None:
    (run.snapshots / "000001.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"000001\.safetensors: need a snapshot of a run"):
        run.load_snapshots()


@pytest.mark.parametrize("passes", [(1,), (3, 4), (30, 50, 400)])
def test_few_are_kept_and_the_end_of_each_level(preset: str, passes: tuple[int, ...]) -> None:
    levels = [Level(1, 1, count) for count in passes]
    due = [
        [snapshot_due(levels, number, done) for done in range(1, level.passes + 1)]
        for number, level in enumerate(levels)
    ]
    assert all(level[-1] for level in due)
    kept = sum(map(sum, due))
    assert min(sum(passes), SNAPSHOTS // 2) <= kept <= SNAPSHOTS + len(levels)
