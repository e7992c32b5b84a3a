"""The one place that turns what a parser may raise into an `InputError` with the file's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdfrender.errors import InputError

LONGEST = 300  # characters of what a parser said


@contextmanager
def expect(file: Path | str, what: str) -> Iterator[None]:
    """Tell whatever a damaged file does to its reader as an `InputError` that names the file.

    Parsers raise whatever they run into: of numbers of a thousand digits, headers that are no
    Python, members that are no arrays, bytes that are no text. So every `Exception` counts, and
    only code that parses one file belongs inside.

    Args:
        file: that is read.
        what: it should be, as in "a lattice".

    Raises:
        InputError: any exception came up; one of its own passes as it is, if it names the file.
    """
    with _told(file, f"need {what}, got"):
        yield


@contextmanager
def readable(file: Path | str, kind: str) -> Iterator[None]:
    """The same of a file format, as in "npz file": "FILE: not a readable npz file: …"."""
    with _told(file, f"not a readable {kind}:"):
        yield


@contextmanager
def _told(file: Path | str, start: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        if str(file) in str(error):
            raise
        raise InputError(f"{file}: {error}") from None
    except Exception as error:
        text = " ".join(str(error).split())[:LONGEST]
        if not isinstance(error, ValueError) or not text:  # the kind says more than the text
            text = f"{type(error).__name__} {text}".strip()
        raise InputError(f"{file}: {start} {text}") from None
