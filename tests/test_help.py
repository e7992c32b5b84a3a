"""Help is quick: it needs the settings and no numerics."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NUMERICS = ("torch", "numba", "scipy", "trimesh", "matplotlib")
PROGRAMS = ("sdfrender", "multiview")
HELP = """if True:
    import sys
    from {program}.cli import COMMANDS, main
    for command in ("", *COMMANDS):
        sys.argv = ["{program}", *filter(None, [command]), "--help"]
        try:
            main()
        except SystemExit as stop:
            assert not stop.code, command
        loaded = set({numerics}) & set(sys.modules)
        assert not loaded, (command, loaded)
"""


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_needs_no_numerics(program: str) -> None:
    code = HELP.format(program=program, numerics=NUMERICS)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in import_module(f"{program}.cli").COMMANDS:
        assert f"usage: {program} {command} " in done.stdout


@pytest.mark.parametrize("module", ["multiview.config", "multiview.benchmark.config"])
def test_settings_need_no_numerics(module: str) -> None:
    code = f"import sys, {module}; assert not set({NUMERICS}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
