"""A command as a process should run it: exit codes, and errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable

from sdfrender.errors import InputError


def run_command(command: Callable[[], object]) -> int:
    """Run `command` as a process should run it; returns the exit code.

    0: it ended well. 2: bad input or a file that cannot be used, told in one line on stderr without
    a traceback. 130: interrupted. Other exceptions are bugs and keep their traceback.
    """
    try:
        command()
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
