"""Fits that are killed, cut off or disturbed: they go on to what they would have been."""

import errno
import os
import re
from pathlib import Path
from unittest.mock import patch

import pytest
import tiny
import torch
from processes.killed import killed_at_flush

from multiview.run_folder import RunFolder
from sdfrender import InputError
from sdfrender.files.locks import locked

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")


@pytest.fixture(scope="module")
def whole(torus_scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit in a go."""
    out = tmp_path_factory.mktemp("whole") / "run"
    tiny.optimize_tiny(torus_scene, out)
    return out


def same(run: Path, whole: Path) -> bool:
    """Whether two runs came to the same, and no other files are left."""
    names = [
        sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.name != "config.json")
        for folder in (run, whole)
    ]
    assert names[0] == names[1]
    checkpoints = [RunFolder.load_checkpoint(_folder(x)) for x in (run, whole)]
    (a, _), (b, _) = checkpoints  # type: ignore[misc]
    equal = a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    return equal and tiny.read_losses(run) == tiny.read_losses(whole)


def _folder(path: Path) -> RunFolder:
    folder = RunFolder.__new__(RunFolder)
    folder.path = path
    return folder


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 7, 9, 12, 14, 17, 19, 24])
def test_a_killed_fit_goes_on(at: int, torus_scene: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert killed_at_flush(lambda: tiny.optimize_tiny(torus_scene, run), at)
    resume = (run / "config.json").exists()  # before that there is no run
    tiny.optimize_tiny(torus_scene, run, resume=resume)
    assert same(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [None, b"", b"update,sec"])
@pytest.mark.parametrize("position", [None, (0, 2)])
def test_a_fit_whose_log_is_lost_goes_on(
    damage: bytes | None, position: tuple[int, int] | None, torus_scene: Path, whole: Path,
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    with tiny.stopped_after(*(position or (0, 1))):
        tiny.optimize_tiny(torus_scene, run)
    if position is None:
        (run / "checkpoints" / "latest.safetensors").unlink()
    if damage is None:
        (run / "losses.csv").unlink()
    else:
        (run / "losses.csv").write_bytes(damage)
    caplog.set_level("INFO")
    tiny.optimize_tiny(torus_scene, run, resume=True)
    rows, expected = tiny.read_losses(run), tiny.read_losses(whole)
    if position is None:
        assert "has no checkpoint yet, the run begins again" in caplog.text
        assert same(run, whole)
    else:
        assert "losses.csv: missing or damaged" in caplog.text
        assert rows == expected[4:]


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 3, 6, 10])
def test_a_fit_whose_disk_is_full_says_where_and_goes_on(
    at: int, torus_scene: Path, whole: Path, tmp_path: Path
) -> None:
    run, flush, left = tmp_path / "run", os.fsync, at

    def full(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    with (
        patch.object(os, "fsync", full),
        pytest.raises(OSError, match=rf"No space left on device: '{re.escape(str(run))}/\S+'"),
    ):
        tiny.optimize_tiny(torus_scene, run)
    assert not [p for p in run.rglob("*") if "partial" in p.name or p.name == ".lock"]
    tiny.optimize_tiny(torus_scene, run, resume=(run / "config.json").exists())
    assert same(run, whole)


def test_two_fits_in_one_folder(torus_scene: Path, whole: Path, tmp_path: Path) -> None:
    for folder, resume in ((tmp_path / "new", False), (whole, True)):
        before = sorted(folder.rglob("*")) if resume else []
        with locked(folder), pytest.raises(InputError, match=f"process {os.getpid()} "):
            tiny.optimize_tiny(torus_scene, folder, resume=resume)
        assert sorted(folder.rglob("*")) == before


def test_a_run_that_another_process_began_meanwhile_is_not_overwritten(
    torus_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, held = tmp_path / "run", RunFolder.held

    def late(self: RunFolder) -> object:
        run.mkdir()
        (run / "config.json").write_text("{}")
        return held(self)

    monkeypatch.setattr(RunFolder, "held", late)
    with pytest.raises(InputError, match="need a folder without a run"):
        tiny.optimize_tiny(torus_scene, run)
    assert (run / "config.json").read_text() == "{}"
