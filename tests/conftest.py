"""A small scene and a fit of it that many tests look at; none may change them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import tiny
import torch

# As a fit does: the same sums in every test whatever ran before, and no waiting for busy cores.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """The same random numbers in every test, whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def few_frames() -> Iterator[None]:
    """Films of few frames: most tests make one and none but its own looks at it."""
    with patch("multiview.film.RATE", 2):
        yield


@pytest.fixture(scope="session")
def torus_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six views to fit, two held out; states its light, box and mesh."""
    return tiny.write_torus(tmp_path_factory.mktemp("scenes") / "torus")


@pytest.fixture(scope="session", params=tiny.PRESETS)
def preset(request: pytest.FixtureRequest) -> str:
    """Whose method to fit with; one test for each."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def torus_run(preset: str, torus_scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a short fit of `torus_scene`."""
    out = tmp_path_factory.mktemp("runs") / "torus"
    tiny.fit_tiny(torus_scene, out, tiny.LONG[preset])
    return out
