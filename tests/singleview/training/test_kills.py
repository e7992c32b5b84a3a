"""Trainings that are killed, cut off or resumed when they are done: as if nothing had happened."""

import os
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest
from processes.killed import killed_at_flush
from tiny_training import read_rows, train_tiny, write_dataset

from sdfrender import InputError
from sdfrender.files.locks import locked
from singleview.training.learners.sdfdiff import SdfdiffLearner

SETTINGS = {"steps": 8, "evaluate_every": 2}
LOGS = ("losses.csv", "validation.csv")


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("objects") / "data")


@pytest.fixture(scope="module")
def whole(objects: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training in a go."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train_tiny(objects, out, **SETTINGS)
    return out


def weights(run: Path) -> bytes:
    """Of `model.safetensors` what follows the header, which tells the seconds too."""
    data = (run / "model.safetensors").read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def check_same(run: Path, whole: Path) -> None:
    assert weights(run) == weights(whole)
    for log in LOGS:
        assert read_rows(run / log) == read_rows(whole / log)
    files = [sorted(str(p.relative_to(x)) for p in x.rglob("*")) for x in (run, whole)]
    assert files[0] == files[1]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 11, 16, 20])
def test_a_killed_training_goes_on(at: int, objects: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert killed_at_flush(lambda: train_tiny(objects, run, **SETTINGS), at)
    resume = (run / "config.json").exists()
    train_tiny(objects, run, resume=resume, **SETTINGS)
    check_same(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 3])
def test_a_validation_that_is_cut_off_is_made_when_the_training_goes_on(
    at: int, objects: Path, whole: Path, tmp_path: Path
) -> None:
    run, validate, calls = tmp_path / "run", SdfdiffLearner.validate, 0

    def cut_off(self: SdfdiffLearner, network: object) -> object:
        nonlocal calls
        calls += 1
        found = validate(self, network)  # type: ignore[arg-type]
        if calls == at:
            raise KeyboardInterrupt
        return found

    with patch.object(SdfdiffLearner, "validate", cut_off):
        assert train_tiny(objects, run, **SETTINGS)["interrupted"] is True
    train_tiny(objects, run, resume=True, **SETTINGS)
    check_same(run, whole)


def test_resuming_what_is_done_adds_nothing(objects: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for _ in range(2):
        train_tiny(objects, run, resume=True, **SETTINGS)
        check_same(run, whole)


@pytest.mark.parametrize("damage", [None, b"", b"step,sec"])
def test_a_training_whose_logs_are_lost_goes_on(
    damage: bytes | None, objects: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for log in LOGS:
        (run / log).unlink()
        if damage is not None:
            (run / log).write_bytes(damage)
    train_tiny(objects, run, resume=True, **SETTINGS)
    assert weights(run) == weights(whole)


def test_a_training_without_a_checkpoint_begins_again(
    objects: Path, whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "checkpoints" / "latest.safetensors").unlink()
    caplog.set_level("INFO")
    train_tiny(objects, run, resume=True, **SETTINGS)
    assert "has no checkpoint yet, the run begins again" in caplog.text
    check_same(run, whole)


def test_two_trainings_in_one_folder(objects: Path, whole: Path, tmp_path: Path) -> None:
    for run, resume in ((tmp_path / "new", False), (whole, True)):
        with locked(run), pytest.raises(InputError, match=f"process {os.getpid()} "):
            train_tiny(objects, run, resume=resume, **SETTINGS)
