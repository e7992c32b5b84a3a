"""The arrays of a binary glTF: accessors of every type, normalised, strided and sparse."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = dict[str, Any]

JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
MOST_ZEROS = 10**7  # of an accessor that stores nothing
_DATA = re.compile(r"data:[^,]*;base64,")


class Gltf:
    """A glTF file's tables and bytes.

    Raises:
        ValueError: no binary glTF of version 2, or cut short.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < 20 or not data.startswith(b"glTF"):
            raise ValueError("need 'glTF' and a first chunk at the start")
        version, length = struct.unpack_from("<2I", data, 4)
        if version != 2:
            raise ValueError(f"need glTF version 2, got {version}: export it again")
        if length > len(data):
            raise ValueError(f"the file is cut short: need {length} bytes, got {len(data)}")
        chunks: dict[int, bytes] = {}
        at = 12
        while at + 8 <= length:
            size, kind = struct.unpack_from("<2I", data, at)
            if at + 8 + size > length:
                raise ValueError("the file is cut short: a chunk is longer than it")
            chunks.setdefault(kind, data[at + 8 : at + 8 + size])
            at += 8 + size
        self._binary = chunks.get(BINARY_CHUNK, b"")
        try:
            self.tables = json.loads(chunks.get(JSON_CHUNK, b"").decode("utf-8-sig"))
        except (ValueError, RecursionError):
            raise ValueError("need JSON in its first chunk") from None
        if not isinstance(self.tables, dict):
            raise ValueError("need a JSON object in its first chunk")

    def entries(self, kind: str) -> list[Table]:
        """The top-level list of a kind, such as "nodes"."""
        found = self.tables.get(kind, [])
        if not isinstance(found, list) or not all(isinstance(x, dict) for x in found):
            raise ValueError(f"need a list of objects as '{kind}'")
        return found

    def entry(self, kind: str, number: object) -> Table:
        """One of them, by its number."""
        found = self.entries(kind)
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(found):
            raise ValueError(f"need one of {len(found)} {kind}, got {str(number)[:40]}")
        return found[number]

    def array(self, number: object) -> NDArray[Any]:
        """`[N]` or `[N, W]` of an accessor; integers as such unless they are normalised."""
        accessor = self.entry("accessors", number)
        kind, width = accessor.get("componentType"), WIDTHS.get(str(accessor.get("type")))
        if kind not in COMPONENTS or width is None:
            raise ValueError(
                f"accessor {number} needs a component type and a type that glTF has, got "
                f"{str(kind)[:20]} and {str(accessor.get('type'))[:20]}"
            )
        count = natural(accessor, "count")
        layout = np.dtype(COMPONENTS[kind])
        if accessor.get("bufferView") is not None:
            place = natural(accessor, "byteOffset", 0)
            values = self._strided(accessor["bufferView"], place, layout, count, width)
        elif count * width > MOST_ZEROS:
            raise ValueError(f"accessor {number} needs data for its {count} values")
        else:
            values = np.zeros((count, width), layout)
        if accessor.get("sparse") is not None:
            values = self._replaced(values, accessor["sparse"], layout, width)
        if accessor.get("normalized") and layout.kind in "iu":
            largest = np.iinfo(layout).max
            values = np.maximum(values.astype(np.float64) / largest, -1.0)
        return values[:, 0] if width == 1 else values

    def _replaced(
        self, values: NDArray[Any], sparse: object, layout: np.dtype[Any], width: int
    ) -> NDArray[Any]:
        """Values with some of them from elsewhere."""
        if not isinstance(sparse, dict):
            raise ValueError("need an object as 'sparse'")
        places, others = sparse.get("indices"), sparse.get("values")
        if not isinstance(places, dict) or not isinstance(others, dict):
            raise ValueError("need 'indices' and 'values' in 'sparse'")
        count, kind = natural(sparse, "count"), COMPONENTS.get(places.get("componentType", 0))
        if kind is None or kind[1] != "u":
            raise ValueError("need whole numbers as the indices of 'sparse'")
        offsets = [natural(x, "byteOffset", 0) for x in (places, others)]
        at = self._strided(places.get("bufferView"), offsets[0], np.dtype(kind), count, 1)[:, 0]
        new = self._strided(others.get("bufferView"), offsets[1], layout, count, width)
        if count and int(at.max()) >= len(values):
            raise ValueError(f"'sparse' names value {at.max()} of {len(values)}")
        whole = values.copy()
        whole[at] = new
        return whole

    def _strided(
        self, view: object, offset: int, layout: np.dtype[Any], count: int, width: int
    ) -> NDArray[Any]:
        """`[count, width]` values at an offset of a buffer view."""
        table = self.entry("bufferViews", view)
        if "EXT_meshopt_compression" in table.get("extensions", {}):
            raise ValueError("it is compressed with meshopt: export it without compression")
        data = self._buffer(table.get("buffer"))
        start, length = natural(table, "byteOffset", 0), natural(table, "byteLength")
        size = width * layout.itemsize
        step = natural(table, "byteStride", 0) or size
        if step < size or start + length > len(data):
            raise ValueError(f"buffer view {view} does not fit its buffer of {len(data)} bytes")
        if count == 0:
            return np.zeros((0, width), layout)
        if offset + (count - 1) * step + size > length:
            raise ValueError(f"need {count} values in buffer view {view}, it has {length} bytes")
        return np.ndarray((count, width), layout, data, start + offset, (step, layout.itemsize))

    def _buffer(self, number: object) -> bytes:
        uri = self.entry("buffers", number).get("uri")
        if uri is None:
            if number != 0:
                raise ValueError(f"buffer {number} has no data")
            return self._binary
        start = _DATA.match(str(uri)[:200])
        if start is None:
            raise ValueError(
                f"its data are in another file, {str(uri)[:60]!r}: export it as one .glb"
            )
        try:
            return base64.b64decode(str(uri)[start.end() :], validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("need base64 in the data of its buffer") from None


def natural(table: Table, key: str, default: int | None = None) -> int:
    """A whole number of at least 0."""
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**40:
        raise ValueError(f"need a whole number as '{key}', got {str(value)[:40]}")
    return value


def numbers(table: Table, key: str, count: int, default: list[float]) -> NDArray[np.float64]:
    """`[count]` numbers of a list."""
    value = table.get(key, default)
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros(0)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise ValueError(f"need {count} finite numbers as '{key}', got {str(value)[:40]}")
    return array
