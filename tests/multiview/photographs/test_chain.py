"""`multiview fit PHOTOS`: what counts as photographs, and cameras, then masks, in one scene."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import tiny
from PIL import Image
from table_scene import write_table_scene

from multiview.photographs.chain import is_photographs, scene_of_photographs
from multiview.scenes import load_scene


def picture(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(file)


def test_what_counts_as_photographs(tmp_path: Path) -> None:
    assert not is_photographs(tmp_path)
    assert not is_photographs(tmp_path / "absent")
    picture(tmp_path / "beside" / "a.jpg")
    assert is_photographs(tmp_path / "beside")
    picture(tmp_path / "inside" / "images" / "a.jpg")
    assert is_photographs(tmp_path / "inside")
    (tmp_path / "walk.MP4").touch()
    assert is_photographs(tmp_path / "walk.MP4")
    scene = tiny.write_torus(tmp_path / "scene")
    assert not is_photographs(scene)
    assert not is_photographs(scene / "transforms.json")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Photographs, and a stand-in for the search for cameras that writes their true ones."""
    table = write_table_scene(tmp_path / "true")
    shutil.copytree(table.folder / "images", tmp_path / "ball")
    calls: list[Path] = []

    def find_cameras(settings: SimpleNamespace, quiet: bool) -> dict[str, object]:
        calls.append(settings.photos)
        shutil.copytree(table.folder, settings.out, dirs_exist_ok=True)
        return {"pictures": 12, "placed": [f"p{n:02d}.png" for n in range(12)]}

    find, chosen = ModuleType("find"), ModuleType("settings")
    find.find_cameras = find_cameras  # type: ignore[attr-defined]
    chosen.CameraSettings = lambda photos, out, **more: SimpleNamespace(  # type: ignore[attr-defined]
        photos=photos, out=out, **more
    )
    monkeypatch.setitem(sys.modules, "multiview.photographs.find", find)
    monkeypatch.setitem(sys.modules, "multiview.photographs.settings", chosen)
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(photos=tmp_path / "ball", folder=table.folder, calls=calls)


@pytest.mark.slow
def test_photographs_become_a_scene_with_masks(places: SimpleNamespace) -> None:
    scene = scene_of_photographs(places.photos)
    assert scene == Path("scenes/ball")
    assert places.calls == [places.photos]
    assert load_scene(scene).masks["file"] == 12
    times = {file: file.stat().st_mtime_ns for file in (scene / "masks").iterdir()}
    assert scene_of_photographs(places.photos) == scene
    assert {file: file.stat().st_mtime_ns for file in times} == times


def test_no_object_is_told_and_the_scene_stays(
    places: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    (places.folder / "sparse" / "0" / "points3D.txt").write_text("")
    scene = scene_of_photographs(places.photos)
    assert not (scene / "masks").exists()
    assert "masks: none found, the fit goes on without" in caplog.text
