"""Batches on workers of this machine: results are those of single fits, whatever happens."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import tiny
from batches import OPTIONS, check_batch, scenes_in

from multiview.batch.run import BatchConfig, batch
from multiview.cli import main
from sdfrender import InputError

pytest.importorskip("distributed", reason="needs the extra `cluster`")


@pytest.mark.release
def test_a_killed_worker_loses_nothing_but_time(torus_scene: Path, tmp_path: Path) -> None:
    check_batch(torus_scene, tmp_path, "a broken b")


def test_finished_scenes_need_no_workers(
    torus_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (scene,) = scenes_in(tmp_path / "scenes", torus_scene, "a")
    out = tmp_path / "out"
    tiny.fit_tiny(scene, out / "runs" / "a", tiny.NEWTON)
    args = ["batch", str(scene), "--out", str(out), "--preset", "fast", "--resolution", "16"]
    monkeypatch.setattr(sys, "argv", ["multiview", *args, "--json"])
    recipes = {"fast": lambda resolution: tiny.NEWTON}
    with (
        patch.dict("multiview.config.RECIPES", recipes),
        patch("multiview.batch.run.connected", side_effect=AssertionError),
    ):
        assert main() == 0
    (row,) = json.loads(capsys.readouterr().out)["scenes"]
    assert row["kept"]
    assert 'href="runs/a/report.html"' in (out / "index.html").read_text()


def test_ctrl_c_leaves_a_page_and_says_how_to_go_on(
    torus_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    scenes = scenes_in(tmp_path / "scenes", torus_scene, "a b")
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["multiview", "batch", *map(str, scenes), "--out", str(out)])
    with patch("multiview.batch.run.connected", side_effect=KeyboardInterrupt):
        assert main() == 130
    shown = capsys.readouterr()
    assert "0 of 2 scenes are done; the same command goes on" in shown.err
    assert "not done" in shown.out
    page = (out / "index.html").read_text()
    assert page.count("not done") == 4  # as text and to sort by


def test_a_folder_with_other_settings_is_refused_before_any_work(
    torus_scene: Path, tmp_path: Path
) -> None:
    (scene,) = scenes_in(tmp_path / "scenes", torus_scene, "a")
    config = BatchConfig((scene,), tmp_path / "out", OPTIONS)
    tiny.optimize_tiny(scene, tmp_path / "out" / "runs" / "a", tiny.NEWTON, resolution=20)
    with (
        patch("multiview.batch.run.connected", side_effect=AssertionError),
        pytest.raises(InputError, match="resolution was 20 and is 16"),
    ):
        batch(config)
    assert not (tmp_path / "out" / "batch.json").exists()
