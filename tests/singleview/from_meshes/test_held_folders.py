"""Commands that make data of meshes hold the folder that they write to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trimesh

from sdfrender.errors import InputError
from sdfrender.files.locks import NAME, locked
from singleview.align.align import align
from singleview.from_meshes.render_dataset import render_dataset
from singleview.from_meshes.sample_points import sample_points
from singleview.settings.alignment import AlignConfig
from singleview.settings.datasets import RenderDatasetConfig, SamplePointsConfig

Making = Callable[[Path, Path], object]

MAKING: dict[str, Making] = {
    "render-dataset": lambda meshes, out: render_dataset(RenderDatasetConfig(meshes, out)),
    "sample-points": lambda meshes, out: sample_points(SamplePointsConfig(meshes, out), True),
    "sample-points --sdf": lambda meshes, out: sample_points(
        SamplePointsConfig(meshes, out, sdf=100), True
    ),
    "align": lambda meshes, out: align(AlignConfig(meshes, out=out / "alignment.json"), True),
}


@pytest.mark.parametrize("command", MAKING)
def test_one_process_at_a_time_writes(tmp_path: Path, command: str) -> None:
    meshes, out = tmp_path / "meshes", tmp_path / "out"
    meshes.mkdir()
    trimesh.creation.box().export(meshes / "box.ply")
    with locked(out):
        with pytest.raises(InputError, match=f"{out}: need a folder that no other process writes"):
            MAKING[command](meshes, out)
        assert [path.name for path in out.iterdir()] == [NAME]


def test_a_file_is_no_folder_to_hold(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match="a: need a folder, it is a file"), locked(tmp_path / "a"):
        pass
