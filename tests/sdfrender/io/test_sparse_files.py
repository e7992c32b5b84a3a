"""Sparse lattices on disk: exact round trips, one-line errors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sdfrender as sr
from sdfrender import InputError, SparseLattice
from sdfrender.files.tensors import load_tensors, save_tensors

BOX = ((-1.0, 0.1, -3.0), (0.25, 2.0, 1.0))


def sparse(dtype: torch.dtype = torch.float32) -> SparseLattice:
    shape = sr.primitives.sphere(0.4, (-0.3, 1.0, -1.0))
    found = SparseLattice.from_function(shape, (26, 33, 47), BOX, reach=1.5)
    return replace(found, values=found.values.to(dtype), bounds=found.bounds.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sparse_lattice_comes_back_and_a_dense_one_if_asked(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    path, before = tmp_path / "shape.safetensors", sparse(dtype)
    sr.save_lattice(path, before)
    assert sr.load_sparse_lattice(path) == before
    assert sr.load_lattice(path) == before.to_dense()
    assert path.stat().st_size < before.to_dense().values.nbytes
    assert [x.name for x in tmp_path.iterdir()] == [path.name]


def test_other_formats_are_for_dense_lattices(tmp_path: Path) -> None:
    for name in ("a.npz", "a.sdf"):
        with pytest.raises(InputError, match=r"a SparseLattice is written to \.safetensors"):
            sr.save_lattice(tmp_path / name, sparse())
    sr.save_lattice(tmp_path / "dense.safetensors", sparse().to_dense())
    for name in ("dense.safetensors", "none.safetensors"):
        with pytest.raises(InputError, match=f"{name}: need a sparse lattice"):
            sr.load_sparse_lattice(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": torch.zeros(3, 8, 8, 7)}, "values: need .n, 8, 8, 8."),
        ({"values": torch.zeros(3, 8, 8, 8)}, "table: need each block of 3 once"),
        ({"table": torch.zeros(3, 3)}, "'table' as float32 .3, 3. and not as whole numbers"),
        ({"bounds": torch.full((2, 3), torch.inf)}, "'bounds' with numbers that are not finite"),
        ({"bounds": None}, "no tensor 'bounds'"),
        ({"far": -1.0}, "far: need a number above 0"),
        ({"resolution": [26, 33]}, "need"),
        ({"resolution": [26, 33, 1000000]}, "values: need"),
        ({"format": "other"}, "format 'other'"),
    ],
)
def test_a_file_that_holds_no_sparse_lattice_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "shape.safetensors"
    sr.save_lattice(path, sparse())
    tensors, state = load_tensors(path, "")
    for name, x in change.items():
        if name in tensors:
            tensors[name] = x
        else:
            state[name] = x
    save_tensors(path, {name: x for name, x in tensors.items() if x is not None}, state)
    with pytest.raises(InputError, match=message) as error:
        sr.load_sparse_lattice(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shape.safetensors"
    sr.save_lattice(path, sparse())
    path.write_bytes(path.read_bytes()[:-100])
    for load in (sr.load_sparse_lattice, sr.load_lattice):
        with pytest.raises(InputError, match="shape"):
            load(path)
