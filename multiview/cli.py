"""The command `multiview`: from posed images to a lattice and a watertight mesh."""

from __future__ import annotations

import sys
from collections.abc import Callable

from multiview.commands import benchmark, demo, evaluate, fit, report, texture, watch
from sdfrender.commands.process import run_program

# Each command is a function; its signature and docstring are the command line and its help.
COMMANDS: dict[str, Callable[..., None]] = {
    "fit": fit.command,
    "demo": demo.command,
    "benchmark": benchmark.command,
    "evaluate": evaluate.command,
    "report": report.command,
    "watch": watch.command,
    "texture": texture.command,
}


def main() -> int:
    """Run the command line; returns the exit code."""
    return run_program(
        COMMANDS, "multiview", "Posed images to a watertight mesh.", with_paint(sys.argv[1:])
    )


def with_paint(args: list[str]) -> list[str]:
    """The arguments of the command line, with `--paint` alone as `--paint slow`."""
    out = []
    for n, arg in enumerate(args):
        out.append(arg)
        if arg == "--paint" and args[n + 1 : n + 2] not in (["none"], ["slow"], ["fine"]):
            out.append("slow")
    return out
