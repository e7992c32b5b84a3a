"""Triangle meshes out of lattices, by marching cubes, and the bodies they consist of.

A mesh is a `trimesh.Trimesh`, counter-clockwise from outside, in world units. Nothing here is
differentiable.
"""

from __future__ import annotations

import io
import math
from contextlib import redirect_stdout

import numpy as np
import torch
import trimesh

from sdfrender.errors import InputError
from sdfrender.geometry.blocks import SIDE, extremes
from sdfrender.geometry.mesh_files import (
    Doubles,
    Indices,
    drop_unused,
    mesh_arrays,
    without_slivers,
)
from sdfrender.geometry.sparse.blocked import Stored
from sdfrender.geometry.sparse.lattice import AnyLattice, SparseLattice
from sdfrender.meshes.tiles import CORNERS, Tiles, tiles_around

TOGETHER = 16**3  # tiles that are meshed in one volume


def extract_mesh(lattice: AnyLattice, level: float = 0.0) -> trimesh.Trimesh:
    """The surface `φ = level` as triangles, by marching cubes (Lewiner et al. 2003).

    Always watertight: where the solid meets the box it is closed by a cap on the face of the box.
    Vertices lie on the edges of the lattice, where linear interpolation puts them, but at least
    `SEPARATION` of an edge away from its ends: a surface through lattice vertices would otherwise
    have coincident vertices, and lose its topology when a file is read back.

    Args:
        lattice: one lattice; any box and spacing. A `SparseLattice` is meshed in its blocks.
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
    if lattice.batched:
        raise ValueError(f"lattice: need a single one, got a batch of {lattice.batch}")
    values: Stored
    if isinstance(lattice, SparseLattice):
        values = lattice.blocked()
    else:
        wide = torch.float64 if lattice.values.dtype == torch.float64 else torch.float32
        values = lattice.values.detach().to("cpu", wide).contiguous().numpy()
    tiles = tiles_around(values, level)
    if tiles is None:
        lowest = extremes(values)[0].min()
        raise InputError(f"lattice: no surface, the smallest value {lowest:.4g} is not below the "
                         f"level {level:.4g}")  # fmt: skip
    bounds = lattice.bounds.double().cpu().numpy()
    mesh = _marching_cubes(tiles, values.shape, bounds, "lewiner")
    if not mesh.is_watertight:
        # Lewiner's tables have a case that shares an edge between four triangles (once in three
        # million cells of noise); the classic tables have none, but follow φ less closely.
        mesh = _marching_cubes(tiles, values.shape, bounds, "lorensen")
    return mesh


def _marching_cubes(
    tiles: Tiles, shape: tuple[int, ...], bounds: Doubles, method: str
) -> trimesh.Trimesh:
    """Mesh the tiles of a lattice, join the meshes, and put the caps onto the faces of the box."""
    index, faces = _joined(*_meshed(tiles, method), shape)
    last = np.array(shape) - 1
    f = np.clip(index - 1, 0, last) / last
    verts = bounds[0] * (1 - f) + bounds[1] * f  # exact at both ends
    # Caps that meet along an edge of the box now have their vertices there twice.
    on_box = np.flatnonzero(((f == 0) | (f == 1)).any(1))
    if len(on_box):
        _, first, ids = np.unique(verts[on_box], axis=0, return_index=True, return_inverse=True)
        same = np.arange(len(verts))
        same[on_box] = on_box[first[ids.reshape(-1)]]
        verts, faces = drop_unused(verts, without_slivers(same[faces]))
    return trimesh.Trimesh(verts, faces, process=False)


def _meshed(tiles: Tiles, method: str) -> tuple[Doubles, Indices]:
    """Marching cubes on each tile: many side by side in one volume, with a cell between them.

    Returns:
        Vertices `[V, 3]` in padded indices, of which those on the sides of tiles come twice or
        more, and triangles `[F, 3]`.
    """
    from skimage.measure import marching_cubes

    parts: list[tuple[Doubles, Indices]] = []
    count = 0
    for start in range(0, len(tiles.places), TOGETHER):
        some = tiles.values[start : start + TOGETHER]
        side = math.ceil(round(len(some) ** (1 / 3), 9))
        wide = np.ones((side**3, *some.shape[1:]), np.float32)
        wide[: len(some)] = some
        inner = np.zeros((side, CORNERS) * 3, bool)
        inner[:, 1:, :, 1:, :, 1:] = True  # cells by their last vertex
        volume = wide.reshape(side, side, side, CORNERS, CORNERS, CORNERS)
        volume = volume.transpose(0, 3, 1, 4, 2, 5).reshape([side * CORNERS] * 3)
        with redirect_stdout(io.StringIO()):  # it prints when rounding defeats its test of a case
            verts, faces, _, _ = marching_cubes(  # type: ignore[no-untyped-call]
                volume, 0.0, method=method, mask=inner.reshape(volume.shape)
            )
        tile = verts.astype(np.int64) // CORNERS
        first = SIDE * tiles.places[start + np.ravel_multi_index(tuple(tile.T), (side,) * 3)]
        parts.append((first + (verts - CORNERS * tile.astype(np.float64)), faces + count))
        count += len(verts)
    verts, faces = (np.concatenate(each) for each in zip(*parts, strict=True))
    return verts, faces


def _joined(verts: Doubles, faces: Indices, shape: tuple[int, ...]) -> tuple[Doubles, Indices]:
    """Join vertices `[V, 3]`, in padded indices, of the same edge, or in the middle of one cell."""
    lower = np.floor(verts)
    between = verts != lower
    # 0 to 2: on an edge along that axis; 3: in the middle; 4: at a vertex, of a cap
    kind = np.array([4, 0, 3, 3])[between.sum(1)]
    kind[kind == 0] = between.argmax(1)[kind == 0]
    place = np.ravel_multi_index(tuple(lower.astype(np.int64).T), tuple(n + 2 for n in shape))
    _, first, ids = np.unique(5 * place + kind, return_index=True, return_inverse=True)
    return verts[first], ids[faces]


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
