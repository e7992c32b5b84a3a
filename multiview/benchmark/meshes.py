"""The meshes of a benchmark: files, or all in a folder; and what their surfaces are like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trimesh

from sdfrender import InputError
from sdfrender.files.extensions import MESHES, check_extension


def find_meshes(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by name, in the order asked for; those of a folder by their paths.

    Args:
        paths: mesh files, or folders to search for them at any depth.

    Returns:
        Each file under its stem, or where stems are not unique under its path from the folder
        that was searched, with dashes for slashes.

    Raises:
        InputError: a path that does not exist, a file of another kind, a folder without meshes, or
            a mesh that is named twice.
    """
    if not paths:
        raise InputError("MESHES: need at least one mesh or folder, got none")
    found = [pair for path in paths for pair in _meshes_at(path)]
    times = Counter(file.resolve() for file, _ in found)
    for file, count in times.items():
        if count > 1:
            raise InputError(f"MESHES: need each mesh once, {file} is there {count} times")
    stems = Counter(file.stem for file, _ in found)
    names = [file.stem if stems[file.stem] == 1 else long for file, long in found]
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"MESHES: need different names, {count} files would be '{name}'")
    return {name: file for name, (file, _) in zip(names, found, strict=True)}


def _meshes_at(path: Path) -> list[tuple[Path, str]]:
    """Mesh files, each with its long name."""
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in MESHES and f.is_file())
        if not files:
            raise InputError(f"{path}: need a folder with {' '.join(MESHES)} files, it has none")
        return [(file, "-".join(file.relative_to(path).with_suffix("").parts)) for file in files]
    if not path.is_file():
        raise InputError(f"{path}: need a mesh or a folder of meshes, there is no such file")
    check_extension(path, MESHES)
    return [(path, f"{path.parent.name}-{path.stem}")]


@dataclass(frozen=True)
class Topology:
    """What a surface is like, whatever its shape.

    Args:
        watertight: each edge has two triangles.
        bodies: connected parts; cavities are parts too.
        euler_number: vertices − edges + faces.
        genus: handles of all bodies together, `bodies − euler_number / 2`; None unless watertight.
    """

    watertight: bool
    bodies: int
    euler_number: int
    genus: int | None

    @classmethod
    def of(cls, mesh: trimesh.Trimesh) -> Topology:
        """Look at a mesh."""
        bodies, euler = int(mesh.body_count), int(mesh.euler_number)
        watertight = bool(mesh.is_watertight)
        return cls(watertight, bodies, euler, bodies - euler // 2 if watertight else None)
