"""Runs one of the programs with every option that costs time made small.

python small_commands.py PROGRAM COMMAND OPTION…: what stands in the documentation, in seconds.
"""

from __future__ import annotations

import sys
from importlib import import_module

# By command, what its options become; an option that is not in the documentation is added.
SMALL = {
    "multiview fit": {"--resolution": "16", "--image-size": "48", "--threads": "1"},
    "multiview texture": {"--size": "64", "--faces": "200"},
    "sdfrender render": {"--width": "48", "--height": "40", "--held-out": "2"},
    "sdfrender convert": {},
    "sdfrender compare": {"--samples": "1000"},
    "singleview render-dataset": {
        "--size": "16",
        "--views": "4",
        "--resolution": "16",
        "--supersampling": "1",
        "--jobs": "1",
    },
    "singleview sample-points": {"--points": "2000", "--near": "1000", "--surface": "1000"},
    "singleview train": {"--steps": "20", "--batch": "4"},
    "singleview evaluate": {"--samples": "100", "--points": "500"},
    "singleview predict": {"--frames": "2", "--size": "32", "--levels": "0"},
    "singleview interpolate": {"--size": "32", "--between": "1"},
    "singleview complete": {"--levels": "0", "--surface": "200", "--free": "200", "--starts": "1"},
    "singleview evaluate-completion": {
        "--noise": "0.0",
        "--draws": "1",
        "--surface": "200",
        "--free": "200",
        "--starts": "1",
    },
}
INSTEAD = {"--minutes": "--steps"}  # options that a small one stands for
MORE = {  # of a command that names one of these, too
    "occupancy": {"--decoded": "32", "--cloud": "40"},
    "deepsdf": {"--drawn": "200", "--code": "4", "--steps": "40"},
}


def small(program: str, args: list[str]) -> list[str]:
    """The arguments with small numbers in them."""
    wanted = dict(SMALL.get(f"{program} {args[0]}", {}))
    for word, options in MORE.items():
        if word in args:
            wanted |= options
    if "--sdf" in args:
        wanted = {"--sdf": "3000"}
    if "--model" not in args and args[0] == "train":
        wanted |= {"--resolution": "12", "--augment": "flip"}
    out = []
    for n, arg in enumerate(args):
        before = args[n - 1] if n else ""
        if arg in INSTEAD and INSTEAD[arg] in wanted:
            continue
        if before in INSTEAD and INSTEAD[before] in wanted:
            continue
        out.append(wanted.pop(before) if before in wanted else arg)
    return out + [word for pair in wanted.items() for word in pair]


if __name__ == "__main__":
    name, *given = sys.argv[1:]
    sys.argv = [name, *(small(name, given) if not given[0].startswith("-") else given)]
    sys.exit(import_module(f"{name}.cli").main())
