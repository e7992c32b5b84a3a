"""Which files hold shapes or pictures, told by their extensions."""

from __future__ import annotations

from pathlib import Path

from sdfrender.errors import InputError

MESHES = (".obj", ".ply", ".glb", ".stl", ".off")
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif", ".bmp", ".exr", ".heic",
          ".heif")  # fmt: skip
LATTICES = (".safetensors", ".npz", ".sdf")


def is_lattice(path: Path) -> bool:
    """Whether the extension is a lattice's."""
    return path.suffix.lower() in LATTICES


def check_extension(path: Path, known: tuple[str, ...] = (*MESHES, *LATTICES)) -> None:
    """Refuse a file of another kind, by default one of no shape, before any work is done."""
    if path.suffix.lower() not in known:
        raise InputError(f"{path}: unknown extension {path.suffix!r}, need one of {[*known]}")
