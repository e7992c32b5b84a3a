"""Lattices on disk.

`.safetensors` (ours): tensors `values` and `bounds`, the conventions as metadata. Exact. Or a
sparse lattice, see `sparse_lattices`.
`.npz`: arrays `values` and `bounds`. Exact.
`.sdf` (SDFGen text): `nx ny nz`, box minimum, spacing, then the values, x fastest. In float32, the
box with more digits where it is far from the origin (`sdfrender.far`).

Nothing here reads or writes pickles. Bad files raise `InputError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.atomic import StrPath, atomic_write, one_line, read_bytes, write_bytes
from sdfrender.files.expect import readable
from sdfrender.files.tensors import write_tensors
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.sparse.lattice import AnyLattice, SparseLattice
from sdfrender.io.cameras import StoredArrays
from sdfrender.io.sparse_lattices import load_sparse_lattice, save_sparse_lattice

METADATA = {
    "format": "sdfrender.lattice",
    "version": "1",
    "layout": "values[i,j,k] at bounds[0] + (i,j,k)*spacing, negative inside, world units",
}


def save_lattice(path: StrPath, lattice: AnyLattice) -> None:
    """Write a lattice; the extension chooses the format. An existing file is replaced whole.

    Args:
        path: ends in `.safetensors`, `.npz` or `.sdf`; its folder must exist.
        lattice: `.sdf` takes a single lattice whose spacing is the same along all axes. A
            `SparseLattice` is written to `.safetensors` as it is, in its blocks.

    Raises:
        InputError: unknown extension, missing folder, or a lattice that `.sdf` cannot hold.
    """
    path = Path(path)
    if isinstance(lattice, SparseLattice):
        save_sparse_lattice(path, lattice)
        return
    write = _by_extension(
        path, {".safetensors": _write_safetensors, ".npz": _write_npz, ".sdf": _write_sdf}
    )
    write(path, lattice)


def load_lattice(path: StrPath) -> Lattice:
    """Read a lattice that `save_lattice` or SDFGen wrote, on the CPU.

    A sparse one is made dense: `load_sparse_lattice` keeps it as it is.

    Raises:
        InputError: no such file, unknown extension, or contents that are no lattice: truncated,
            other keys, a wrong count of values, NaN or infinity, an empty box.
    """
    path = Path(path)
    decode = _by_extension(
        path, {".safetensors": _decode_safetensors, ".npz": _decode_npz, ".sdf": _decode_sdf}
    )
    values, bounds = decode(path, read_bytes(path))
    for name, tensor in (("values", values), ("bounds", bounds)):
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(
                f"{path}: '{name}' needs floating-point numbers (float32), got {kind}: convert it, "
                "as with numpy's astype"
            )
    try:
        return Lattice(values, bounds)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {one_line(error)}") from None


def _write_safetensors(path: Path, lattice: Lattice) -> None:
    write_tensors(path, {"values": lattice.values, "bounds": lattice.bounds}, METADATA)


def _decode_safetensors(path: Path, data: bytes) -> tuple[Tensor, Tensor]:
    from safetensors.torch import load

    with readable(path, "safetensors file"):
        tensors = load(data)
    if "table" in tensors:
        dense = load_sparse_lattice(path).to_dense()
        return dense.values, dense.bounds
    _need_keys(path, tensors)
    return tensors["values"], tensors["bounds"]


def _write_npz(path: Path, lattice: Lattice) -> None:
    tensors = [x.detach().cpu() for x in (lattice.values, lattice.bounds)]
    # numpy has no bfloat16
    values, bounds = (x.float() if x.dtype == torch.bfloat16 else x for x in tensors)
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez(file, values=values.numpy(), bounds=bounds.numpy())


def _decode_npz(path: Path, data: bytes) -> tuple[Tensor, Tensor]:
    arrays = StoredArrays(path)
    _need_keys(path, arrays)
    with readable(path, "npz file"):
        # torch knows this machine's byte order only
        values, bounds = (
            x.astype(x.dtype.newbyteorder("="), copy=False)
            for x in (arrays["values"], arrays["bounds"])
        )
        return torch.from_numpy(values), torch.from_numpy(bounds)


def _write_sdf(path: Path, lattice: Lattice) -> None:
    spacing = lattice.spacing.double()
    h = float(spacing.mean())
    if lattice.values.ndim != 3:
        raise InputError(f"{path}: .sdf holds one lattice, got a batch of {lattice.batch}")
    if float((spacing - h).abs().max()) > 1e-4 * h:
        raise InputError(f"{path}: .sdf needs one spacing for all axes, got {spacing.tolist()}")
    digits = 9  # give a float32 back bit for bit
    exact = digits if lattice.bounds.dtype == torch.float32 else 17
    low = " ".join(f"{x:.{exact}g}" for x in lattice.bounds[0].tolist())
    flat = lattice.values.detach().cpu().double().permute(2, 1, 0).flatten().tolist()
    lines = [" ".join(map(str, lattice.resolution)), low, f"{h:.{exact}g}"]
    text = "\n".join([*lines, *(f"{x:.{digits}g}" for x in flat), ""])
    write_bytes(path, text.encode("ascii"))


def _decode_sdf(path: Path, data: bytes) -> tuple[Tensor, Tensor]:
    words = data.split()
    if len(words) < 7:
        raise InputError(f"{path}: .sdf needs a header of 7 numbers, got {len(words)} words")
    try:
        if not all(re.fullmatch(rb"-?\d{1,9}", word) for word in words[:3]):
            raise ValueError
        X, Y, Z = (int(word) for word in words[:3])
    except ValueError:
        raise InputError(f"{path}: .sdf starts with 3 whole numbers, got {words[:3]}") from None
    if min(X, Y, Z) < 2 or len(words) - 7 != X * Y * Z:
        raise InputError(
            f"{path}: a {X}×{Y}×{Z} .sdf needs at least 2 samples an axis and {X * Y * Z} values, "
            f"got {len(words) - 7} values"
        )
    try:
        with np.errstate(over="ignore"):  # infinite: refused by the lattice
            numbers = np.array(words[3:], dtype="S").astype(np.float64)
    except ValueError as error:
        raise InputError(f"{path}: .sdf holds numbers only: {one_line(error)}") from None
    low, h, values = numbers[:3], numbers[3], numbers[4:]
    with np.errstate(all="ignore"):  # what float32 does not hold is refused by the lattice
        high = low + h * (np.array([X, Y, Z]) - 1)
        cube = values.reshape(Z, Y, X).transpose(2, 1, 0).astype(np.float32, order="C")
    return torch.from_numpy(cube), torch.from_numpy(np.stack((low, high)))


def _need_keys(path: Path, found: Mapping[str, object]) -> None:
    keys = set(found)
    if keys != {"values", "bounds"}:
        raise InputError(f"{path}: need exactly 'values' and 'bounds', got {sorted(keys)}")


def _by_extension(path: Path, formats: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    chosen = formats.get(path.suffix.lower())
    if chosen is None:
        raise InputError(f"{path}: unknown extension {path.suffix!r}, need one of {[*formats]}")
    return chosen
