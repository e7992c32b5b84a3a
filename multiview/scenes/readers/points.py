"""The points of a COLMAP model: `points3D` as text or binary.

https://colmap.github.io/format.html
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdfrender.errors import InputError
from sdfrender.files.atomic import read_bytes
from sdfrender.files.tables import read_text, shown

Array = NDArray[np.float64]

HEAD = struct.Struct("<Q3d3BdQ")  # number, x y z, red green blue, error, length of the track
TRACK_BYTES = 8  # an image and a 2D point


@dataclass(frozen=True, eq=False)
class SparsePoints:
    """Points that several photographs show.

    Args:
        positions: `[P, 3]` world units.
        views: `[P]` in how many photographs each was found.
        errors: `[P]` mean distance from where they were found, pixels of the full photograph.
    """

    positions: Array
    views: NDArray[np.int64]
    errors: Array


def points_file(cameras_file: Path) -> Path | None:
    """The file of points beside a model's file of cameras, or None."""
    files = (cameras_file.with_name(f"points3D{extension}") for extension in (".bin", ".txt"))
    return next((file for file in files if file.is_file()), None)


def read_sparse_points(file: Path) -> SparsePoints:
    """Read `points3D.bin` or `points3D.txt`.

    Raises:
        InputError: damaged. Points whose positions are not finite are left out.
    """
    rows = _binary(file) if file.suffix == ".bin" else _text(file)
    table = np.array(rows, np.float64).reshape(-1, 5)
    table = table[np.isfinite(table[:, :3]).all(1)]
    return SparsePoints(table[:, :3], table[:, 4].astype(np.int64), table[:, 3])


def _binary(file: Path) -> list[tuple[float, ...]]:
    """Position, error and length of the track of each point."""
    data = read_bytes(file)
    rows: list[tuple[float, ...]] = []
    at = 8
    try:
        (count,) = struct.unpack_from("<Q", data)
        for _ in range(count):
            _, x, y, z, _, _, _, error, track = HEAD.unpack_from(data, at)
            rows.append((x, y, z, error, track))
            at += HEAD.size + TRACK_BYTES * track
    except (struct.error, OverflowError):
        at = len(data) + 1
    if at > len(data):
        raise InputError(f"{file}: need more than its {len(data)} bytes, the file is cut short")
    return rows


def _text(file: Path) -> list[tuple[float, ...]]:
    """Lines of `POINT3D_ID X Y Z R G B ERROR (IMAGE_ID POINT2D_IDX)…`."""
    rows: list[tuple[float, ...]] = []
    for line, text in enumerate(read_text(file).splitlines(), 1):
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            rows.append((*map(float, (*words[1:4], words[7])), float((len(words) - 8) // 2)))
        except (ValueError, IndexError):
            need = "POINT3D_ID X Y Z R G B ERROR TRACK"
            raise InputError(f"{file}: line {line}: need {need}, got {shown(text)}") from None
    return rows
