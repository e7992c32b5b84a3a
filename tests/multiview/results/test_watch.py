"""`multiview watch`."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tiny

from multiview import cli
from multiview.results import watch
from sdfrender import InputError

pytestmark = pytest.mark.parametrize("preset", ["adam"], indirect=True)


@pytest.fixture
def run(torus_run: Path, tmp_path: Path) -> Path:
    """A run that goes on: settings and log, no results."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.json", "losses.csv"):
        shutil.copy(torus_run / name, folder / name)
    return folder


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["multiview", "watch", *map(str, arguments)])
    return cli.main()


def test_once(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, run, "--once") == 0
    out = capsys.readouterr().out
    last = tiny.read_losses(run)[-1]
    assert "running" in out
    assert f"update {last['update']}, level 2 (16×10×16)" in out
    per_view = float(last["total"]) / len(last["views"].split())
    assert f"{per_view:.4g}" in out
    assert any(0x2800 < ord(letter) <= 0x28FF for letter in out)
    assert max(map(len, out.splitlines())) <= 80


def test_before_the_first_update(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = run / "losses.csv"
    log.write_text(log.read_text().splitlines(keepends=True)[0])
    assert command(monkeypatch, run, "--once") == 0
    assert "no update yet" in capsys.readouterr().out


def test_a_line_that_is_being_written_waits(run: Path) -> None:
    log = run / "losses.csv"
    before = watch.Losses.read(log).rows
    with log.open("a") as file:
        file.write("99,1.0,1,16x10")
    assert watch.Losses.read(log).rows == before


def test_a_run_without_news_says_so(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    then = time.time() - 500
    os.utime(run / "losses.csv", (then, then))
    assert command(monkeypatch, run, "--once") == 0
    assert "no update for 50" in " ".join(capsys.readouterr().out.split())


def test_it_ends_with_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = threading.Thread(target=watch.watch, args=(run, False, 0.01))
    watcher.start()
    time.sleep(0.1)
    assert watcher.is_alive()
    (run / "report.html").write_text("")
    watcher.join(20)
    assert not watcher.is_alive()
    assert "finished" in capsys.readouterr().out


def test_what_is_no_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, tmp_path) == 2
    assert "config.json" in capsys.readouterr().err
    for damage in ("nonsense\n", "", "update,seconds\n1,2\n"):
        (run / "losses.csv").write_text(damage)
        with pytest.raises(InputError, match=r"losses\.csv: need the log of a run"):
            watch.Losses.read(run / "losses.csv")
    (run / "losses.csv").unlink()
    assert command(monkeypatch, run, "--once") == 2


def test_a_curve_goes_from_top_to_bottom(preset: str) -> None:
    lines = [line.plain for line in watch.plot(np.geomspace(100, 1, 50), 30, 8)]
    assert len(lines) == 8
    assert {len(line) for line in lines} == {30 + watch.MARGIN}
    assert lines[0].lstrip().startswith("100 ┤")
    assert lines[-1].lstrip().startswith("1 ┤")
    drawn = [[ord(x) - 0x2800 for x in line[watch.MARGIN :]] for line in lines]
    # A straight line on a log scale: each letter lower than the one before.
    places = [next(k for k in range(8) if drawn[k][column]) for column in range(30)]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 7)
    assert drawn[0][0] & 0x01  # the first dot of all
    assert drawn[7][29] & 0x80  # and the last


def test_what_cannot_be_drawn_leaves_a_gap_or_a_word(preset: str) -> None:
    assert "nothing" in watch.plot(np.array([0.0, np.nan]), 20, 5)[0].plain
    assert len(watch.plot(np.array([3.0]), 20, 5)) == 5
    assert len(watch.plot(np.array([3.0, 0.0, np.inf, 1.0]), 20, 5)) == 5
