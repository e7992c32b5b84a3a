"""Tensors on disk, and what is said of a file that is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from sdfrender.errors import InputError
from sdfrender.files.arrays import fits
from sdfrender.files.atomic import StrPath, atomic_write
from sdfrender.files.expect import expect
from sdfrender.files.find import is_file

LARGEST = 1e18  # of a number that is computed with, as in `sdfrender.magnitude`

__all__ = ["expect", "load_tensors", "need_file", "save_tensors", "write_tensors"]

TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}  # as safetensors calls them


def save_tensors(path: Path, tensors: Mapping[str, Tensor], state: object) -> None:
    """Write tensors `[...]`, with `state` as JSON beside them, to a safetensors file."""
    write_tensors(path, tensors, {"state": json.dumps(state)})


def write_tensors(
    path: StrPath, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors `[...]` and `metadata` to a safetensors file, whole or not at all.

    The numbers go straight from memory to the file: safetensors' own functions copy them first,
    which a large lattice has no room for.

    Source: the format of safetensors: the length of a header of JSON as 64 bits, the header with
    where each tensor lies behind it, and the numbers, the widest type first.
    """
    wide_first = sorted(tensors.items(), key=lambda item: -item[1].element_size())
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, x in wide_first:
        begin, end = end, end + x.numel() * x.element_size()
        header[name] = {
            "dtype": TYPES[x.dtype],
            "shape": list(x.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as partial, partial.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, x in wide_first:
            file.write(x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def load_tensors(path: Path, what: str) -> tuple[dict[str, Tensor], Any]:
    """The tensors of a safetensors file on the CPU, and the state beside them.

    Raises:
        InputError: missing, damaged, or without a state; it names the file and `what` it should be.
    """
    with expect(path, what), safetensors.safe_open(path, "pt") as opened:
        state = json.loads((opened.metadata() or {})["state"])
        return {name: opened.get_tensor(name) for name in opened.keys()}, state  # noqa: SIM118


def stored_shape(path: Path, name: str, what: str) -> tuple[int, ...]:
    """The shape of a tensor of a safetensors file, which is not read.

    Raises:
        InputError: missing, damaged, or without that tensor; names the file and `what` it should
            be.
    """
    with expect(path, what), safetensors.safe_open(path, "pt") as opened:
        return tuple(opened.get_slice(name).get_shape())


def need_tensor(
    tensors: Mapping[str, Tensor], name: str, *shapes: tuple[int | str, ...], whole: bool = False
) -> Tensor:
    """A tensor of a file, if it is what its reader expects.

    Args:
        tensors: of the file.
        name: of the one.
        shapes: that it may have; letters as in `arrays.need_numbers`.
        whole: whether it holds whole numbers.

    Raises:
        ValueError: missing, of another shape or kind, or numbers that are not finite or beyond
            1e18; names the tensor.
    """
    if name not in tensors:
        raise ValueError(f"no tensor '{name}'")
    x = tensors[name]
    kind = not (x.is_floating_point() or x.is_complex()) if whole else x.is_floating_point()
    if not kind or not any(fits(x.shape, shape) for shape in shapes):
        need = " or ".join(f"[{', '.join(map(str, shape))}]" for shape in shapes)
        dtype = str(x.dtype).removeprefix("torch.")
        raise ValueError(
            f"'{name}' as {dtype} {list(x.shape)} and not as "
            f"{'whole numbers' if whole else 'numbers'} {need}"
        )
    if not whole and not bool((x.abs() <= LARGEST).all()):
        raise ValueError(f"'{name}' with numbers that are not finite or beyond {LARGEST:g}")
    return x


def need_file(path: Path, what: str) -> None:
    """Tell in plain words that a file is missing which a user was to give.

    Raises:
        InputError: it is; names the file and `what` it should be.
    """
    if not is_file(path):
        raise InputError(f"{path!s:.300}: need {what}, there is no such file")


def need_fit(build: Callable[[], nn.Module], tensors: Mapping[str, Tensor], parts: int = 0) -> None:
    """Check that a network has the tensors that a file holds, before memory is taken for it.

    It is built without numbers first: a file of a few bytes may ask for any size.

    Args:
        build: makes the network.
        tensors: that the file holds, `[...]` by name.
        parts: of which the network says to have so many; each has a tensor at least.

    Raises:
        ValueError: names the tensor and both shapes.
    """
    if parts > len(tensors):
        raise ValueError(f"size mismatch: a network of {parts} layers, {len(tensors)} tensors")
    with torch.device("meta"):
        wanted = {name: tuple(x.shape) for name, x in build().state_dict().items()}
    for name in sorted({*wanted, *tensors}):
        stored = tuple(tensors[name].shape) if name in tensors else None
        if stored != wanted.get(name):
            raise ValueError(
                f"size mismatch: a network with {name} {wanted.get(name)}, it is stored as {stored}"
            )
