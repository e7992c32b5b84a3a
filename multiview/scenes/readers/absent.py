"""Pictures that a camera file names and that are not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sdfrender.errors import InputError
from sdfrender.files.images import find_image

T = TypeVar("T")

LEAST = 0.5  # share of the pictures that have to be there
NAMED = 5  # pictures that a warning names


def present(
    file: Path, entries: Sequence[T], image: Callable[[T], Path]
) -> tuple[list[T], tuple[str, ...]]:
    """The entries of a camera file whose pictures are there, and a warning of the others.

    Args:
        file: of cameras.
        entries: of it, one a picture.
        image: where the picture of an entry should be, with or without an extension.

    Raises:
        InputError: under half of the pictures are there.
    """
    there = [is_there(image(entry)) for entry in entries]
    kept = [entry for entry, found in zip(entries, there, strict=True) if found]
    absent = [image(entry) for entry, found in zip(entries, there, strict=True) if not found]
    if not absent:
        return kept, ()
    names = ", ".join(str(_shown(path, file)) for path in absent[:NAMED])
    more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
    told = f"{len(absent)} of the {len(entries)} images that {file.name} names are not there"
    if len(kept) < LEAST * len(entries):
        raise InputError(
            f"{absent[0]}: need the image that {file} names, there is no such file; in all {told}"
        )
    return kept, (f"{told} ({names}{more}): the others are taken",)


def is_there(path: Path) -> bool:
    """Whether a picture is, maybe under its name with an extension, or spelt in another way."""
    try:
        find_image(path, "")
    except InputError:
        return False
    return True


def _shown(path: Path, file: Path) -> Path:
    """Seen from the camera file, if it lies below."""
    return path.relative_to(file.parent) if path.is_relative_to(file.parent) else path
