"""Photographs as people take them, beside the checkout: what is right, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from places import DATA

from multiview.photographs import trust
from multiview.photographs.find import find_cameras
from multiview.photographs.settings import CameraSettings
from sdfrender.errors import InputError

pycolmap = pytest.importorskip("pycolmap", reason="needs the extra photos")

PHOTOGRAPHS = DATA / "photographs"

pytestmark = [
    pytest.mark.release,
    pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason=f"needs {PHOTOGRAPHS}"),
]


def some(folder: Path, name: str, which: slice) -> Path:
    """A folder with some of the photographs of a set."""
    folder.mkdir()
    for file in sorted((PHOTOGRAPHS / name / "images").iterdir())[which]:
        (folder / file.name).symlink_to(file)
    return folder


def refused(photos: Path, out: Path) -> str:
    with pytest.raises(InputError) as caught:
        find_cameras(CameraSettings(photos, out, threads=1))
    assert not (out / "sparse" / "0").exists()
    return str(caught.value)


def test_the_fountain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = some(tmp_path / "photos", "fountain", slice(None))
    told = find_cameras(CameraSettings(photos, tmp_path / "out", image_size=640, threads=1))
    assert told["unplaced"] == []
    table = json.loads((PHOTOGRAPHS / "fountain" / "transforms.json").read_text())
    truth = {}
    for frame in table["frames"]:
        pose = np.array(frame["transform_matrix"])
        truth[Path(frame["file_path"]).name] = np.column_stack(
            (pose[:3, :3] * (1, -1, -1), pose[:3, 3])
        )
    poses = trust.poses
    monkeypatch.setattr(trust, "poses", lambda x: x if isinstance(x, dict) else poses(x))
    model = pycolmap.Reconstruction(tmp_path / "out" / "sparse" / "0")
    centres, angle, count = trust.differences(model, truth)
    assert count == 11
    assert centres < 0.05  # the farthest one, by directions: .024 at 1024 pixels
    assert angle < 0.6
    assert told["cameras"][0]["focal"] == pytest.approx(table["fl_x"], rel=0.01)


def test_a_turntable_without_masks(tmp_path: Path) -> None:
    photos = some(tmp_path / "photos", "turntable", slice(None, None, 3))
    told = refused(photos, tmp_path / "out")
    assert "turntable before a still background" in told
    assert "--masks" in told


def test_three_pictures_too_few_to_say(tmp_path: Path) -> None:
    photos = some(tmp_path / "photos", "kitchen", slice(11, 14))
    assert "two runs place the cameras differently" in refused(photos, tmp_path / "out")
