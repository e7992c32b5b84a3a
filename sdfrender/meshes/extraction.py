"""Triangle meshes out of lattices, by marching cubes, and the bodies they consist of.

A mesh is a `trimesh.Trimesh`, counter-clockwise from outside, in world units. Nothing here is
differentiable.
"""

from __future__ import annotations

import io
import math
from contextlib import redirect_stdout
from typing import Any, TypeAlias

import numpy as np
import trimesh
from numpy.typing import NDArray

from sdfrender.errors import InputError
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_files import Doubles, drop_unused, merge_exact, mesh_arrays

# A mesh vertex keeps this far from the lattice vertices on its edge, as a fraction of the edge, so
# that no two mesh vertices meet where the lattice is zero.
SEPARATION = 1e-3
FLOOR = SEPARATION**3  # of values, as a fraction of the largest
LAYERS = 16  # of a lattice that are worked on together

Floats: TypeAlias = NDArray[np.floating[Any]]
Singles: TypeAlias = NDArray[np.float32]


def extract_mesh(lattice: Lattice, level: float = 0.0) -> trimesh.Trimesh:
    """The surface `φ = level` as triangles, by marching cubes (Lewiner et al. 2003).

    Always watertight: where the solid meets the box it is closed by a cap on the face of the box.
    Vertices lie on the edges of the lattice, where linear interpolation puts them, but at least
    `SEPARATION` of an edge away from its ends: a surface through lattice vertices would otherwise
    have coincident vertices, and lose its topology when a file is read back.

    Args:
        lattice: one lattice; any box and spacing.
        level: world units; a positive level gives an offset surface farther out.

    Returns:
        A closed mesh in world units with positive volume. It can have several bodies: see
        `keep_bodies`.

    Raises:
        ValueError: a batch of lattices.
        InputError: nothing is below `level`, so there is no surface.

    The mesh of a lattice that is negative everywhere is its box.

    Example: the volume of a ball, which is 0.5236.

    >>> import sdfrender as sr
    >>> mesh = sr.extract_mesh(sr.Lattice.sphere(0.5))
    >>> round(float(mesh.volume), 2), bool(mesh.is_watertight)
    (0.52, True)
    """
    if lattice.values.ndim != 3:
        raise ValueError(f"lattice: need a single one, got a batch of {lattice.batch}")
    values = lattice.values.detach().cpu().numpy()
    if not float(values.min()) < level:
        raise InputError(f"lattice: no surface, the smallest value {values.min():.4g} is not "
                         f"below the level {level:.4g}")  # fmt: skip
    bounds = lattice.bounds.double().cpu().numpy()
    closed = _closed(values, level)
    mesh = _marching_cubes(closed, bounds, "lewiner")
    if not mesh.is_watertight:
        # Lewiner's tables have a case that shares an edge between four triangles (once in three
        # million cells of noise); the classic tables have none, but follow φ less closely.
        mesh = _marching_cubes(closed, bounds, "lorensen")
    return mesh


def _closed(values: Floats, level: float) -> Singles:
    """`φ − level` without its scale, and a layer outside of it for the caps: `[X+2, Y+2, Z+2]`.

    Signs are kept, and no value is negligible beside those across the surface from it: see
    `_separated`. Work in double precision goes a few layers at a time, and where the surface is.
    """
    inside = np.zeros(values.shape, bool)
    closed = np.ones(np.add(values.shape, 2), np.float32)
    inner = closed[1:-1, 1:-1, 1:-1]
    scale = max(abs(float(values.min()) - level), abs(float(values.max()) - level))
    for layers in range(0, len(values), LAYERS):
        part = slice(layers, layers + LAYERS)
        phi = values[part].astype(np.float64) - level
        inside[part] = phi < 0
        size = np.maximum(np.abs(phi) / scale, FLOOR)
        inner[part] = np.where(inside[part], -size, size)
    ends = [_across(inside, axis) for axis in range(3)]
    here, there = (np.concatenate(x) for x in zip(*ends, strict=True))
    vertices, at = np.unique(np.concatenate((here, there)), return_inverse=True)
    places = np.unravel_index(vertices, values.shape)
    size = np.maximum(np.abs(values[places].astype(np.float64) - level) / scale, FLOOR)
    size = _separated(size, *np.split(at, 2))
    inner[places] = np.where(inside[places], -size, size)
    return closed


def _across(inside: NDArray[np.bool_], axis: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Flat indices of both ends of the edges along an axis that cross the surface: `[E]` each."""
    moved = np.moveaxis(inside, axis, 0)
    before = np.zeros(inside.shape, bool)
    np.not_equal(moved[1:], moved[:-1], out=np.moveaxis(before, axis, 0)[:-1])
    here = np.flatnonzero(before)
    return here, here + math.prod(inside.shape[axis + 1 :])


def _separated(size: Doubles, here: NDArray[np.intp], there: NDArray[np.intp]) -> Doubles:
    """Sizes `[V]` of φ of which none is negligible beside those across an edge from it.

    A vertex is compared with its neighbours of the other sign only, so that what is far from the
    surface has no say in where it runs. `here` and `there` `[E]` are the ends of such edges.
    """
    # A value that is raised raises its neighbours in turn, by the floor above three times at most.
    for _ in range(3):
        largest = size.copy()  # of a vertex and its neighbours across the surface
        np.maximum.at(largest, here, size[there])
        np.maximum.at(largest, there, size[here])
        size = np.maximum(size, SEPARATION * largest)
    return size


def _marching_cubes(closed: Singles, bounds: Doubles, method: str) -> trimesh.Trimesh:
    """Mesh the padded lattice, and put the caps onto the faces of the box."""
    from skimage.measure import marching_cubes

    with redirect_stdout(io.StringIO()):  # it prints when rounding defeats its test of a case
        index, faces, _, _ = marching_cubes(  # type: ignore[no-untyped-call]
            closed, 0.0, method=method
        )
    last = np.array(closed.shape) - 3  # of the lattice without its padding
    f = np.clip(index.astype(np.float64) - 1, 0, last) / last
    verts = bounds[0] * (1 - f) + bounds[1] * f  # exact at both ends
    # Caps that meet along an edge of the box now have their vertices there twice.
    verts, faces = merge_exact(verts, faces)
    return trimesh.Trimesh(verts, faces, process=False)


def keep_bodies(mesh: trimesh.Trimesh, fraction: float = 0.01) -> trimesh.Trimesh:
    """The connected bodies with at least `fraction` of the largest body's area.

    1.0 keeps the largest one. Cavities are bodies too.

    Raises:
        ValueError: `fraction` is not in [0, 1].
        InputError: a mesh without triangles.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction: need a number in [0, 1], got {fraction}")
    mesh_arrays(mesh)  # for its checks
    labels = trimesh.graph.connected_component_labels(  # type: ignore[no-untyped-call]
        mesh.face_adjacency, len(mesh.faces)
    )
    areas = np.bincount(labels, weights=mesh.area_faces)
    kept = mesh.faces[(areas >= fraction * areas.max())[labels]]
    verts, faces = drop_unused(mesh.vertices, kept)
    return trimesh.Trimesh(verts, faces, process=False)
