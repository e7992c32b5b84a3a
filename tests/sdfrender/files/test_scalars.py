"""Logs for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import tiny
from tiny_training import read_rows, train_tiny, write_dataset

from sdfrender import InputError
from sdfrender.files.scalars import FOLDER, Scalars


def read(run: Path) -> dict[str, dict[int, float]]:
    """Each number's values by step, as TensorBoard shows them."""
    module: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator(str(run / FOLDER)).Reload()
    return {
        tag: {event.step: event.value for event in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
    }


def test_numbers_by_step_and_no_words(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    scalars = Scalars(tmp_path)
    columns = ("step", "views", "total", "colour")
    scalars.add("losses", columns, [(1, "a b", "0.5", 2), (2, "c", "0.25", "nan")])
    scalars.add("losses", columns, [(3, "", "", 4.0)])
    found = read(tmp_path)
    assert set(found) == {"losses/total", "losses/colour"}
    assert found["losses/total"] == {1: 0.5, 2: 0.25}
    assert found["losses/colour"][3] == 4.0


def test_what_is_made_again_is_shown_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    columns = ("step", "total")
    Scalars(tmp_path).add("losses", columns, [(k, 1.0) for k in range(1, 6)])
    Scalars(tmp_path, 3).add("losses", columns, [(4, 2.0)])
    assert read(tmp_path)["losses/total"] == {1: 1.0, 2: 1.0, 3: 1.0, 4: 2.0}


@pytest.mark.slow
def test_a_fit_writes_them(torus_scene: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    tiny.fit_tiny(torus_scene, run, tiny.SHORT["fast"], logs="tensorboard")
    rows = tiny.read_losses(run)
    found = read(run)
    assert len(rows) == 4
    for name in ("total", "color", "silhouette", "eikonal"):
        wanted = {int(row["update"]): float(row[name]) for row in rows}
        assert found[f"losses/{name}"] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.slow
def test_a_training_writes_them(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    train_tiny(write_dataset(tmp_path / "data"), run, logs="tensorboard")
    found = read(run)
    for table, name in (("losses", "total"), ("validation", "iou_32")):
        rows = read_rows(run / f"{table}.csv")
        wanted = {int(row["step"]): float(row[name]) for row in rows}
        assert found[f"{table}/{name}"] == pytest.approx(wanted, rel=1e-6)


def test_without_tensorboard(torus_scene: Path, tmp_path: Path) -> None:
    with (
        patch("sdfrender.files.scalars.find_spec", lambda name: None),
        pytest.raises(InputError, match=r'tensorboard.*pip install "sdfrender\[logs\]"'),
    ):
        tiny.fit_tiny(torus_scene, tmp_path / "run", logs="tensorboard")
    assert not (tmp_path / "run").exists()
