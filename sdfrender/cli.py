"""The command `sdfrender`: formats, metrics, and whatever else needs no images."""

from __future__ import annotations

from collections.abc import Callable

from sdfrender.commands import bench, compare, convert, render, view
from sdfrender.commands.process import run_program

# Each command is a function; its signature and docstring are the command line and its help.
COMMANDS: dict[str, Callable[..., None]] = {
    "bench": bench.command,
    "compare": compare.compare,
    "convert": convert.convert,
    "render": render.command,
    "view": view.command,
}

# What one wants to do, and the commands for it.
GROUPS = {
    "Look at a shape, and convert it": ("view", "convert"),
    "Photograph a shape": ("render",),
    "Measure": ("compare", "bench"),
}


def main() -> int:
    """Run the command line; returns the exit code."""
    return run_program(COMMANDS, "sdfrender", "Signed distance lattices and meshes.", groups=GROUPS)
