"""Lattice files: exact round trips, whole writes, one-line errors."""

import io
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import places
import pytest
import torch
from safetensors.torch import save

from sdfrender.errors import InputError
from sdfrender.files.atomic import atomic_write, write_json
from sdfrender.geometry.lattice import Lattice
from sdfrender.io.lattices import load_lattice, save_lattice

BUNNY = places.DATA / "sdfdiff" / "bunny.sdf"
BOUNDS = torch.tensor([[-1.0, 0.1, -3.0], [0.25, 2.0, 1.0]])


def lattice(*shape: int, dtype: torch.dtype = torch.float32) -> Lattice:
    g = torch.Generator().manual_seed(0)
    values = torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)
    return Lattice(values, BOUNDS)


# ---------------------------------------------------------------------- lattices


@pytest.mark.parametrize("extension", [".safetensors", ".npz", ".NPZ"])
@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 4, 5, 6)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_round_trips_are_exact(
    tmp_path: Path, extension: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    before = lattice(*shape, dtype=dtype)
    path = tmp_path / f"shape{extension}"
    save_lattice(path, before)
    after = load_lattice(path)
    assert after.values.dtype == dtype
    assert torch.equal(after.values, before.values)
    assert torch.equal(after.bounds, before.bounds)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_views_and_tensors_with_gradients_are_stored_by_value(tmp_path: Path) -> None:
    values = torch.randn(6, 5, 4, requires_grad=True).permute(2, 1, 0)
    for name in ("a.safetensors", "a.npz"):
        save_lattice(tmp_path / name, Lattice(values, BOUNDS))
        assert torch.equal(load_lattice(tmp_path / name).values, values.detach())


def test_bfloat16_is_kept_where_the_format_knows_it(tmp_path: Path) -> None:
    before = lattice(3, 3, 3, dtype=torch.bfloat16)
    save_lattice(tmp_path / "a.safetensors", before)
    assert torch.equal(load_lattice(tmp_path / "a.safetensors").values, before.values)
    save_lattice(tmp_path / "a.npz", before)
    assert torch.equal(load_lattice(tmp_path / "a.npz").values, before.values.float())


def test_sdf_text_keeps_float32_values_and_runs_x_fastest(tmp_path: Path) -> None:
    before = Lattice(lattice(4, 5, 6).values, torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.6, 0.8]]))
    path = tmp_path / "a.sdf"
    save_lattice(path, before)
    after = load_lattice(path)
    assert torch.equal(after.values, before.values)
    torch.testing.assert_close(after.bounds, before.bounds, rtol=1e-6, atol=0)
    lines = path.read_text().splitlines()
    assert lines[0] == "4 5 6"
    assert float(lines[2]) == pytest.approx(0.1, rel=1e-6)
    assert np.float32(lines[4]) == float(before.values[1, 0, 0])
    assert np.float32(lines[3 + 4]) == float(before.values[0, 1, 0])
    assert np.float32(lines[3 + 4 * 5]) == float(before.values[0, 0, 1])


@pytest.mark.skipif(not BUNNY.exists(), reason="needs ../shared/data")
def test_the_sdfdiff_bunny() -> None:
    bunny = load_lattice(BUNNY)
    assert bunny.resolution == (52, 52, 41)
    torch.testing.assert_close(bunny.spacing, torch.full((3,), 0.02), rtol=1e-5, atol=0)
    assert bunny.bounds[0].tolist() == pytest.approx([-0.529656, -0.524304, -0.416375])
    assert float(bunny.values[0, 0, 0]) == pytest.approx(0.427681)
    assert float(bunny.values[1, 0, 0]) == pytest.approx(0.417236)
    # Right axes make it a distance field: slope one nearly everywhere.
    slopes = bunny.gradient(bunny.vertices[2:-2, 2:-2, 2:-2]).norm(dim=-1)
    assert float((slopes - 1).abs().median()) < 0.01


