"""A batch of twelve scenes, by hand: `pytest -n 0 tests/soak/test_batch.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from batches import check_batch

pytest.importorskip("distributed", reason="needs the extra `cluster`")


def test_twelve_scenes_on_two_workers(torus_scene: Path, tmp_path: Path) -> None:
    check_batch(torus_scene, tmp_path, "a b c broken d e f g h i j k l")
