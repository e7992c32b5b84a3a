"""Triangle meshes from and to files, and as arrays.

A mesh is a `trimesh.Trimesh`, counter-clockwise from outside, in the frame and units of what it
came from. Nothing here is differentiable.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import trimesh
from numpy.typing import NDArray

from sdfrender.errors import InputError
from sdfrender.far import far_offset, is_far
from sdfrender.files.atomic import read_bytes, write_bytes
from sdfrender.files.expect import readable
from sdfrender.files.extensions import MESHES, check_extension
from sdfrender.geometry.formats.glb import read_glb
from sdfrender.geometry.formats.obj import read_obj
from sdfrender.geometry.formats.off import read_off
from sdfrender.geometry.formats.ply import read_ply, read_ply_points
from sdfrender.geometry.formats.polygons import Doubles as Doubles
from sdfrender.geometry.formats.polygons import Indices as Indices
from sdfrender.geometry.formats.polygons import Polygons
from sdfrender.geometry.formats.stl import read_stl
from sdfrender.magnitude import LARGEST, usable_array

log = logging.getLogger("sdfrender")

StrPath: TypeAlias = str | os.PathLike[str]

READERS: dict[str, Callable[[bytes], Polygons]] = {
    ".obj": read_obj,
    ".ply": read_ply,
    ".glb": read_glb,
    ".stl": read_stl,
    ".off": read_off,
}


TEXTS = (".obj", ".off", ".ply")  # .stl may begin with anything
NOT_MESHES = {
    b"\x1f\x8b": "it is compressed with gzip: unpack it first",
    b"PK\x03\x04": "it is a zip archive: unpack it first",
    b"version https://git-lfs": "it is a Git LFS pointer: fetch the file itself (git lfs pull)",
    b"<!DOCTYPE html": "it is a web page",
    b"<html": "it is a web page",
}


def load_mesh(path: StrPath) -> trimesh.Trimesh:
    """Read the triangles of a mesh file; the parts of a scene are put together.

    Vertices that a format stores once per texture coordinate, normal or triangle are joined where
    their positions are equal, so that a closed surface is a closed mesh. Polygons become triangles.
    Vertices that no polygon uses are dropped, materials are not read. What else a file has that is
    not read is told to the logger `sdfrender`.

    Args:
        path: `.obj`, `.ply`, `.glb`, `.stl` or `.off`.

    Raises:
        InputError: no such file, unknown extension, unreadable, no triangles, or vertices that are
            not finite.
    """
    path = Path(path)
    kind = _extension(path)
    data = read_bytes(path)
    for start, what in NOT_MESHES.items():
        if data.startswith(start):
            raise InputError(f"{path}: need a {kind} mesh, {what}")
    with readable(path, f"{kind} mesh"):
        if kind in TEXTS and data.startswith((b"\xff\xfe", b"\xfe\xff")):  # of Windows
            data = data.decode("utf-16").encode()
        polygons = READERS[kind](data)
        faces = polygons.triangles()
    for note in polygons.notes:
        log.warning("%s: %s", path, note)
    try:
        verts, faces = checked_arrays(*drop_unused(polygons.verts, faces))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    mesh = trimesh.Trimesh(verts, faces, process=False)
    if not mesh.is_watertight:
        mesh = trimesh.Trimesh(*merge_exact(verts, faces), process=False)
    if not len(mesh.faces):
        raise InputError(f"{path}: mesh: need a surface, all its triangles are without area")
    return mesh


def load_points(path: Path) -> Doubles | None:
    """The points `[N, 3]` of a `.ply` file without polygons; None of a mesh.

    Raises:
        InputError: no such file, unreadable, or coordinates that are not finite.
    """
    if _extension(path) != ".ply":
        return None
    data = read_bytes(path)
    with readable(path, ".ply file"):
        points = read_ply_points(data)
        if points is not None and not usable_array(points):
            raise ValueError(f"need finite coordinates of at most {LARGEST:g}")
    return points


def save_mesh(path: StrPath, mesh: trimesh.Trimesh) -> None:
    """Write a mesh's triangles; the extension chooses the format. A file is replaced whole.

    Coordinates are stored in float32 (`.ply`, `.glb`, `.stl`) or with 8 decimals or more (`.obj`,
    `.off`). Far from the origin, where float32 does not hold them (`sdfrender.far`), `.ply` has
    doubles, `.stl` is text with all digits, and `.glb`, which knows nothing but float32, has them
    about an offset that the mesh's node adds.

    Raises:
        InputError: unknown extension, missing folder, or a mesh without triangles.
    """
    path = Path(path)
    kind = _extension(path)
    verts, faces = mesh_arrays(mesh)
    plain = trimesh.Trimesh(verts, faces, process=False)
    if kind == ".ply":
        write_bytes(path, ply_bytes(verts, faces))
        return
    whole: trimesh.Trimesh | trimesh.Scene = placed_scene(plain) if kind == ".glb" else plain
    text = kind == ".stl" and is_far(verts)
    data = whole.export(file_type="stl_ascii" if text else kind[1:])
    write_bytes(path, data.encode() if isinstance(data, str) else bytes(data))


def ply_bytes(verts: Doubles, faces: Indices, colors: NDArray[np.uint8] | None = None) -> bytes:
    """A mesh as the contents of a binary `.ply` file; positions in double if they are far.

    Args:
        verts: `[V, 3]`.
        faces: `[F, 3]`.
        colors: `[V, 3]` of the vertices.
    """
    if not is_far(verts):
        plain = trimesh.Trimesh(verts, faces, vertex_colors=colors, process=False)
        data: bytes = trimesh.exchange.ply.export_ply(plain)
        return data
    channels = () if colors is None else ("red", "green", "blue", "alpha")
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(verts)}",
        *(f"property double {axis}" for axis in "xyz"),
        *(f"property uchar {channel}" for channel in channels),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
        "",
    ]
    points = np.zeros(len(verts), [("position", "<f8", 3), ("color", "u1", (len(channels),))])
    points["position"] = verts
    if colors is not None:
        points["color"] = np.pad(colors, ((0, 0), (0, 1)), constant_values=255)
    corners = np.zeros(len(faces), [("count", "u1"), ("vertices", "<i4", 3)])
    corners["count"], corners["vertices"] = 3, faces
    return "\n".join(header).encode("ascii") + points.tobytes() + corners.tobytes()


def placed_scene(mesh: trimesh.Trimesh) -> trimesh.Scene:
    """A scene of one mesh whose vertices are near the origin, moved back by its node if need be."""
    offset = far_offset(np.asarray(mesh.vertices, np.float64))
    if not offset.any():
        return trimesh.Scene(mesh)
    near = mesh.copy()
    near.apply_translation(-offset)
    place = np.eye(4)
    place[:3, 3] = offset
    scene = trimesh.Scene()
    scene.add_geometry(near, transform=place)
    return scene


def _extension(path: Path) -> str:
    check_extension(path, MESHES)
    return path.suffix.lower()


# ---------------------------------------------------------------------- arrays


def mesh_arrays(mesh: trimesh.Trimesh) -> tuple[Doubles, Indices]:
    """Vertices `[V, 3]` and faces `[F, 3]`, as libigl wants them.

    Raises:
        InputError: no triangles, a face that names a missing vertex, or coordinates that are not
            finite or too large to be squared in float32.
    """
    return checked_arrays(mesh.vertices, mesh.faces)


def checked_arrays(vertices: NDArray[Any], triangles: NDArray[Any]) -> tuple[Doubles, Indices]:
    """Vertices `[V, 3]` and faces `[F, 3]` in double and long, checked as `mesh_arrays` says."""
    verts = np.ascontiguousarray(vertices, dtype=np.float64)
    faces = np.ascontiguousarray(triangles, dtype=np.int64)
    if len(faces) == 0:
        raise InputError("mesh: need at least one triangle, got none")
    if faces.min() < 0 or faces.max() >= len(verts):
        raise InputError(f"mesh: a face names vertex {faces.max()} of {len(verts)}")
    if not usable_array(verts):
        bad = int((~(np.abs(verts) <= LARGEST)).any(1).argmax())
        raise InputError(
            f"mesh: need finite coordinates of at most {LARGEST:g}, vertex {bad} is "
            f"{verts[bad].tolist()}"
        )
    return verts, faces


def merge_exact(verts: Doubles, faces: Indices) -> tuple[Doubles, Indices]:
    """Join vertices `[V, 3]` at equal positions; drop triangles `[F, 3]` that this degenerates."""
    unique, ids = np.unique(verts + 0.0, axis=0, return_inverse=True)  # + 0.0: -0.0 is 0.0
    faces = ids.reshape(-1)[faces]
    return drop_unused(unique, without_slivers(faces))


def without_slivers(faces: Indices) -> Indices:
    """Triangles `[F, 3]` but for those that name a vertex twice."""
    a, b, c = faces.T
    kept: Indices = faces[(a != b) & (b != c) & (c != a)]
    return kept


def drop_unused(verts: Doubles, faces: Indices) -> tuple[Doubles, Indices]:
    """Those of vertices `[V, 3]` that some triangle uses, in order, and `[F, 3]` renumbered."""
    used = np.zeros(len(verts), bool)
    used[faces] = True
    return verts[used], (np.cumsum(used) - 1)[faces]
