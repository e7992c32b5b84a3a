"""Wavefront OBJ: `v x y z` and `f` with corners `v`, `v/vt`, `v//vn` or `v/vt/vn`.

Vertices are counted from 1, negative numbers back from the last one before the line. Words are
parted by blanks or tabs; a backslash joins a line with the next; `#` begins a comment. Points,
lines, curves, texture coordinates, normals, groups and materials are not read.
"""

from __future__ import annotations

import re

import numpy as np

from sdfrender.geometry.formats.polygons import Doubles, Polygons, numbers_of

_JOINED = re.compile(r"(?m)^([ \t]*(?:v|f|fo)[ \t][^\n]*)\\[ \t]*\n")
_VERTEX = re.compile(r"(?m)^[ \t]*v[ \t]+([^#\n]*)")
_FACE = re.compile(r"(?m)^[ \t]*(?:f|fo)[ \t]+([^#\n]*)")
_REST = re.compile(r"/\S*")
_CURVES = re.compile(r"(?m)^[ \t]*(?:curv|surf)[ \t]")


def read_obj(data: bytes) -> Polygons:
    """The polygons of an OBJ file.

    Raises:
        ValueError: a vertex of less than three numbers, a face of less than three corners, corners
            that are no numbers, or that count from 0.
    """
    text = data.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    while (joined := _JOINED.sub(r"\1 ", text)) != text:
        text = joined
    vertices = list(_VERTEX.finditer(text))
    verts = _vertices([match.group(1).split() for match in vertices])
    faces = list(_FACE.finditer(text))
    rows = [_REST.sub("", match.group(1)).split() for match in faces]
    counts = np.array([len(row) for row in rows], dtype=np.int64)
    if len(counts) and counts.min() < 3:
        few = int(counts.argmin())
        raise ValueError(
            f"line {_line(text, faces[few].start())}: a face needs 3 corners, got {counts[few]}"
        )
    corners = np.array(_whole([word for row in rows for word in row]), dtype=np.int64)
    if (corners < 0).any():
        places = np.array([match.start() for match in vertices])
        before = np.searchsorted(places, [match.start() for match in faces])
        corners = np.where(corners < 0, np.repeat(before, counts) + corners + 1, corners)
    if len(corners) and corners.min() < 1:
        bad = int(np.repeat(np.arange(len(counts)), counts)[corners.argmin()])
        raise ValueError(
            f"line {_line(text, faces[bad].start())}: a face names a vertex before the first, "
            "which is 1"
        )
    notes = ["its curves and free-form surfaces are not read"] if _CURVES.search(text) else []
    return Polygons(verts, corners - 1, counts, notes)


def _vertices(rows: list[list[str]]) -> Doubles:
    """`[V, 3]`; what follows the third number, a weight or a colour, is not read."""
    short = next((i for i, row in enumerate(rows) if len(row) < 3), None)
    if short is not None:
        raise ValueError(f"vertex {short + 1} needs 3 numbers, got {' '.join(rows[short])[:40]!r}")
    return numbers_of([word for row in rows for word in row[:3]]).reshape(-1, 3)


def _whole(words: list[str]) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError:
        bad = next(word for word in words if not re.fullmatch(r"[-+]?\d{1,18}", word))
        raise ValueError(f"need a face's corners as whole numbers, got {bad[:40]!r}") from None


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
