"""One process at a time writes to a folder: two fits in one would mix their files.

The lock is the system's own and ends with its process, however that ends. Its file says whose it
is, and is gone when the work is done.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sdfrender.errors import InputError
from sdfrender.files.atomic import PARTIAL, log

NAME = ".lock"
_PARTIAL = re.compile(PARTIAL)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder to oneself; it is made if need be.

    What writes that were cut off have left there (`atomic_write`) is removed first.

    Raises:
        InputError: another process has it, or this one already; says which, and what it does. Or
            it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: need a folder, it is a file")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / NAME
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{folder}: need a folder that no other process writes to, {_owner(file)} does: wait "
            "for it, or choose another --out"
        ) from None
    try:
        file.write_text(json.dumps(_this_process()), encoding="utf-8")
        remove_partials(folder)
        yield
    finally:
        with suppress(OSError):  # before it is released: who waits for it sees that it has gone
            file.unlink()
        lock.release()


def remove_partials(folder: Path) -> None:
    """Remove files that were being written when their process was killed.

    Not in folders below that have a lock of their own.
    """
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if not (Path(place) / name / NAME).exists()]
        for file in (Path(place) / name for name in names if _PARTIAL.fullmatch(name)):
            log.debug("removed %s, which was cut off", file)
            file.unlink(missing_ok=True)


def _this_process() -> dict[str, object]:
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(sys.argv)[:200],
        "since": datetime.now().isoformat(" ", "seconds"),
    }


def _owner(file: Path) -> str:
    """Who holds a lock, in words."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return (
            f"process {int(told['process'])} on {told['host']} ({told['command']}, since "
            f"{told['since']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "one that does not say who it is"
