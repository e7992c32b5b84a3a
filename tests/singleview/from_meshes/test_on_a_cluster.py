"""Data sets made by the workers of a cluster are those that one process makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from processes.dask_threads import scheduler_in_threads
from singleview_tiny import write_meshes

from sdfrender.cluster.settings import SchedulerSettings
from sdfrender.errors import InputError
from singleview.from_meshes.render_dataset import render_dataset
from singleview.from_meshes.sample_points import sample_points
from singleview.settings.datasets import RenderDatasetConfig, SamplePointsConfig


@pytest.fixture(scope="module")
def cluster() -> Iterator[SchedulerSettings]:
    with scheduler_in_threads() as settings:
        yield settings


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_meshes(tmp_path_factory.mktemp("meshes") / "meshes")


def same_files(one: Path, other: Path) -> int:
    """How many files two folders hold, which have to be equal."""
    names = sorted(str(p.relative_to(one)) for p in one.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(other)) for p in other.rglob("*") if p.is_file())
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    return len(names)


def test_pictures(
    cluster: SchedulerSettings, meshes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(out: str) -> RenderDatasetConfig:
        return RenderDatasetConfig(
            meshes, Path(out), ("ball",), size=12, views=2, resolution=8, supersampling=1, jobs=1
        )

    monkeypatch.chdir(tmp_path)
    render_dataset(config("here"))
    render_dataset(config("there"), cluster)
    assert same_files(tmp_path / "here", tmp_path / "there") > 3


@pytest.mark.parametrize(
    "some", [{"points": 64, "near": 32, "surface": 16}, {"sdf": 100}], ids=["occupancy", "sdf"]
)
def test_samples(
    some: dict[str, int], cluster: SchedulerSettings, meshes: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    here = SamplePointsConfig(meshes, Path("here"), ("brick",), **some)  # type: ignore[arg-type]
    there = SamplePointsConfig(meshes, Path("there"), ("brick",), **some)  # type: ignore[arg-type]
    assert sample_points(here, quiet=True) == sample_points(there, True, cluster)
    assert same_files(tmp_path / "here", tmp_path / "there") == 2


def test_a_mesh_that_cannot_be_used_ends_all(cluster: SchedulerSettings, tmp_path: Path) -> None:
    folder = tmp_path / "meshes" / "ball"
    folder.mkdir(parents=True)
    (folder / "torn.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    config = SamplePointsConfig(tmp_path / "meshes", tmp_path / "out", points=8)
    with pytest.raises(InputError, match=r"torn\.obj: need a watertight mesh"):
        sample_points(config, True, cluster)