@pytest.mark.parametrize(
    ("values", "bounds", "words"),
    [
        (torch.ones(2, 3, 3, 3), [[0, 0, 0], [1, 1, 1]], "a batch of 2"),
        (torch.ones(3, 3, 3), [[0, 0, 0], [1, 1, 2]], "one spacing"),
    ],
)
def test_sdf_text_refuses_what_it_cannot_hold(
    tmp_path: Path, values: torch.Tensor, bounds: list[list[float]], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        save_lattice(tmp_path / "a.sdf", Lattice(values, torch.tensor(bounds).float()))
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- hostile files


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def tensors(values: torch.Tensor, bounds: torch.Tensor) -> bytes:
    return save({"values": values, "bounds": bounds})


V, B = torch.ones(2, 2, 2), torch.tensor([[0.0, 0, 0], [1, 1, 1]])
OBJECTS = np.array([{"a": 1}], dtype=object)  # numpy would store it as a pickle
ONE = np.float32(1).tobytes()
TENSORS, ARRAYS = tensors(V, B), npz(values=V.numpy(), bounds=B.numpy())
HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "safetensors: empty": (".safetensors", b"", "empty"),
    "safetensors: words": (".safetensors", b"no tensors at all", "not a readable"),
    "safetensors: truncated": (".safetensors", TENSORS[:-5], "not a readable"),
    "safetensors: huge header": (".safetensors", b"\xff" * 64, "not a readable"),
    "safetensors: other keys": (".safetensors", save({"sdf": V}), r"got \['sdf'\]"),
    "safetensors: NaN": (".safetensors", tensors(V * math.nan, B), "finite"),
    "safetensors: integers": (".safetensors", tensors(V.int(), B), "floating-point"),
    "safetensors: no samples": (".safetensors", tensors(V[:0], B), "at least 2"),
    "safetensors: one tensor": (".safetensors", tensors(V[0], B), "at least 2"),
    "safetensors: empty box": (".safetensors", tensors(V, B * 0), "max > min"),
    "safetensors: bounds of cameras": (".safetensors", tensors(V, V.clone()), "bounds"),
    "npz: words": (".npz", b"no arrays at all", "not a readable"),
    "npz: truncated": (".npz", ARRAYS[: len(ARRAYS) // 2], "not a readable"),
    "npz: corrupted": (".npz", ARRAYS.replace(ONE, b"\x01\x02\x80?"), "not a readable"),
    "npz: other keys": (".npz", npz(values=V, bounds=B, more=B), r"'bounds', 'more', 'values'"),
    "npz: pickled": (".npz", npz(values=OBJECTS, bounds=B), "not a readable"),
    "npz: text": (".npz", npz(values=np.array("a"), bounds=B), "not a readable"),
    "npz: infinity": (".npz", npz(values=V / 0, bounds=B), "finite"),
    "sdf: short": (".sdf", b"2 2 2\n0 0 0\n", "header of 7 numbers, got 6"),
    "sdf: truncated": (".sdf", b"2 2 2 0 0 0 1 " + b"1 " * 7, "8 values, got 7 values"),
    "sdf: too long": (".sdf", b"2 2 2 0 0 0 1 " + b"1 " * 9, "8 values, got 9 values"),
    "sdf: negative": (".sdf", b"-2 -2 2 0 0 0 1 " + b"1 " * 8, "at least 2 samples"),
    "sdf: flat": (".sdf", b"8 1 1 0 0 0 1 " + b"1 " * 8, "at least 2 samples"),
    "sdf: huge": (".sdf", b"99999999 99999999 99999999 0 0 0 1 1", "got 1 values"),
    "sdf: fractions": (".sdf", b"2.5 2 2 0 0 0 1 " + b"1 " * 8, "3 whole numbers"),
    "sdf: words": (".sdf", b"2 2 2 0 0 0 1 " + b"one " * 8, "numbers only"),
    "sdf: NaN": (".sdf", b"2 2 2 0 0 0 1 " + b"nan " * 8, "finite"),
    "sdf: no spacing": (".sdf", b"2 2 2 0 0 0 0 " + b"1 " * 8, "max > min"),
    "sdf: binary": (".sdf", bytes(range(128, 256)) * 4, "header of 7"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_give_one_line(tmp_path: Path, case: str) -> None:
    extension, data, words = HOSTILE[case]
    path = tmp_path / f"bad{extension}"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        load_lattice(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_lattice_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.npz: no such file"):
        load_lattice(tmp_path / "absent.npz")
    with pytest.raises(InputError, match=r"unknown extension '\.pkl', need one of"):
        load_lattice(tmp_path / "shape.pkl")
    with pytest.raises(InputError, match=r"unknown extension '\.pt'"):
        save_lattice(tmp_path / "shape.pt", lattice(2, 2, 2))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        load_lattice(tmp_path / "folder.npz")


# ---------------------------------------------------------------------- whole or not at all


def test_a_write_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as partial:
            assert partial.parent == path.parent
            assert partial.suffix == path.suffix
            partial.write_text("ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_files_have_the_permissions_of_ordinary_ones(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_bytes(b"")
    save_lattice(tmp_path / "a.npz", lattice(2, 2, 2))
    assert os.stat(tmp_path / "a.npz").st_mode == os.stat(tmp_path / "ordinary").st_mode


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"folder .* does not exist"):
        save_lattice(tmp_path / "nowhere" / "a.npz", lattice(2, 2, 2))
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        save_lattice(tmp_path / "a.npz", lattice(2, 2, 2))


def test_json_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"psnr": math.inf, "n": [1, math.nan, (2.5, "x")], "none": None})
    assert json.loads(path.read_text()) == {"psnr": None, "n": [1, None, [2.5, "x"]], "none": None}
