"""What a batch has to do, and in which order it tells of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from multiview.batch.jobs import Job, jobs_of, short_names
from multiview.batch.rows import failures, worst_first
from multiview.batch.table import Lines, cells, progress
from multiview.config import FitConfig
from multiview.run_folder import FILMS, RunFolder
from sdfrender import InputError

OPTIONS = {"preset": "fast", "resolution": 16}


def job(tmp_path: Path, **options: Any) -> Job:
    scene = tmp_path / "vase"
    scene.mkdir(exist_ok=True)
    (scene / "transforms.json").write_text("{}")
    return jobs_of([scene], tmp_path / "out", {**OPTIONS, **options})[0]


def finish(run: Path, **metrics: Any) -> None:
    for name in ("mesh.ply", FILMS[1]):
        (run / name).write_text("")
    (run / "metrics.json").write_text(json.dumps({"train": {"psnr": 30.0}, **metrics}))


def test_scenes_of_one_name_have_their_folders_in_it(tmp_path: Path) -> None:
    places = [tmp_path / x for x in ("a/scan", "b/scan", "b/vase", "c/vase/transforms.json")]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix:
            place.write_text("{}")
        else:
            place.mkdir(exist_ok=True)
    assert short_names(places) == ["a-scan", "b-scan", "b-vase", "c-vase"]
    assert short_names([tmp_path / "a-b" / "c", tmp_path / "a" / "b-c"]) == ["c", "b-c"]
    assert len(set(short_names([Path("/x/a-b/c"), Path("/x/a/b-c"), Path("/y/c")]))) == 3


def test_wrong_scenes_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "vase").mkdir()
    out = tmp_path / "out"
    with pytest.raises(InputError, match="need at least one"):
        jobs_of([], out, OPTIONS)
    with pytest.raises(InputError, match=r"there is no \S*cup, no \S*jug"):
        jobs_of([tmp_path / "cup", tmp_path / "vase", tmp_path / "jug"], out, OPTIONS)
    with pytest.raises(InputError, match=r"each scene once, got \S*vase more than once"):
        jobs_of([tmp_path / "vase", tmp_path / "vase" / ".." / "vase"], out, OPTIONS)
    with pytest.raises(InputError, match="--resolution: need at least 8"):
        jobs_of([tmp_path / "vase"], out, {"resolution": 2})
    assert not out.exists()


def test_the_state_of_a_run_is_what_its_folder_holds(tmp_path: Path) -> None:
    found = job(tmp_path)
    assert found.state() == "new"
    run = RunFolder(found.config)
    run.begin(photographs=True)
    assert found.state() == "begun"
    finish(run.path, interrupted=True)
    assert found.state() == "begun"
    finish(run.path)
    assert found.state() == "finished"
    for name in ("metrics.json", "mesh.ply", FILMS[1]):
        (run.path / name).rename(run.path / "away")
        assert found.state() == "begun", name
        (run.path / "away").rename(run.path / name)
    # What a resumed run would add is not there yet.
    assert job(tmp_path, texture=True).state() == "begun"
    assert job(tmp_path, closed=True).state() == "begun"
    assert job(tmp_path, threads=3).state() == "finished"


def test_a_run_with_other_settings_is_not_taken_for_this_one(tmp_path: Path) -> None:
    found = job(tmp_path)
    RunFolder(found.config).begin()
    finish(found.config.folder)
    with pytest.raises(InputError, match=r"resolution was 16 and is 24"):
        job(tmp_path, resolution=24).state()
    file = found.config.folder / "config.json"
    stored = json.loads(file.read_text())
    stored["recipe"]["iterations"] = 1
    file.write_text(json.dumps(stored))
    with pytest.raises(InputError, match="by another recipe"):
        found.state()


def test_photographs_become_a_scene_of_the_batch(tmp_path: Path) -> None:
    photos = tmp_path / "photos" / "mug"
    photos.mkdir(parents=True)
    (photos / "a.jpg").write_bytes(b"")
    (found,) = jobs_of([photos], tmp_path / "out", OPTIONS)
    assert found.photographs == photos
    assert found.config.scene == tmp_path / "out" / "scenes" / "mug"
    assert found.config.folder == tmp_path / "out" / "runs" / "mug"


def test_the_worst_come_first() -> None:
    def row(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "scene": name, **more}

    rows = [
        row("good", metrics={"train": {"psnr": 20.0}, "held_out": {"psnr": 40.0}}),
        row("middling", metrics={"train": {"psnr": 35.0}}),
        row("waiting"),
        row("blind", metrics={"train": {"psnr": math.nan}}),
        row("broken", error="no camera file"),
    ]
    order = [found["name"] for found in worst_first(rows)]
    assert order == ["broken", "waiting", "blind", "middling", "good"]
    assert failures(rows) == ["broken: no camera file"]
    assert cells(rows[-1])[:2] == ["broken", "failed: no camera file"]
    assert cells(rows[0])[:3] == ["good", "done", "40.0"]


def test_a_line_for_each_scene_that_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tell = Lines(3)
    rows: list[dict[str, Any]] = [{"name": "a", "metrics": {"train": {}}, "kept": True}]
    tell(rows, [])
    rows.append({"name": "b", "metrics": {"train": {"psnr": 31.25}}})
    tell(rows, [])
    tell(rows, [])
    assert [record.message for record in caplog.records] == ["b: done, 31.2 dB (2 of 3)"]


def test_how_far_a_fit_is_stands_in_its_folder(tmp_path: Path) -> None:
    config = FitConfig(tmp_path, tmp_path / "run")
    found = Job("vase", config, tmp_path)
    assert progress(found) == "begins"
    config.folder.mkdir()
    (config.folder / ".lock").write_text("{}")
    (config.folder / "losses.csv").write_text("update,resolution\n")
    assert progress(found) == "first shape"
    (config.folder / "losses.csv").write_text("update,resolution\n1,8x6x8\n2,16x12x16\n3,1")
    assert progress(found) == "update 2, 16×12×16"
