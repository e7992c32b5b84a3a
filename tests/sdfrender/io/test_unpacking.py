"""Files that unpack to much more than they are: what nobody needs stays packed."""

import zipfile
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from sdfrender import InputError, load_lattice
from sdfrender.io import cameras
from sdfrender.io.cameras import camera_matrices, read_arrays


def bomb(file: Path, mebibytes: int, **arrays: np.ndarray) -> Path:
    """An npz file with arrays, and one of zeros beside them."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, array in arrays.items():
            buffer = BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            opened.writestr(f"{name}.npy", buffer.getvalue())
        buffer = BytesIO()
        zeros = np.zeros(mebibytes << 20, np.uint8)
        np.lib.format.write_array(buffer, zeros, allow_pickle=False)
        opened.writestr("bomb.npy", buffer.getvalue())
    assert file.stat().st_size < (mebibytes << 20) // 500
    return file


def test_what_nobody_asks_for_is_not_unpacked(tmp_path: Path) -> None:
    world = {f"world_mat_{n}": np.eye(4) for n in range(2)}
    file = bomb(tmp_path / "cameras.npz", 8, **world)
    with patch.object(np.lib.format, "read_array", wraps=np.lib.format.read_array) as read:
        camera_matrices(file, ("world_mat",), 2)
        assert read_arrays(file).keys() == {*world, "bomb"}
        assert read_arrays(file, ["world_mat_0"]).keys() == {"world_mat_0"}
        assert "bomb" in read_arrays(file)
    assert read.call_count == 3  # two matrices, and one of them again


def test_what_is_asked_for_is_measured_first(tmp_path: Path) -> None:
    file = bomb(tmp_path / "cameras.npz", 8)
    assert read_arrays(file)["bomb"].shape == (8 << 20,)
    with (
        patch.object(cameras, "free_memory", lambda: 7 << 20),
        pytest.raises(InputError, match=r"cameras\.npz: 'bomb' needs 8 MiB of memory, need at"),
    ):
        read_arrays(file, ["bomb"])
    with patch.object(cameras, "free_memory", lambda: None):  # where the system does not tell
        assert len(read_arrays(file)["bomb"]) == 8 << 20


def test_a_matrix_is_small(tmp_path: Path) -> None:
    file = tmp_path / "cameras.npz"
    np.savez_compressed(file, world_mat_0=np.zeros((1 << 10, 1 << 10)))
    with pytest.raises(InputError, match=r"'world_mat_0' needs 8 MiB of memory"):
        camera_matrices(file, ("world_mat",), 1)


def test_a_lattice_is_measured_first(tmp_path: Path) -> None:
    file = tmp_path / "lattice.npz"
    bounds = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    np.savez_compressed(file, values=np.zeros((128, 128, 128)), bounds=bounds)
    with (
        patch.object(cameras, "free_memory", lambda: 1 << 20),
        pytest.raises(InputError, match=r"lattice\.npz: 'values' needs 16 MiB of memory"),
    ):
        load_lattice(file)
    assert load_lattice(file).resolution == (128, 128, 128)


def test_names_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, **{"x.npy": np.arange(2), "y": np.arange(3)})
    found = read_arrays(file)
    assert {name: len(found[name]) for name in found} == {"x": 2, "y": 3} or len(found) == 2
    with pytest.raises(KeyError):
        found["z"]
    assert found.get("z") is None
