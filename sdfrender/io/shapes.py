"""Shapes from files, whichever kind they are: lattices and meshes."""

from __future__ import annotations

from pathlib import Path

import trimesh

from sdfrender.errors import InputError
from sdfrender.files.extensions import check_extension, is_lattice
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.io.lattices import load_lattice
from sdfrender.meshes.extraction import extract_mesh


def load_shape(path: Path) -> Lattice | trimesh.Trimesh:
    """Read a lattice or a mesh, by the extension.

    Raises:
        InputError: no such file, an extension of neither, or bad contents.
    """
    check_extension(path)
    return load_lattice(path) if is_lattice(path) else load_mesh(path)


def load_surface(path: Path) -> trimesh.Trimesh:
    """Read a mesh, or the surface of a lattice."""
    return surface(load_shape(path), path)


def surface(shape: Lattice | trimesh.Trimesh, path: Path, level: float = 0.0) -> trimesh.Trimesh:
    """The mesh of a shape that came from `path`.

    Raises:
        InputError: a batch of lattices, or a lattice with nothing below `level`.
    """
    if not isinstance(shape, Lattice):
        return shape
    try:
        return extract_mesh(shape, level)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
