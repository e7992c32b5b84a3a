"""PLY (Stanford): elements of any properties, as text or binary of either byte order.

Read are the coordinates of `vertex`, the corners of `face` and the strips of `tristrips`; all other
elements and properties, lists as well, are passed over. http://paulbourke.net/dataformats/ply/
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sdfrender.geometry.formats.polygons import Doubles, Indices, Polygons, numbers_of
from sdfrender.geometry.formats.strips import strip_triangles

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "int64": "i8", "uint64": "u8", "float32": "f4", "float64": "f8",
}  # fmt: skip
CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q",
         "f4": "f", "f8": "d"}  # fmt: skip
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
CORNERS = ("vertex_indices", "vertex_index")
FACES = ("face", "tristrips")
_START = re.compile(rb"ply[ \t]*(\r\n|\n|\r)")


@dataclass(frozen=True)
class _Property:
    name: str
    kind: str  # as numpy spells it
    count: str | None = None  # of a list


@dataclass(eq=False)
class _Element:
    name: str
    rows: int
    properties: list[_Property] = field(default_factory=list)

    @property
    def least(self) -> int:
        """Bytes of a binary row, at least."""
        return sum(int((p.count or p.kind)[1]) for p in self.properties)


# A property's values, row after row, and for a list how many each row has.
Columns = dict[str, tuple[NDArray[np.generic], Indices | None]]


def read_ply(data: bytes) -> Polygons:
    """The polygons of a PLY file.

    Raises:
        ValueError: a head that is none, fewer values than it says, or no vertices or faces.
    """
    return _polygons(*_elements(data))


def read_ply_points(data: bytes) -> Doubles | None:
    """The vertices `[V, 3]` of a PLY file without polygons; None if it has some.

    Raises:
        ValueError: a head that is none, fewer values than it says, or no vertices.
    """
    found, _ = _elements(data)
    if any(name in found.get(element, {}) for element in FACES for name in CORNERS):
        return None
    return _vertices(found)


def _elements(data: bytes) -> tuple[dict[str, Columns], int]:
    """The columns of each element, and how many bytes or words are left after them."""
    start = _START.match(data)
    newline = start[1] if start else b"\n"  # what ends a line may be the first byte of the rest
    end = re.search(rb"(?<=[\r\n])end_header[ \t]*(" + newline + rb"|\r\n|\n|\r)", data)
    if not data.startswith(b"ply") or end is None:
        raise ValueError("need 'ply' at the start and an end_header")
    order, elements = _head(data[: end.start()].decode("utf-8", "replace"))
    body = data[end.end() :]
    reader = _Binary(body, order) if order else _Text(body.split())
    found: dict[str, Columns] = {}
    for element in elements:
        found.setdefault(element.name, reader.read(element))
    return found, reader.left()


def _head(text: str) -> tuple[str, list[_Element]]:
    """Byte order, empty for text, and the elements."""
    order, elements = None, list[_Element]()
    for line in re.split(r"\r\n|\n|\r", text)[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) >= 2 and words[1] in FORMATS:
            order = FORMATS[words[1]]
        elif words[0] == "element" and len(words) == 3 and re.fullmatch(r"\d{1,12}", words[2]):
            elements.append(_Element(words[1], int(words[2])))
        elif words[0] == "property" and elements and (read := _property(words[1:])):
            elements[-1].properties.append(read)
        else:
            raise ValueError(f"its head has a line that is not known: {line[:60]!r}")
    if order is None:
        raise ValueError(f"need a format of {', '.join(FORMATS)} in the head")
    return order, elements


def _property(words: list[str]) -> _Property | None:
    if len(words) == 2 and words[0] in TYPES:
        return _Property(words[1], TYPES[words[0]])
    if len(words) == 4 and words[0] == "list" and words[1] in TYPES and words[2] in TYPES:
        return _Property(words[3], TYPES[words[2]], TYPES[words[1]])
    return None


def _polygons(found: dict[str, Columns], left: int) -> Polygons:
    verts = _vertices(found)
    notes = [f"{left} bytes or words after the last element are not read"] if left else []
    for element in FACES:
        columns = found.get(element, {})
        for name in CORNERS:
            if name in columns and columns[name][1] is not None:
                corners, counts = columns[name]
                whole = _whole(corners)
                if element == "face":
                    return Polygons(verts, whole, counts, notes)  # type: ignore[arg-type]
                faces = strip_triangles(whole, counts, restart=-1)  # type: ignore[arg-type]
                return Polygons.of_triangles(verts, faces, notes)
    raise ValueError("need faces or triangle strips, it has none (points alone have no surface)")


def _vertices(found: dict[str, Columns]) -> Doubles:
    vertex = found.get("vertex", {})
    if any(axis not in vertex or vertex[axis][1] is not None for axis in "xyz"):
        raise ValueError("need an element 'vertex' with x, y and z")
    return np.stack([vertex[axis][0] for axis in "xyz"], -1).astype(np.float64)


def _whole(corners: NDArray[np.generic]) -> Indices:
    whole = corners.astype(np.int64)
    if corners.dtype.kind == "f" and not (whole == corners).all():
        raise ValueError("need whole numbers of vertices in faces")
    return whole


class _Text:
    """The values of a text file, which lines do not part."""

    def __init__(self, words: list[bytes]) -> None:
        self.words, self.at = words, 0

    def left(self) -> int:
        """Words that were not read."""
        return len(self.words) - self.at

    def read(self, element: _Element) -> Columns:
        """All rows of an element."""
        kinds = element.properties
        if element.rows * len(kinds) > self.left():
            raise ValueError(f"the file is cut short: need {element.rows} of '{element.name}'")
        if not any(p.count for p in kinds):
            values = self._take(element.rows * len(kinds)).reshape(element.rows, len(kinds))
            return {p.name: (values[:, k], None) for k, p in enumerate(kinds)}
        words: dict[str, list[bytes]] = {p.name: [] for p in kinds}
        counts: dict[str, list[int]] = {p.name: [] for p in kinds}
        for _ in range(element.rows):
            for p in kinds:
                n = 1
                if p.count:
                    n = self._count(element)
                    counts[p.name].append(n)
                if n > self.left():
                    raise ValueError(
                        f"the file is cut short: need {element.rows} of '{element.name}'"
                    )
                words[p.name] += self.words[self.at : self.at + n]
                self.at += n
        return {
            p.name: (_values(words[p.name], p.kind), np.array(counts[p.name]) if p.count else None)
            for p in kinds
        }

    def _count(self, element: _Element) -> int:
        word = self.words[self.at] if self.left() else b""
        if not re.fullmatch(rb"\d{1,9}", word):
            raise ValueError(f"'{element.name}' needs the length of a list, got {word[:20]!r}")
        self.at += 1
        return int(word)

    def _take(self, count: int) -> Doubles:
        self.at += count
        return numbers_of(self.words[self.at - count : self.at])


def _values(words: list[bytes], kind: str) -> NDArray[np.generic]:
    values = numbers_of(words)
    return values if kind[0] == "f" or not np.isfinite(values).all() else values.astype(np.int64)


class _Binary:
    """The values of a binary file."""

    def __init__(self, data: bytes, order: str) -> None:
        self.data, self.order, self.at = data, order, 0

    def left(self) -> int:
        """Bytes that were not read."""
        return len(self.data) - self.at

    def read(self, element: _Element) -> Columns:
        """All rows of an element."""
        if element.rows * max(element.least, 1) > self.left():
            raise ValueError(f"the file is cut short: need {element.rows} of '{element.name}'")
        return self._alike(element) or self._row_by_row(element)

    def _alike(self, element: _Element) -> Columns | None:
        """All rows at once, if their lists are as long as those of the first."""
        lengths = self._first_lengths(element)
        fields = []
        for k, (p, n) in enumerate(zip(element.properties, lengths, strict=True)):
            if p.count:
                fields.append((f"n{k}", self.order + p.count))
            fields.append((f"v{k}", self.order + p.kind, (n,)) if p.count else  # type: ignore[arg-type]
                          (f"v{k}", self.order + p.kind))  # fmt: skip
        layout = np.dtype(fields)
        if layout.itemsize * element.rows > self.left():
            return None
        rows = np.frombuffer(self.data, layout, element.rows, self.at)
        columns: Columns = {}
        for k, (p, n) in enumerate(zip(element.properties, lengths, strict=True)):
            if p.count and not (rows[f"n{k}"] == n).all():
                return None
            values = rows[f"v{k}"].reshape(-1)
            columns[p.name] = values, np.full(element.rows, n) if p.count else None
        self.at += layout.itemsize * element.rows
        return columns

    def _first_lengths(self, element: _Element) -> list[int]:
        lengths, at = [], self.at
        for p in element.properties:
            n = 1
            if p.count and element.rows:
                n = int(self._unpack(p.count, 1, at)[0])
                at += int(p.count[1])
            lengths.append(n)
            at += n * int(p.kind[1])
        return lengths

    def _row_by_row(self, element: _Element) -> Columns:
        values: dict[str, list[float]] = {p.name: [] for p in element.properties}
        counts: dict[str, list[int]] = {p.name: [] for p in element.properties}
        for _ in range(element.rows):
            for p in element.properties:
                n = 1
                if p.count:
                    n = int(self._unpack(p.count, 1, self.at)[0])
                    self.at += int(p.count[1])
                    counts[p.name].append(n)
                values[p.name] += self._unpack(p.kind, n, self.at)
                self.at += n * int(p.kind[1])
        return {
            p.name: (np.array(values[p.name], dtype=p.kind),
                     np.array(counts[p.name], dtype=np.int64) if p.count else None)
            for p in element.properties
        }  # fmt: skip

    def _unpack(self, kind: str, count: int, at: int) -> tuple[float, ...]:
        if not 0 <= count * int(kind[1]) <= len(self.data) - at:
            raise ValueError("the file is cut short, or a list has a wrong length")
        return struct.unpack_from(f"{self.order}{count}{CODES[kind]}", self.data, at)
