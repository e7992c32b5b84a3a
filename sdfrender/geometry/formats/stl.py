"""STL: triangles as text (`facet … vertex x y z … endfacet`) or binary (50 bytes each).

A binary file has 80 bytes of anything, which may begin with "solid", and the number of triangles.
Some writers state a wrong number or add bytes of their own; what is there decides.
"""

from __future__ import annotations

import re

import numpy as np

from sdfrender.geometry.formats.polygons import Polygons, numbers_of

HEAD, TRIANGLE = 84, 50  # bytes
_RECORD = np.dtype([("normal", "<f4", 3), ("verts", "<f4", (3, 3)), ("more", "<u2")])
_TEXT = re.compile(rb"^\s*(?:\xef\xbb\xbf)?\s*(solid|facet)\b", re.IGNORECASE)
_WORDS = re.compile(
    rb"\bvertex[ \t\r\n]+(\S+)[ \t\r\n]+(\S+)[ \t\r\n]+(\S+)|\b(endloop)\b", re.IGNORECASE
)


def read_stl(data: bytes) -> Polygons:
    """The triangles of an STL file, each with vertices of its own.

    Raises:
        ValueError: cut short, or neither text nor binary.
    """
    stated = int.from_bytes(data[80:HEAD], "little") if len(data) >= HEAD else -1
    if len(data) != HEAD + TRIANGLE * stated and _TEXT.match(data) and _is_text(data):
        return _text(data)
    if stated < 0:
        raise ValueError(f"need text or a head of {HEAD} bytes, got {len(data)} bytes")
    whole, rest = divmod(len(data) - HEAD, TRIANGLE)
    if stated > whole and rest:
        raise ValueError(f"the file is cut short: it states {stated} triangles and has {whole}")
    count, notes = stated, []
    if stated != whole and not rest:
        count = whole
        notes.append(f"its head states {stated} triangles, but it has {whole}, which are read")
    elif len(data) > HEAD + TRIANGLE * stated:
        left = len(data) - HEAD - TRIANGLE * stated
        notes.append(f"{left} bytes after the last triangle are not read")
    records = np.frombuffer(data, _RECORD, count, HEAD)
    verts = records["verts"].reshape(-1, 3).astype(np.float64)
    return Polygons.of_triangles(verts, np.arange(len(verts)).reshape(-1, 3), notes)


def _is_text(data: bytes) -> bool:
    """Whether facets follow as words; binary files may begin with "solid" as well."""
    head = data[:4096].lower()
    return b"\0" not in head and (b"facet" in head or b"endsolid" in head)


def _text(data: bytes) -> Polygons:
    """Loops may have more than three corners."""
    words: list[bytes] = []
    counts: list[int] = []
    corners = 0
    for match in _WORDS.finditer(data):
        if match[4]:
            counts.append(corners)
            corners = 0
        else:
            words += match.groups()[:3]
            corners += 1
    if corners:
        raise ValueError("the file is cut short: its last loop has no endloop")
    verts = numbers_of(words).reshape(-1, 3)
    return Polygons(verts, np.arange(len(verts)), np.array(counts, dtype=np.int64))
