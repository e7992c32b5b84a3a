"""Checked access to JSON tables: every error names the file, the key, the rule and the value."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdfrender.errors import InputError
from sdfrender.files.atomic import read_bytes

Array = NDArray[np.float64]
Table = dict[str, Any]


def read_text(path: Path) -> str:
    """The text of a file, in UTF-8 or, marked as that, UTF-16; a byte order mark is dropped.

    Raises:
        InputError: missing, empty, or not text.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    data = read_bytes(path)
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: need UTF-8 text, byte {error.start} is not") from None
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    return text


def read_table(path: Path) -> Table:
    """The JSON object in a file.

    Raises:
        InputError: missing, empty, malformed (with line and column), or not an object.
    """
    text = read_text(path)
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: need valid JSON, {at}: {error.msg}") from None
    except RecursionError:
        raise InputError(f"{path}: need JSON that is not nested so deeply") from None
    except ValueError:  # Python reads no numbers of thousands of digits
        raise InputError(f"{path}: need JSON with numbers of at most 4300 digits") from None
    if not isinstance(table, dict):
        raise InputError(f"{path}: need a JSON object at the top, got {shown(table)}")
    return table


def number(table: Table, key: str, where: str) -> float:
    """A finite number; `where` opens the error message."""
    if key not in table:
        raise InputError(f"{where}: need the key '{key}', it is missing")
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: '{key}' needs a number, got {shown(value)}")
    return float(numbers(value, [()], f"{where}: '{key}'"))


def numbers(value: object, shapes: Collection[tuple[int, ...]], where: str) -> Array:
    """An array of finite numbers of one of the `shapes`; `where` opens the error message."""
    need = " or ".join("×".join(map(str, shape)) or "1" for shape in shapes)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: need {need} numbers, got {shown(value)}") from None
    if array.shape not in shapes:
        got = "×".join(map(str, array.shape)) or "1"
        raise InputError(f"{where}: need {need} numbers, got {got}: {shown(value)}")
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)][0]
        raise InputError(f"{where}: need finite numbers, got {bad}")
    return array


def only_keys(table: object, keys: Collection[str], where: str) -> Table:
    """`table` itself, if it is an object with no other keys than these."""
    if not isinstance(table, dict):
        raise InputError(f"{where}: need a JSON object, got {shown(table)}")
    for key in table:
        if key not in keys:
            raise InputError(f"{where}: unknown key '{key}'; need one of {', '.join(keys)}")
    return table


def shown(value: object) -> str:
    """A value on one short line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
