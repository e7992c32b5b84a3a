"""Every command of README and documentation is run by a test, or says why not; all parse."""

from __future__ import annotations

import functools
import inspect
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from pages import PAGES, blocks, name
from places import ROOT
from small_commands import small

import multiview.cli
import sdfrender as sr
import sdfrender.cli
import singleview.cli

PROGRAMS = {"multiview": multiview, "sdfrender": sdfrender, "singleview": singleview}
# By CI: the block of `test` as it stands; what `run` is for, from a wheel.
README_MARKS = ("run", "test")
SHELL = [(page, block) for page in PAGES for block in blocks(page, "bash")]
NAMES = ("one", "two", "three", "four", "five")  # of the meshes of a category
LONG = (  # pages
    *("deepsdf", "completion", "occupancy", "single-images"),  # that train networks
    *("light", "photographs", "cameras-and-masks", "depth-maps"),
)
TESTED = [page for page in PAGES if any(b.mark == "tested" for b in blocks(page, "bash"))]


def test_every_block_is_run_or_says_why_not() -> None:
    assert len(SHELL) >= 40
    for page, block in SHELL:
        told = block.mark in ("tested", *README_MARKS) or block.mark.startswith("not tested: ")
        assert told, f"{name(page)}: {block.text}"
        assert len(block.mark) > len("not tested: ") + 10 or "not" not in block.mark
    assert sum(block.mark == "tested" for _, block in SHELL) >= 18


@pytest.mark.parametrize("page", sorted({page for page, _ in SHELL}), ids=name)
def test_every_command_has_these_options(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command runs here: its options are read, and checked as the command would."""
    for program in PROGRAMS.values():
        for command, function in program.cli.COMMANDS.items():
            monkeypatch.setitem(program.cli.COMMANDS, command, stub(function))
    for line in (line for block in blocks(page, "bash") for line in block.lines):
        words = shlex.split(line.split(" > ")[0], comments=True)
        if words[:1] and words[0] in PROGRAMS and "--tyro-print-completion" not in words:
            assert run(words, monkeypatch) == 0, line


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a program in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", words)
    try:
        return PROGRAMS[words[0]].cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)


def stub(command: Callable[..., None]) -> Callable[..., None]:
    """A function with the command's options that does nothing."""

    @functools.wraps(command)
    def nothing(*args: Any, **options: Any) -> None:
        inspect.signature(command).bind(*args, **options)

    return nothing


def test_options_become_small() -> None:
    args = ["fit", "mine", "--resolution", "128", "--texture"]
    assert small("multiview", args) == [
        *["fit", "mine", "--resolution", "16", "--texture"],
        *["--image-size", "48", "--threads", "1"],
    ]
    assert "--minutes" not in small("singleview", ["train", "data", "--minutes", "30"])


@pytest.fixture(scope="session")
def belongings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader of the documentation has: meshes, a scene, a picture, a depth image."""
    home = tmp_path_factory.mktemp("belongings")
    shape = sr.primitives.union(
        sr.primitives.torus(0.5, 0.22), sr.primitives.capsule((0, -0.4, 0), (0, 0.4, 0), 0.25)
    )
    lattice = sr.Lattice.from_function(shape, resolution=32)
    sr.save_mesh(home / "shape.ply", sr.extract_mesh(lattice))
    shutil.copy(ROOT / "assets" / "singleview" / "mug.png", home / "mug.png")
    for number, category in enumerate(("chair", "table")):
        folder = home / "meshes" / category
        folder.mkdir(parents=True)
        for k in range(len(NAMES)):
            sr.save_mesh(
                folder / f"{NAMES[k]}.ply", trimesh.creation.box((1, 1.5 + number, 0.5 + k / 4))
            )
    rng = np.random.default_rng(0)
    trimesh.PointCloud(rng.normal(size=(300, 3)) / 4).export(home / "cloud.ply")
    cameras = sr.Cameras.look_at([[0.0, 0.3, 3.0]], width=40, height=32)
    seen = sr.render(lattice, cameras)
    np.savez(home / "depth.npz", depths=seen.depths[0], K=cameras.Ks[0], c2w=cameras.c2w[0])
    with pytest.MonkeyPatch.context() as patch:
        run_line(home, "sdfrender render shape.ply --out mine", patch)
    return home


def run_line(folder: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one line of the documentation in a folder, its commands made small."""
    words = shlex.split(line, comments=True)
    if words[0] not in PROGRAMS or ">" in words:
        run_in_a_shell(folder, line)
        return
    monkeypatch.chdir(folder)
    assert run([words[0], *small(words[0], words[1:])], monkeypatch) == 0, line


def run_in_a_shell(folder: Path, line: str) -> None:
    """Run a line that is more than one of our commands: a redirection, another program."""
    bin_folder = folder / ".bin"
    bin_folder.mkdir(exist_ok=True)
    runner = ROOT / "tests" / "support" / "small_commands.py"
    for program in PROGRAMS:
        file = bin_folder / program
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{runner}" {program} "$@"\n')
        file.chmod(0o755)
    path = os.pathsep.join([str(bin_folder), os.environ["PATH"]])
    inherited = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": inherited, "HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def often(page: Path) -> pytest.MarkDecorator:
    """Long pages run before a release, the others always."""
    return pytest.mark.release if page.stem in LONG else pytest.mark.slow


@pytest.mark.skipif(os.name == "nt", reason="the documentation's commands are for a POSIX shell")
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=often(page)) for page in TESTED], ids=name
)
def test_the_commands_of_a_page_run(
    page: Path, belongings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the top to the bottom of the page, in one folder."""
    folder = tmp_path / "reader"
    shutil.copytree(belongings, folder)
    for block in blocks(page, "bash"):
        if block.mark == "tested":
            for line in block.lines:
                run_line(folder, line, monkeypatch)
