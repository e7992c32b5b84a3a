"""GLB, the binary form of glTF 2.0: triangles of all meshes of the scene, put in their places.

Read are triangles, strips and fans with positions of any component type, node transforms and the
default weights of morph targets. Materials, cameras and animations are not; what changes the shape
and is not known, as Draco compression, skins and instances, is refused or told.

https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdfrender.geometry.formats.glb_accessors import Gltf, Table, numbers
from sdfrender.geometry.formats.polygons import Doubles, Indices, Polygons
from sdfrender.geometry.formats.strips import fan_triangles, strip_triangles

POINTS_AND_LINES, TRIANGLES, STRIP, FAN = (0, 1, 2, 3), 4, 5, 6
# Extensions without which the shape is another one.
REFUSED = {
    "KHR_draco_mesh_compression": "it is compressed with Draco: export it without compression",
    "EXT_meshopt_compression": "it is compressed with meshopt: export it without compression",
    "EXT_mesh_gpu_instancing": "it has instances of meshes (EXT_mesh_gpu_instancing): make them "
    "real before export",
}


def read_glb(data: bytes) -> Polygons:
    """The triangles of a GLB file, in the frame of its scene.

    Raises:
        ValueError: damaged, of another version, compressed, with data in other files, or with nodes
            that are their own children.
    """
    gltf = Gltf(data)
    required = gltf.tables.get("extensionsRequired", [])
    for name in required if isinstance(required, list) else []:
        if name in REFUSED:
            raise ValueError(REFUSED[name])
    notes: list[str] = []
    verts, faces, count = [np.zeros((0, 3))], [np.zeros((0, 3), np.int64)], 0
    for node, place in _placed(gltf):
        if "EXT_mesh_gpu_instancing" in node.get("extensions", {}):
            raise ValueError(REFUSED["EXT_mesh_gpu_instancing"])
        if node.get("mesh") is None:
            continue
        if node.get("skin") is not None:
            notes.append("its skins are not read: the shape is the one that they move")
        for points, triangles in _primitives(gltf, node, notes):
            with np.errstate(all="ignore"):  # what is not finite is refused later, if it is used
                moved = points @ place[:3, :3].T + place[:3, 3]
            if np.linalg.det(place[:3, :3]) < 0:  # a mirror image faces the other way
                triangles = triangles[:, ::-1]
            verts.append(moved)
            faces.append(triangles + count)
            count += len(points)
    unique = list(dict.fromkeys(notes))
    return Polygons.of_triangles(np.concatenate(verts), np.concatenate(faces), unique)


def _placed(gltf: Gltf) -> list[tuple[Table, Doubles]]:
    """The nodes of the scene, each with its `[4, 4]` transform to the world."""
    nodes = gltf.entries("nodes")
    scenes = gltf.entries("scenes")
    if scenes:
        roots = _children(gltf.entry("scenes", gltf.tables.get("scene", 0)), "nodes")
    else:
        below = {child for node in nodes for child in _children(node, "children")}
        roots = [n for n in range(len(nodes)) if n not in below]
    found, seen = [], set[int]()
    waiting = [(root, np.eye(4)) for root in roots]
    while waiting:
        number, above = waiting.pop()
        node = gltf.entry("nodes", number)
        if number in seen:
            raise ValueError(f"node {number} has more than one parent")
        seen.add(number)
        place = above @ _transform(node)
        found.append((node, place))
        waiting += [(child, place) for child in _children(node, "children")[::-1]]
    return found


def _children(table: Table, key: str) -> list[int]:
    numbers_ = table.get(key, [])
    if not isinstance(numbers_, list) or not all(type(n) is int for n in numbers_):
        raise ValueError(f"need a list of whole numbers as '{key}'")
    return numbers_


def _transform(node: Table) -> Doubles:
    """`[4, 4]` from a matrix, column by column, or translation, rotation and scale."""
    if node.get("matrix") is not None:
        return numbers(node, "matrix", 16, []).reshape(4, 4).T
    x, y, z, w = numbers(node, "rotation", 4, [0, 0, 0, 1])
    length = x * x + y * y + z * z + w * w
    if not 0 < length < np.inf:
        raise ValueError("need a unit quaternion as 'rotation'")
    s = 2 / length
    R = np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
            [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
            [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
        ]
    )
    place = np.eye(4)
    place[:3, :3] = R * numbers(node, "scale", 3, [1, 1, 1])
    place[:3, 3] = numbers(node, "translation", 3, [0, 0, 0])
    return place


def _primitives(gltf: Gltf, node: Table, notes: list[str]) -> list[tuple[Doubles, Indices]]:
    """Vertices `[V, 3]` and triangles `[F, 3]` of each part of a node's mesh."""
    mesh = gltf.entry("meshes", node["mesh"])
    parts = mesh.get("primitives")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise ValueError("need a list 'primitives' in each mesh")
    found = []
    for part in parts:
        if "KHR_draco_mesh_compression" in part.get("extensions", {}):
            raise ValueError(REFUSED["KHR_draco_mesh_compression"])
        mode = part.get("mode", TRIANGLES)
        if mode in POINTS_AND_LINES:
            notes.append("its points and lines are not read")
            continue
        attributes = part.get("attributes")
        if not isinstance(attributes, dict) or attributes.get("POSITION") is None:
            raise ValueError("need a POSITION in each primitive")
        points = _vectors(gltf.array(attributes["POSITION"]))
        for weight, target in _targets(mesh, node, part):
            moved = _vectors(gltf.array(target))
            if moved.shape != points.shape:
                raise ValueError("need as many moves in a morph target as vertices")
            points = points + weight * moved
        corners = np.arange(len(points))
        if part.get("indices") is not None:
            corners = gltf.array(part["indices"])
            if corners.ndim != 1 or corners.dtype.kind not in "iu":
                raise ValueError("need whole numbers as indices")
            corners = corners.astype(np.int64)
        found.append((points, _triangles(mode, corners, len(points))))
    return found


def _targets(mesh: Table, node: Table, part: Table) -> list[tuple[float, object]]:
    """The morph targets that move positions by default, and how much."""
    targets = part.get("targets", [])
    weights = node.get("weights", mesh.get("weights", []))
    if not isinstance(targets, list) or not isinstance(weights, list):
        raise ValueError("need lists as 'targets' and 'weights'")
    found = []
    for weight, target in zip(weights, targets, strict=False):
        if not isinstance(weight, int | float) or not isinstance(target, dict):
            raise ValueError("need numbers as 'weights' and objects as 'targets'")
        if weight and target.get("POSITION") is not None:
            found.append((float(weight), target["POSITION"]))
    return found


def _triangles(mode: object, corners: Indices, vertices: int) -> Indices:
    if len(corners) and not 0 <= int(corners.min()) <= int(corners.max()) < vertices:
        raise ValueError(f"a face names vertex {corners.max()} of {vertices}, counted from 0")
    if mode == TRIANGLES:
        if len(corners) % 3:
            raise ValueError(f"need three indices a triangle, got {len(corners)}")
        return corners.reshape(-1, 3)
    if mode == STRIP:
        return strip_triangles(corners, np.array([len(corners)]))
    if mode == FAN:
        return fan_triangles(corners) if len(corners) > 2 else np.zeros((0, 3), np.int64)
    raise ValueError(f"need a mode of 0 to 6 in each primitive, got {str(mode)[:20]}")


def _vectors(values: NDArray[np.generic]) -> Doubles:
    if values.ndim != 2 or values.shape[1] != 3:
        raise ValueError("need positions of three numbers")
    return values.astype(np.float64)
