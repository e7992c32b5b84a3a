"""The command `multiview`: from posed images to a lattice and a watertight mesh."""

from __future__ import annotations

import sys
from collections.abc import Callable

from multiview.commands import (
    batch,
    benchmark,
    cameras,
    check,
    demo,
    evaluate,
    fit,
    mask,
    materials,
    report,
    texture,
    watch,
)
from sdfrender.commands.process import run_program

# Each command is a function; its signature and docstring are the command line and its help.
COMMANDS: dict[str, Callable[..., None]] = {
    "fit": fit.command,
    "batch": batch.command,
    "cameras": cameras.command,
    "mask": mask.command,
    "check": check.command,
    "demo": demo.command,
    "benchmark": benchmark.command,
    "evaluate": evaluate.command,
    "report": report.command,
    "watch": watch.command,
    "texture": texture.command,
    "materials": materials.command,
}

# Options that may stand alone: what they may be beside none, and what they are then.
ALONE = {"--paint": ("slow", "fine"), "--disturbed": ("views", "drift", "shadow", "saturation")}
# What one wants to do, and the commands for it.
GROUPS = {
    "Reconstruct an object": ("fit", "batch", "demo", "texture", "materials"),
    "Prepare photographs": ("cameras", "mask", "check"),
    "Look at a run, and measure it": ("watch", "report", "evaluate"),
    "Measure the method": ("benchmark",),
}


def main() -> int:
    """Run the command line; returns the exit code."""
    return run_program(
        COMMANDS,
        "multiview",
        "Posed images to a watertight mesh.",
        with_defaults(sys.argv[1:]),
        GROUPS,
    )


def with_defaults(args: list[str]) -> list[str]:
    """The arguments of the command line, options of a choice alone as their first real choice."""
    out = []
    for n, arg in enumerate(args):
        out.append(arg)
        choices = ALONE.get(arg, ())
        if choices and args[n + 1 : n + 2] not in [["none"], *([name] for name in choices)]:
            out.append(choices[0])
    return out
