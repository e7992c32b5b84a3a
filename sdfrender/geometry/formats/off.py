"""OFF (Geomview): `OFF`, the numbers of vertices, faces and edges, then a line for each.

The first word may have a prefix for what vertices have besides (`COFF`, `NOFF`, `STOFF`); the
counts may follow it on its line, even without a blank, as in ModelNet. `#` begins a comment.
"""

from __future__ import annotations

import re
from itertools import chain

import numpy as np

from sdfrender.geometry.formats.polygons import Polygons, numbers_of

_HEADER = re.compile(r"(ST)?(C)?(N)?(4)?(n)?OFF(?![A-Za-z])", re.IGNORECASE)


def read_off(data: bytes) -> Polygons:
    """The polygons of an OFF file; colours and normals are not read.

    Raises:
        ValueError: binary or of four dimensions, without counts, with fewer lines than they say, or
            with words that are no numbers.
    """
    text = data.decode("utf-8-sig", "replace")
    lines = [words for line in re.split(r"\r\n|\r|\n", text) if (words := _words(line))]
    if not lines:
        raise ValueError("need the word OFF, the file has none")
    header = _HEADER.match(lines[0][0])
    if header:
        if header[4] or header[5]:
            raise ValueError(f"need vertices of 3 numbers, got {lines[0][0][:20]!r}")
        rest = lines[0][0][header.end() :]
        first = ([rest] if rest else []) + lines[0][1:]
        if first and first[0].upper() == "BINARY":
            raise ValueError("need OFF as text, this one is binary")
        lines = ([first] if first else []) + lines[1:]
    counts = [int(word) for word in lines[0][:3] if word.isdecimal()] if lines else []
    if len(counts) < 2:
        raise ValueError("need OFF and the numbers of vertices, faces and edges at the start")
    V, F = counts[:2]
    if len(lines) - 1 < V + F:
        raise ValueError(f"need {V} vertices and {F} faces, a line each, got {len(lines) - 1}")
    rows, polygons = lines[1 : 1 + V], lines[1 + V : 1 + V + F]
    if any(len(row) < 3 for row in rows):
        raise ValueError("need 3 numbers a vertex, one has less")
    verts = numbers_of(list(chain.from_iterable(row[:3] for row in rows))).reshape(-1, 3)
    sizes = np.array([int(row[0]) for row in polygons], dtype=np.int64)
    for row, n in zip(polygons, sizes.tolist(), strict=True):
        if not 0 <= n < len(row):
            raise ValueError(f"a face needs {n} corners, got {' '.join(row)[:40]!r}")
    corners = [int(word) for row in polygons for word in row[1 : 1 + int(row[0])]]
    left = len(lines) - 1 - V - F
    notes = [f"{left} lines after the last face are not read"] if left else []
    return Polygons(verts, np.array(corners, dtype=np.int64), sizes, notes)


def _words(line: str) -> list[str]:
    return line.split("#", 1)[0].split()
