"""A command as a process should run it: exit codes, and errors in one line."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Mapping, Sequence

import tyro

from sdfrender.commands.messages import with_messages
from sdfrender.commands.overview import Groups, no_such_command, overview
from sdfrender.errors import InputError

READER_LEFT = 128 + 13  # as a shell tells of a process that SIGPIPE ended
HELP = ("-h", "--help", "-H", "--help-verbose")


def run_program(
    commands: Mapping[str, Callable[..., None]],
    prog: str,
    description: str,
    args: Sequence[str] | None = None,
    groups: Groups | None = None,
) -> int:
    """Run the command that the command line names; returns the exit code.

    Args:
        commands: by name, functions whose signatures and docstrings are the command line and its
            help. Each gets the options of `sdfrender.commands.messages` as well.
        prog: name of the program.
        description: what it is for.
        args: what follows the name of the program. Default: the command line.
        groups: names of commands by what they are for, as `--help` lists them.
    """
    given = list(sys.argv[1:] if args is None else args)

    if not given:
        print(overview(prog, description, commands, groups or {}), file=sys.stderr)
        return 2

    def read_and_run() -> None:
        name = given[0]
        if name in commands:
            # of this command alone: what comes closest to a misspelt option is an option of it
            tyro.cli(with_messages(commands[name]), prog=f"{prog} {name}", args=given[1:])
        elif name in HELP:
            print(overview(prog, description, commands, groups or {}))
        elif name.startswith("-"):  # for completion, which wants them all
            told = {name: with_messages(command) for name, command in commands.items()}
            tyro.extras.subcommand_cli_from_dict(
                told, prog=prog, description=description, args=given
            )
        else:
            raise InputError(no_such_command(prog, name, commands))

    return run_command(read_and_run)


def run_command(command: Callable[[], object]) -> int:
    """Run `command` as a process should run it; returns the exit code.

    0: it ended well. 2: bad input or a file that cannot be used, told in one line on stderr without
    a traceback. 130: interrupted. 141: whoever read the output has left, as `head` does; nothing is
    said. Other exceptions are bugs and keep their traceback.

    `--version` alone prints what a bug report should tell, whichever the command.
    """
    if sys.argv[1:] == ["--version"]:
        from sdfrender.commands.versions import show_versions

        command = show_versions
    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError as error:
        if not _reader_left():
            return _told(error)
        with open(os.devnull, "w") as nothing:  # for what is still to be printed
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        return READER_LEFT
    except (InputError, OSError) as error:
        return _told(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _told(error: Exception) -> int:
    """The exit code of bad input, once it is told."""
    print(f"error: {error}", file=sys.stderr)
    return 2


def _reader_left() -> bool:
    """Whether it is the output that nobody reads any more, and not the input of another program."""
    if not hasattr(select, "poll"):  # Windows
        return True
    output = select.poll()
    output.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in output.poll(0))
