"""The points of a COLMAP model: where its cameras look.

https://colmap.github.io/format.html#points3d-txt
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from multiview.scenes.scene import Array
from sdfrender.errors import InputError
from sdfrender.files.atomic import read_bytes
from sdfrender.files.tables import read_text

HEADER = struct.Struct("<Q3d3BdQ")  # number, x y z, colour, error, length of the track
TRACK = 8  # bytes of one of its entries


def read_points(model: Path) -> Array | None:
    """`[P, 3]` world units, or None if the folder of a model has none.

    Raises:
        InputError: a damaged file.
    """
    binary, text = model / "points3D.bin", model / "points3D.txt"
    if binary.is_file():
        found = _binary(binary)
    elif text.is_file():
        found = _text(text)
    else:
        return None
    return found[np.isfinite(found).all(1)] if len(found) else None


def _binary(file: Path) -> Array:
    data = read_bytes(file)
    short = InputError(f"{file}: need more than its {len(data)} bytes, the file is cut short")
    if len(data) < 8:
        raise short
    count, at, points = int(struct.unpack_from("<Q", data)[0]), 8, []
    for _ in range(count):
        if at + HEADER.size > len(data):
            raise short
        _, x, y, z, *_, length = HEADER.unpack_from(data, at)
        points.append((x, y, z))
        at += HEADER.size + TRACK * length
    if at > len(data):
        raise short
    return np.array(points, np.float64).reshape(-1, 3)


def _text(file: Path) -> Array:
    points = []
    for line, text in enumerate(read_text(file).splitlines(), 1):
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            points.append([float(word) for word in words[1:4]])
        except ValueError:
            points.append([])
        if len(points[-1]) != 3:
            raise InputError(f"{file}: line {line}: need POINT3D_ID X Y Z …, got {text!r}")
    return np.array(points, np.float64).reshape(-1, 3)
