"""The one way this project writes files: whole or not at all.

A file is written beside its place, flushed to disk, and put there in one step.
"""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from sdfrender.errors import InputError

log = logging.getLogger("sdfrender")

StrPath: TypeAlias = str | os.PathLike[str]

PARTIAL = r"\..*\.[0-9a-f]{8}\.partial(\.[^.]*)?"  # names of files that are being written


@contextmanager
def atomic_write(path: StrPath) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields a path in the same folder with the same extension. When the block ends well, what it
    wrote there is flushed to disk and takes the place of `path` in one step; when it raises, it is
    removed and `path` is as it was. A crash never leaves a half-written `path`.

    Raises:
        InputError: the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {str(path.parent)!r} does not exist")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, need a file name")
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        with naming(path):
            yield partial
            _flush(partial)
            os.replace(partial, path)
        log.debug("wrote %s", path)
        with suppress(OSError):  # some file systems cannot flush a folder
            _flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming(path: StrPath) -> Iterator[None]:
    """Have what the system says of a file name the file: "No space left on device" does not."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def write_bytes(path: StrPath, data: bytes) -> None:
    """Write `data` atomically."""
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def write_json(path: StrPath, data: object) -> None:
    """Write JSON atomically; NaN and infinity, which JSON does not have, become null."""
    write_bytes(path, (json.dumps(_finite(data), indent=2, allow_nan=False) + "\n").encode())


def read_bytes(path: StrPath) -> bytes:
    """The contents of a file.

    Raises:
        InputError: it does not exist, is a folder, cannot be read, or is empty.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if not data:
        raise InputError(f"{path}: the file is empty")
    return data


def one_line(error: BaseException) -> str:
    """The first line of an error's text, cut to 300 letters, or its kind where it has none."""
    lines = (s.strip() for s in str(error).splitlines())
    return next((s[:300] for s in lines if s), type(error).__name__)


def _finite(data: object) -> object:
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
