"""What every run folder shares: whose settings it holds, what wrote it, and its tables of losses.

A run is a fit or a training. Its folder is never written over: a new run needs a folder without
one, and a run that goes on needs the settings it began with.
"""

from __future__ import annotations

import csv
import io
import os
import platform
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sdfrender import __version__
from sdfrender.errors import InputError
from sdfrender.files.atomic import atomic_write, log, naming
from sdfrender.files.locks import locked

CONFIG = "config.json"


def need_vacant(folder: Path) -> None:
    """Check that a folder can take a new run.

    Raises:
        InputError: it holds a run, or is a file.
    """
    if (folder / CONFIG).exists():
        raise InputError(
            f"{folder}: need a folder without a run, this one has {CONFIG} "
            "(continue it with --resume, or choose another --out)"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: need a folder, this is a file")


@contextmanager
def held(folder: Path, resume: bool) -> Iterator[None]:
    """Have the folder of a run to oneself while the run is at work.

    Raises:
        InputError: another process works there, or has begun a run since it was looked at.
    """
    with locked(folder):
        if not resume:
            need_vacant(folder)
        yield


def need_same(
    file: Path, stored: Mapping[str, Any], settings: Mapping[str, Any], free: Collection[str]
) -> None:
    """Check that a run goes on with the settings it began with, but for the `free` ones.

    Raises:
        InputError: names the file, the setting and both values.
    """
    for key, value in settings.items():
        if key not in free and stored.get(key) != value:
            raise InputError(
                f"{file}: need the same settings to resume, {key} was "
                f"{stored.get(key)!r} and is {value!r}"
            )


def provenance(program: str, packages: Sequence[str]) -> dict[str, Any]:
    """The command line and the versions of Python, of this project and of other packages."""
    found = {name: version(name) for name in ("torch", "numpy", "numba", "scipy", *packages)}
    return {
        "command": [program, *sys.argv[1:]],
        "versions": {"python": platform.python_version(), "sdfrender": __version__, **found},
    }


# ---------------------------------------------------------------------- tables


def begin_table(file: Path, columns: Sequence[str]) -> None:
    """Write the head of a table."""
    _write_table(file, [columns])


def append_rows(file: Path, rows: Sequence[Sequence[object]]) -> None:
    """Append rows to a table, and see that they are on the disk; numbers as short as exact."""
    if not rows:
        return
    with naming(file), file.open("a", newline="", encoding="utf-8") as opened:
        csv.writer(opened, lineterminator="\n").writerows(rows)
        opened.flush()
        os.fsync(opened.fileno())


def resume_table(file: Path, columns: Sequence[str], last: int) -> None:
    """Keep the rows up to a checkpoint, so that a resumed run logs each step once.

    A table that was cut off loses its last row, and one that is missing or has another head begins
    again: a process may be killed, and a disk be full, at any time.

    Args:
        file: the table; its first column counts up.
        columns: its head.
        last: the largest number that is kept.
    """
    rows = complete_rows(file) if file.is_file() else []
    kept: list[list[str]] = []
    whole = bool(rows) and rows[0] == list(columns)
    for row in rows[1:] if whole else ():
        step = int(row[0]) if row and re.fullmatch("[0-9]{1,18}", row[0]) else -1
        before = int(kept[-1][0]) if kept else -1
        if len(row) == len(columns) and before < step <= last:
            kept.append(row)
    if last and not whole:
        log.warning("%s: missing or damaged; it begins again after %s %d", file, columns[0], last)
    _write_table(file, [columns, *kept])


def complete_rows(file: Path) -> list[list[str]]:
    """The rows of a table, head included, but not a last one that has no end yet."""
    with file.open(newline="", encoding="utf-8", errors="replace") as opened:
        text = opened.read()
    rows = []
    with suppress(csv.Error):
        for row in csv.reader(io.StringIO(text, newline="")):
            rows.append(row)
    if rows and (not text.endswith("\n") or len(rows[-1]) < len(rows[0])):
        del rows[-1]
    return rows


def _write_table(file: Path, rows: Sequence[Sequence[object]]) -> None:
    with atomic_write(file) as partial, partial.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened, lineterminator="\n").writerows(rows)
