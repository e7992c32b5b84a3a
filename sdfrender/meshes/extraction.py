"""Triangle meshes out of lattices, by marching cubes, and the bodies they consist of.

A mesh is a `trimesh.Trimesh`, counter-clockwise from outside, in world units. Nothing here is
differentiable.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import numpy as np
import trimesh

from sdfrender.errors import InputError
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_files import Doubles, drop_unused, merge_exact, mesh_arrays

# A mesh vertex keeps this far from the lattice vertices on its edge, as a fraction of the edge, so
# that no two mesh vertices meet where the lattice is zero.
SEPARATION = 1e-3


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

    Worked value: `extract_mesh(Lattice.sphere(0.5)).volume` is 0.523 (a ball's is 0.5236), and the
    mesh of a lattice that is negative everywhere is its box.
    """
    if lattice.values.ndim != 3:
        raise ValueError(f"lattice: need a single one, got a batch of {lattice.batch}")
    phi = lattice.values.detach().double().cpu().numpy() - level
    if not (phi < 0).any():
        raise InputError(f"lattice: no surface, the smallest value {phi.min() + level:.4g} is not "
                         f"below the level {level:.4g}")  # fmt: skip
    bounds = lattice.bounds.double().cpu().numpy()
    closed = np.pad(_separated(phi), 1, constant_values=1.0)  # a layer outside, for the caps
    mesh = _marching_cubes(closed, bounds, "lewiner")
    if not mesh.is_watertight:
        # Lewiner's tables have a case that shares an edge between four triangles (once in three
        # million cells of noise); the classic tables have none, but follow φ less closely.
        mesh = _marching_cubes(closed, bounds, "lorensen")
    return mesh


def _separated(phi: Doubles) -> Doubles:
    """`phi` with its scale removed, and no value negligible across the surface; signs kept.

    A vertex is compared with its neighbours of the other sign only, so that what is far from the
    surface has no say in where it runs.
    """
    inside = phi < 0
    size: Doubles = np.maximum(np.abs(phi) / np.abs(phi).max(), SEPARATION**3)
    # A value that is raised raises its neighbours in turn, by the floor above three times at most.
    for _ in range(3):
        largest = size.copy()  # of a vertex and its neighbours across the surface
        for axis in range(3):
            here, there, solid = (np.moveaxis(x, axis, 0) for x in (size, largest, inside))
            across = solid[1:] != solid[:-1]
            np.maximum(there[1:], here[:-1], out=there[1:], where=across)
            np.maximum(there[:-1], here[1:], out=there[:-1], where=across)
        size = np.maximum(size, SEPARATION * largest)
    size[inside] *= -1
    return size


def _marching_cubes(closed: Doubles, bounds: Doubles, method: str) -> trimesh.Trimesh:
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
