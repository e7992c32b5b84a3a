"""Triangle meshes: out of a lattice, into a lattice, and from and to files.

A mesh is a `trimesh.Trimesh`, counter-clockwise from outside, in the frame and units of what it
came from. Nothing here is differentiable.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TypeAlias

import igl
import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.atomic import one_line, read_bytes, write_bytes
from sdfrender.geometry.lattice import Lattice, Resolution, samples_per_axis
from sdfrender.geometry.trilinear import grid_points

StrPath: TypeAlias = str | os.PathLike[str]
Doubles: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]

EXTENSIONS = (".obj", ".ply", ".glb", ".stl", ".off")

# A mesh vertex keeps this far from the lattice vertices on its edge, as a fraction of the edge, so
# that no two mesh vertices meet where the lattice is zero.
SEPARATION = 1e-3

# ---------------------------------------------------------------------- from a lattice


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


# ---------------------------------------------------------------------- into a lattice


def mesh_to_lattice(
    mesh: trimesh.Trimesh,
    resolution: Resolution = 64,
    bounds: Tensor | Sequence[Sequence[float]] | None = None,
    padding: float = 0.1,
) -> Lattice:
    """Exact distances to a triangle mesh, in float32, signed by its generalised winding number.

    Inside is where `|w| > ½` (Jacobson et al. 2013; fast evaluation of Barill et al. 2018): right
    for a closed mesh whichever way it faces, and a sensible guess for one with holes, duplicate
    faces or self-intersections.

    Args:
        mesh: at least one triangle.
        resolution: samples along the longest side of the box, or along each axis.
        bounds: `[2, 3]` world box. Default: the mesh's box grown by `padding`.
        padding: margin on every side as a fraction of the longest side of the mesh.

    Raises:
        InputError: a mesh without triangles or with vertices that are not finite.
        ValueError: a box or resolution that a `Lattice` cannot have.
    """
    verts, faces = mesh_arrays(mesh)
    if bounds is None:
        box, axes = _box_around(verts[faces].reshape(-1, 3), resolution, padding)
    else:
        box = torch.as_tensor(bounds, dtype=torch.float64)
        if box.shape != (2, 3) or not bool((box[1] > box[0]).all()):
            raise ValueError(f"bounds: need [2, 3] with max > min on each axis, got {box.tolist()}")
        axes = samples_per_axis(resolution, box)
    box = box.float().double()  # as the lattice will store it
    grid = grid_points(axes, box)  # (X, Y, Z, 3)
    values = _signed_distances(verts, faces, grid.reshape(-1, 3).numpy())
    return Lattice(torch.from_numpy(values).reshape(grid.shape[:3]).float(), box)


def signed_distances(mesh: trimesh.Trimesh, points: Doubles) -> Doubles:
    """Exact distances `[P]` from `points` `[P, 3]` to a mesh, signed as `mesh_to_lattice` says.

    Raises:
        InputError: a mesh without triangles or with vertices that are not finite.
    """
    return _signed_distances(*mesh_arrays(mesh), points)


def inside_mesh(mesh: trimesh.Trimesh, points: Doubles) -> NDArray[np.bool_]:
    """Which of `points` `[P, 3]` are inside, `[P]`; inside is what `mesh_to_lattice` says.

    Raises:
        InputError: a mesh without triangles or with vertices that are not finite.
    """
    return _inside(*mesh_arrays(mesh), points)


def _inside(verts: Doubles, faces: Indices, points: Doubles) -> NDArray[np.bool_]:
    winding: Doubles = igl.fast_winding_number(verts, faces, points)
    return np.abs(winding) > 0.5


def _signed_distances(verts: Doubles, faces: Indices, points: Doubles) -> Doubles:
    squared, _, _ = igl.point_mesh_squared_distance(points, verts, faces)
    inside = _inside(verts, faces, points)
    signed: Doubles = np.where(inside, -1.0, 1.0) * np.sqrt(squared)
    return signed


def _box_around(
    points: Doubles, resolution: Resolution, padding: float
) -> tuple[Tensor, tuple[int, int, int]]:
    """A box around `points` `[P, 3]` with a margin, and the samples along its axes.

    With one number for `resolution` the box grows to whole cells, so that they are cubes.
    """
    low, high = points.min(0), points.max(0)
    margin = padding * float((high - low).max())
    low, high = low - margin, high + margin
    if not (high - low).max() > 0:
        raise InputError("mesh: need an extent, all its vertices are at one point")
    axes = samples_per_axis(resolution, torch.from_numpy(np.stack((low, high))))
    if isinstance(resolution, int):
        h = (high - low).max() / (resolution - 1)
        cells = np.ceil((high - low) / h - 1e-9).clip(min=1)
        center = (low + high) / 2
        low, high = center - cells * h / 2, center + cells * h / 2
        X, Y, Z = (int(n) + 1 for n in cells)
        axes = X, Y, Z
    return torch.from_numpy(np.stack((low, high))), axes


# ---------------------------------------------------------------------- files


def load_mesh(path: StrPath) -> trimesh.Trimesh:
    """Read the triangles of a mesh file; the parts of a scene are put together.

    Vertices that a format stores once per texture coordinate, normal or triangle are joined where
    their positions are equal, so that a closed surface is a closed mesh. Materials are not read.

    Args:
        path: `.obj`, `.ply`, `.glb`, `.stl` or `.off`.

    Raises:
        InputError: no such file, unknown extension, unreadable, no triangles, or vertices that are
            not finite.
    """
    path = Path(path)
    kind = _extension(path)
    data = read_bytes(path)
    try:
        scene = trimesh.load_scene(
            io.BytesIO(data), file_type=kind[1:], process=False, skip_materials=True
        )
        loaded = scene.to_mesh()
    except Exception as error:  # trimesh's readers raise whatever their parsing runs into
        raise InputError(f"{path}: not a readable {kind} mesh: {one_line(error)}") from None
    try:
        verts, faces = mesh_arrays(loaded)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    mesh = trimesh.Trimesh(*drop_unused(verts, faces), process=False)
    if not mesh.is_watertight:
        mesh = trimesh.Trimesh(*merge_exact(verts, faces), process=False)
    return mesh


def save_mesh(path: StrPath, mesh: trimesh.Trimesh) -> None:
    """Write a mesh's triangles; the extension chooses the format. A file is replaced whole.

    Coordinates are stored in float32 (`.ply`, `.glb`, `.stl`) or with 8 decimals or more (`.obj`,
    `.off`).

    Raises:
        InputError: unknown extension, missing folder, or a mesh without triangles.
    """
    path = Path(path)
    kind = _extension(path)
    verts, faces = mesh_arrays(mesh)
    data = trimesh.Trimesh(verts, faces, process=False).export(file_type=kind[1:])
    write_bytes(path, data.encode() if isinstance(data, str) else bytes(data))


def _extension(path: Path) -> str:
    if path.suffix.lower() not in EXTENSIONS:
        raise InputError(f"{path}: unknown extension {path.suffix!r}, need one of {[*EXTENSIONS]}")
    return path.suffix.lower()


# ---------------------------------------------------------------------- arrays


def mesh_arrays(mesh: trimesh.Trimesh) -> tuple[Doubles, Indices]:
    """Vertices `[V, 3]` and faces `[F, 3]`, as libigl wants them.

    Raises:
        InputError: no triangles, a face that names a missing vertex, or coordinates that are not
            finite.
    """
    verts = np.ascontiguousarray(mesh.vertices, dtype=np.float64)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int64)
    if len(faces) == 0:
        raise InputError("mesh: need at least one triangle, got none")
    if faces.min() < 0 or faces.max() >= len(verts):
        raise InputError(f"mesh: a face names vertex {faces.max()} of {len(verts)}")
    if not np.isfinite(verts).all():
        bad = int((~np.isfinite(verts)).any(1).argmax())
        raise InputError(f"mesh: need finite coordinates, vertex {bad} is {verts[bad].tolist()}")
    return verts, faces


def merge_exact(verts: Doubles, faces: Indices) -> tuple[Doubles, Indices]:
    """Join vertices at equal positions and drop the triangles that this makes degenerate."""
    unique, ids = np.unique(verts + 0.0, axis=0, return_inverse=True)  # + 0.0: -0.0 is 0.0
    faces = ids.reshape(-1)[faces]
    a, b, c = faces.T
    return drop_unused(unique, faces[(a != b) & (b != c) & (c != a)])


def drop_unused(verts: Doubles, faces: Indices) -> tuple[Doubles, Indices]:
    """The vertices that some triangle uses, in their order, and the triangles renumbered."""
    used, ids = np.unique(faces, return_inverse=True)
    return verts[used], ids.reshape(-1, 3)
