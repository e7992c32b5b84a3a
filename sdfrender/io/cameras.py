"""Cameras stored in an npz file as numbered matrices, such as `world_mat_0`, `camera_mat_0`.

The layouts of Occupancy Networks, DVR, IDR and NeuS; what the matrices mean differs between them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdfrender.errors import InputError
from sdfrender.files.arrays import need_numbers
from sdfrender.files.atomic import read_bytes
from sdfrender.files.expect import readable
from sdfrender.system import free_memory

Doubles = NDArray[np.float64]

UNKNOWN_MOST = 4 << 30  # bytes of an array, where the system does not say what memory is free
MATRIX_BYTES = 1 << 16  # of a matrix, at most


class StoredArrays(Mapping[str, NDArray[Any]]):
    """The arrays of an npz file, each unpacked when it is asked for. Never unpickles.

    A file of a few kilobytes can unpack to all memory, so what nobody asks for stays packed, and
    what is asked for is measured first.

    Args:
        path: the file.

    Raises:
        InputError: missing or damaged; where an array is asked for, also one with an object in it
            or one that is too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = read_bytes(path)
        with readable(path, "npz file"):
            self._stored = np.load(io.BytesIO(data), allow_pickle=False)
            if not isinstance(self._stored, np.lib.npyio.NpzFile):
                raise InputError(
                    f"{path}: need an npz file, this one is .npy: one array without names"
                )
            self._names: list[str] = list(self._stored.files)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, key: object) -> bool:
        return key in self._names  # and not by unpacking it

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, key: str) -> NDArray[Any]:
        free = free_memory()
        return self.read(key, UNKNOWN_MOST if free is None else free)

    def read(self, key: str, most: int) -> NDArray[Any]:
        """An array of at most so many bytes.

        Raises:
            InputError: it is larger.
        """
        if key not in self._names:
            raise KeyError(key)
        with readable(self.path, "npz file"):
            members = set(self._stored.zip.namelist())
            member = key if key in members else f"{key}.npy"
            size = self._stored.zip.getinfo(member).file_size
            if size > most:
                raise InputError(
                    f"{self.path}: '{key}' needs {size / 2**20:.4g} MiB of memory, need at most "
                    f"{most / 2**20:.4g}"
                )
            found: NDArray[Any] = self._stored[key]
            if not isinstance(found, np.ndarray):
                raise InputError(f"{self.path}: need arrays, the member '{key[:40]}' is none")
        return found


def read_arrays(path: Path, keys: Sequence[str] | None = None) -> Mapping[str, NDArray[Any]]:
    """The arrays of an npz file: those named by `keys`, or all, unpacked when they are asked for.

    Raises:
        InputError: missing, damaged, with an object in it, too large, or without one of the keys.
    """
    stored = StoredArrays(path)
    if keys is None:
        return stored
    missing = sorted({*keys} - {*stored})
    if missing:
        raise InputError(f"{path}: need the array '{missing[0]}', got {[*stored]}")
    return {key: stored[key] for key in keys}


def read_array(path: Path) -> NDArray[Any]:
    """The array of an npy file. Never unpickles.

    Raises:
        InputError: missing, damaged, or with an object in it.
    """
    data = read_bytes(path)
    with readable(path, ".npy file"):
        found: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise InputError(f"{path}: need one array, it is an npz file")
    return found


def camera_matrices(path: Path, kinds: Sequence[str], count: int) -> dict[str, list[Doubles]]:
    """The matrices `KIND_0` to `KIND_{count − 1}` of an npz file, for each of the kinds.

    Args:
        path: npz file; other arrays in it are not looked at.
        kinds: such as `("world_mat", "camera_mat")`; the first of them counts the cameras.
        count: of images.

    Returns:
        Finite matrices of at least 3×3, as stored.

    Raises:
        InputError: not an npz file, another number of cameras, or a matrix that is missing, too
            small or not finite.
    """
    arrays = StoredArrays(path)
    stated = sum(key.removeprefix(f"{kinds[0]}_").isdecimal() for key in arrays)
    if stated != count:
        raise InputError(f"{path}: need {count} cameras as there are images, got {stated}")
    return {kind: [_matrix(path, arrays, f"{kind}_{i}") for i in range(count)] for kind in kinds}


def camera_to_world(path: Path, R: Doubles, t: Doubles) -> Doubles:
    """World-to-camera transforms inverted, without their scale.

    Args:
        path: of the file, which errors name.
        R: `[V, 3, 3]` rotations times a positive number.
        t: `[V, 3]` translations, times the same number.

    Returns:
        `[V, 4, 4]` rigid camera-to-world.

    Raises:
        InputError: a matrix with no rotation in it.
    """
    with np.errstate(all="ignore"):
        scales = np.cbrt(np.linalg.det(R))[:, None, None]
    if not (scales > 1e-30).all():
        raise InputError(f"{path}: need rotations, camera {int((scales <= 0).argmax())} has none")
    R = R / scales
    c2w = np.tile(np.eye(4), (len(R), 1, 1))
    c2w[:, :3, :3] = R.transpose(0, 2, 1)
    c2w[:, :3, 3] = -np.einsum("vji,vj->vi", R, t / scales[:, 0])
    return c2w


def with_translation(path: Path, matrices: Sequence[Doubles]) -> list[Doubles]:
    """`[3, 4]` of each `world_mat`, which may be 4×4.

    Raises:
        InputError: one has no fourth column.
    """
    for i, matrix in enumerate(matrices):
        if matrix.shape[1] < 4:
            got = "×".join(map(str, matrix.shape))
            raise InputError(f"{path}: 'world_mat_{i}' needs 3×4 or 4×4 numbers, got {got}")
    return [matrix[:3, :4] for matrix in matrices]


def ndc_to_pixels(width: int, height: int) -> Doubles:
    """`[3, 3]` from the square [-1, 1]², y down, whose sides are the picture's, to pixels."""
    return np.array([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]])


def _matrix(path: Path, arrays: StoredArrays, key: str) -> Doubles:
    if key not in arrays:
        raise InputError(f"{path}: need the matrix '{key}', it is missing")
    stored = arrays.read(key, MATRIX_BYTES)
    if stored.ndim != 2 or min(stored.shape) < 3 or stored.dtype.kind not in "fiu":
        got = f"{stored.dtype} {list(stored.shape)}"
        raise InputError(f"{path}: '{key}' needs a finite matrix of 3×3 or more, got {got}")
    if not np.isfinite(stored).all():
        bad = stored[~np.isfinite(stored)][0]
        raise InputError(f"{path}: '{key}' needs a finite matrix, got {bad}")
    return need_numbers(path, key, stored, ("M", "N"))
