"""What every run folder shares: whose settings it holds, what wrote it, and its tables of losses.

A run is a fit or a training. Its folder is never written over: a new run needs a folder without
one, and a run that goes on needs the settings it began with.
"""

from __future__ import annotations

import csv
import platform
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sdfrender import __version__
from sdfrender.errors import InputError
from sdfrender.files.atomic import atomic_write

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
    with file.open("w", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerow(columns)


def append_rows(file: Path, rows: Sequence[Sequence[object]]) -> None:
    """Append rows to a table; numbers as short as they stay exact."""
    with file.open("a", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows(rows)


def drop_rows_past(file: Path, last: int) -> None:
    """Keep the rows whose first column is at most `last`: a resumed run logs each step once."""
    head, *rows = file.read_text().splitlines(keepends=True)
    kept = [row for row in rows if int(row.split(",")[0]) <= last]
    with atomic_write(file) as partial:
        partial.write_text("".join([head, *kept]))
