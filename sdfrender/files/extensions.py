"""Which files hold shapes, told by their extensions."""

from __future__ import annotations

from pathlib import Path

from sdfrender.errors import InputError

MESHES = (".obj", ".ply", ".glb", ".stl", ".off")
LATTICES = (".safetensors", ".npz", ".sdf")


def is_lattice(path: Path) -> bool:
    """Whether the extension is a lattice's."""
    return path.suffix.lower() in LATTICES


def check_extension(path: Path) -> None:
    """Refuse a file that is neither a mesh nor a lattice, before any work is done."""
    known = (*MESHES, *LATTICES)
    if path.suffix.lower() not in known:
        raise InputError(f"{path}: unknown extension {path.suffix!r}, need one of {[*known]}")
