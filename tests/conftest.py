"""A small scene and a fit of it that many tests look at; none may change them.

Tests run in several processes, which share the scene, the fits and the compiled kernels.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import tiny
import torch
from compiled_once import compile_once
from filelock import FileLock
from places import ROOT

from sdfrender.meshes import metrics

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FEW_SAMPLES = 4000  # Chamfer distances to a hundredth
GRAPHICS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # WebGL without a GPU

# As a fit does: the same sums in every test whatever ran before, and no waiting for busy cores.
torch.set_num_threads(1)

ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ
if ONE_OF_SEVERAL:
    compile_once()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """What is timed runs alone, in this process."""
    timed = ROOT / "tests" / "benchmarks"
    chosen = [(config.invocation_params.dir / x.split("::")[0]).resolve() for x in config.args]
    if chosen and all(path.is_relative_to(timed) for path in chosen):
        config.option.numprocesses, config.option.dist = 0, "no"


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """The same random numbers in every test, whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def few_frames() -> Iterator[None]:
    """Films of few frames: most tests make one and none but its own looks at it."""
    with patch("multiview.results.film.RATE", 2):
        yield


@pytest.fixture(scope="session", autouse=True)
def few_samples() -> Iterator[None]:
    """A run compares its mesh with the scene's at few points, unless a test says how many.

    It does so at the end of each fit, and most tests do not look at it.
    """
    with patch.object(metrics.compare_meshes, "__defaults__", (FEW_SAMPLES, 0)):
        yield


@pytest.fixture(scope="session", autouse=True)
def few_steps() -> Iterator[None]:
    """A camera head of a training learns a little: who asks which camera it tells has all steps."""
    with patch("singleview.training.refine.LEARN_STEPS", 10):
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this session, the same in each of its processes."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if ONE_OF_SEVERAL else own


@pytest.fixture(scope="session")
def torus_scene(shared_folder: Path) -> Path:
    """Six views to fit, two held out; states its light, box and mesh."""
    folder = shared_folder / "scenes" / "torus"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(shared_folder / "scenes.lock"):
        return folder if folder.exists() else tiny.write_torus(folder)


@pytest.fixture(scope="session", params=tiny.PRESETS)
def preset(request: pytest.FixtureRequest) -> str:
    """Whose method to fit with; one test for each."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def torus_run(preset: str, torus_scene: Path, shared_folder: Path) -> Path:
    """The run folder of a short fit of `torus_scene`."""
    out = shared_folder / f"runs-{preset}" / "torus"
    with FileLock(shared_folder / f"runs-{preset}.lock"):
        if not out.exists():
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
