"""A small scene and a fit of it that many tests look at; none may change them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import tiny
import torch

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
GRAPHICS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # WebGL without a GPU

# As a fit does: the same sums in every test whatever ran before, and no waiting for busy cores.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """The same random numbers in every test, whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def few_frames() -> Iterator[None]:
    """Films of few frames: most tests make one and none but its own looks at it."""
    with patch("multiview.results.film.RATE", 2):
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        pytest.skip("needs a Chromium on the path: apt-get install chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=GRAPHICS)
        yield opened
        opened.close()
