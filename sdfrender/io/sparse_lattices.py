"""Sparse lattices on disk: a safetensors file with the blocks that are kept.

Tensors `values` `[n, 8, 8, 8]`, `table` and `bounds` as those of `SparseLattice`; its other fields,
and the conventions, as JSON beside them. Exact; blocks go straight from memory to the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.atomic import StrPath
from sdfrender.files.expect import expect
from sdfrender.files.tensors import load_tensors, need_file, need_tensor, save_tensors
from sdfrender.geometry.sparse.lattice import SparseLattice

WHAT = "a sparse lattice that save_lattice wrote"
FORMAT = "sdfrender.sparse_lattice"
LAYOUT = (
    "values[n,i,j,k] at bounds[0] + (8*block[n] + (i,j,k))*spacing, where table[block[n]] is n; "
    "far where it is -1, -far where it is -2; negative inside, world units"
)


def save_sparse_lattice(path: Path, lattice: SparseLattice) -> None:
    """Write a sparse lattice to a `.safetensors` file; an existing file is replaced whole.

    Raises:
        InputError: another extension, or a missing folder.
    """
    if path.suffix.lower() != ".safetensors":
        raise InputError(
            f"{path}: a SparseLattice is written to .safetensors, got {path.suffix!r}: its "
            "to_dense() to others"
        )
    state = {
        "format": FORMAT,
        "version": 1,
        "layout": LAYOUT,
        "far": lattice.far,
        "resolution": list(lattice.resolution),
    }
    tensors = {"values": lattice.values, "table": lattice.table, "bounds": lattice.bounds}
    save_tensors(path, tensors, state)


def load_sparse_lattice(path: StrPath) -> SparseLattice:
    """Read a sparse lattice that `save_lattice` wrote.

    Raises:
        InputError: no such file, or contents that are no sparse lattice: truncated, other tensors,
            a block that is missing or there twice, NaN or infinity, an empty box.
    """
    path = Path(path)
    need_file(path, WHAT)
    tensors, state = load_tensors(path, WHAT)
    with expect(path, WHAT):
        return _sparse(tensors, state)


def _sparse(tensors: dict[str, Tensor], state: dict[str, Any]) -> SparseLattice:
    """What a file holds."""
    if state["format"] != FORMAT or state["version"] != 1:
        raise ValueError(f"format {state['format']!r:.50}, version {state['version']!r:.20}")
    need_tensor(tensors, "table", ("A", "B", "C"), whole=True)
    values, bounds = tensors["values"], need_tensor(tensors, "bounds", (2, 3))
    X, Y, Z = state["resolution"]
    return SparseLattice(values, tensors["table"], float(state["far"]), (X, Y, Z), bounds)
