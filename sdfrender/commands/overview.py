"""What a program says before any command runs: its commands by what one wants, and near misses."""

from __future__ import annotations

import difflib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

Commands = Mapping[str, Callable[..., None]]
Groups = Mapping[str, Sequence[str]]

WIDTH = 88  # of a line


def overview(prog: str, description: str, commands: Commands, groups: Groups) -> str:
    """All commands with their first sentences, under what they are for.

    Args:
        prog: name of the program.
        description: what it is for.
        commands: by name, functions with docstrings.
        groups: names of commands by the heading that they stand under; commands that are in none
            come last.
    """
    listed = {name for names in groups.values() for name in names}
    rest = [name for name in commands if name not in listed]
    width = max(map(len, commands)) + 4
    lines = [f"usage: {prog} COMMAND …", "", description]
    for heading, names in {**groups, "More": rest}.items():
        if names:
            lines += ["", heading]
        for name in names:
            indent = " " * width
            lines += textwrap.wrap(
                summary(commands[name]),
                WIDTH,
                initial_indent=f"  {name}".ljust(width),
                subsequent_indent=indent,
            )
    return "\n".join([*lines, "", *closing(prog)])


def closing(prog: str) -> list[str]:
    """Where to read on."""
    return [
        f"{prog} COMMAND --help lists a command's options.",
        f"{prog} --version prints what a bug report should tell.",
        f"{prog} --tyro-print-completion bash (or zsh, fish) prints a script for tab completion.",
    ]


def summary(command: Callable[..., None]) -> str:
    """The first sentence of a command's docstring."""
    return " ".join((inspect.getdoc(command) or "").split("\n\n")[0].split())


def no_such_command(prog: str, given: str, commands: Iterable[str]) -> str:
    """One line about a name that no command has, with those that come closest."""
    names = list(commands)
    close = difflib.get_close_matches(given, names, n=2, cutoff=0.5)
    close = close or [name for name in names if name.startswith(given[:3])][:2]
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}"
    return f"{given}: {prog} has no such command, {hint}"
