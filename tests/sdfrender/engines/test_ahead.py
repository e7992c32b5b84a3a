"""The first image on a machine: compiled by two processes, once, and the same as ever."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from numba import typeof
from safetensors.torch import load_file, save_file

import sdfrender as sr
from sdfrender.engines.cpu import ahead
from sdfrender.system import COMPILE_ALONE, processors


def shown() -> tuple[torch.Tensor, torch.Tensor]:
    """An image and a gradient."""
    sphere = sr.Lattice.sphere(0.5, resolution=(17, 14, 15))
    values = sphere.values.requires_grad_()
    cameras = sr.Cameras.look_at([[0.4, 0.3, 3.0]], width=23, height=18)
    out = sr.render(sphere.with_values(values), cameras, engine="cpu")
    loss = out.images.sum() + out.silhouettes.sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    return out.images.detach(), values.grad


def report(file: str) -> None:
    """In a process of its own: `shown`, and what it took."""
    images, gradient = shown()
    assert ahead._begun
    assert ahead._helper is None
    for work in (*ahead.image(), ahead.adjoint()):
        for f, _ in work:
            hits, misses = (sum(x.values()) for x in (f.stats.cache_hits, f.stats.cache_misses))
            print(f.py_func.__name__, len(f.signatures), hits, misses)
    save_file({"images": images, "gradient": gradient}, file)


def types(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(map(typeof, arguments))


@pytest.mark.release
def test_a_new_machine(tmp_path: Path) -> None:
    """Each half is compiled once, the other one is found, and the image is the same."""
    environment = {k: v for k, v in os.environ.items() if k != COMPILE_ALONE}
    environment |= {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    if processors() == 1:
        pytest.skip("needs two processors")
    file = tmp_path / "out.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", f"from test_ahead import report; report({str(file)!r})"],
        env=environment, cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {name: numbers for name, *numbers in map(str.split, done.stdout.splitlines())}
    parts, raster, show = ([f.py_func.__name__ for f, _ in work] for work in ahead.image())
    assert parts
    assert raster
    for name in (*parts, *raster):
        signatures, hits, misses = map(int, found[name])
        assert (signatures, hits + misses) == (1, 1), name  # the one that is called
    for name in (show[-1], "pull_back"):
        assert found[name] == ["1", "1", "0"], name
    made = load_file(file)
    images, gradient = shown()
    torch.testing.assert_close(made["images"], images, rtol=0, atol=1e-6)
    torch.testing.assert_close(made["gradient"], gradient, rtol=1e-5, atol=1e-5)


def test_the_types_are_those_that_are_called() -> None:
    """A new argument of a kernel needs a new one there: else it would be compiled twice."""
    shown()
    _, raster, show = ahead.image()
    for function, arguments in (*raster, show[-1], *ahead.adjoint()):
        assert types(arguments) in function.signatures, function.py_func.__name__


# ---------------------------------------------------------------------- when it cannot be


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As if nothing had been compiled; collects what would be compiled."""
    compiled: list[str] = []
    monkeypatch.setattr(ahead, "_begun", False)
    monkeypatch.setattr(ahead, "_wanted", lambda: True)
    monkeypatch.setattr(
        ahead, "compile_all", lambda work: compiled.extend(f.py_func.__name__ for f, _ in work)
    )
    return compiled


@pytest.mark.parametrize("gradient", [False, True])
def test_a_helper_that_fails_is_no_matter(
    gradient: bool, cold: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "HELPER", "raise SystemExit(3)")
    with ahead.compiled_ahead(gradient):
        assert "draw_hits" not in cold
    assert "draw_hits" in cold
    ahead.finish()
    assert ahead._helper is None
    before = list(cold)
    with ahead.compiled_ahead(gradient):  # only once
        assert ahead._helper is None
    assert cold == before


def test_the_disk_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bool] = []
    monkeypatch.setattr(ahead, "_begun", False)
    monkeypatch.setattr(ahead, "_wanted", lambda: bool(looks.append(True)))
    for _ in range(3):
        with ahead.compiled_ahead(True):
            pass
    assert len(looks) == 1


def test_without_processes(cold: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with ahead.compiled_ahead(True):
        pass
    ahead.finish()
    assert cold == []  # each when it is called


def test_an_interrupt_ends_the_helper(cold: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "HELPER", "import time; time.sleep(60)")
    helpers = []

    def interrupted() -> None:
        with ahead.compiled_ahead(False):
            helpers.append(ahead._helper)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (helper,) = helpers
    assert helper is not None
    assert helper.poll() is not None
    assert ahead._helper is None


@pytest.mark.parametrize(
    "prevent",
    [
        lambda patch: patch.setenv(COMPILE_ALONE, "1"),
        lambda patch: patch.setattr(sys, "executable", ""),
        lambda patch: patch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False),
        lambda patch: patch.setattr(ahead, "render_rows", lambda: None),
        lambda patch: None,  # everything is there
    ],
    ids=["asked not to", "no interpreter", "one processor", "numba is off", "compiled"],
)
def test_when_it_is_not_wanted(
    prevent: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown()
    monkeypatch.delenv(COMPILE_ALONE, raising=False)
    prevent(monkeypatch)
    assert not ahead._wanted()


def test_it_is_wanted_where_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel:
        py_func = ahead.render_rows.py_func  # type: ignore[attr-defined]

        class stats:
            cache_path = str(tmp_path)

    monkeypatch.setattr(ahead, "render_rows", Kernel)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.delenv(COMPILE_ALONE, raising=False)
    assert ahead._wanted()
    index = tmp_path / "forward_view.render_rows-1.py311.nbi"
    index.touch()
    assert not ahead._wanted()
    os.utime(index, (1, 1))  # of an older version of the source
    assert ahead._wanted()
