"""The names that packages promise: what they are does not depend on what was imported before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {"metrics", "primitives"}  # the promised names that are modules

# What each name is, as a line; twice, so that what the first reading imports cannot change it.
READ = """
import importlib, pkgutil, sys
import sdfrender as package
order, ahead = sys.argv[1:]
if ahead == "imported":
    for module in pkgutil.walk_packages(package.__path__, "sdfrender."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
names = sorted(package.__all__, reverse=order == "backwards")
for name in [*names, *names]:
    value = getattr(package, name)
    print(name, type(value).__name__, getattr(value, "__module__", "-"), id(value))
"""


@pytest.mark.release
@pytest.mark.parametrize("ahead", ["nothing", "imported"])
@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_a_public_name_is_the_same_object_whenever_it_is_read(order: str, ahead: str) -> None:
    read = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ, order, ahead],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert read.returncode == 0, read.stderr
    lines = read.stdout.splitlines()
    first, second = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    assert first == second
    kinds = {line.split()[0]: line.split()[1] for line in first}
    assert len(kinds) == len(first) > len(MODULES)
    assert {name for name, kind in kinds.items() if kind == "module"} == MODULES
