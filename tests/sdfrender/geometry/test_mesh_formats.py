"""Mesh files as other programs write them: polygons, index forms, strips, wrong heads."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import math
import struct
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings

from sdfrender.errors import InputError
from sdfrender.geometry.formats.polygons import Polygons
from sdfrender.geometry.formats.strips import fan_triangles, strip_triangles
from sdfrender.geometry.mesh_files import load_mesh, save_mesh

# A block with an L as its base: two concave hexagons and six quads.
L_SHAPE = np.array([[0, 0], [2, 0], [2, 1], [1, 1], [1, 3], [0, 3]], float)
L_VERTS = np.concatenate([np.c_[L_SHAPE, np.full(6, z)] for z in (0.0, 0.5)])
L_FACES = [[5, 4, 3, 2, 1, 0], [6, 7, 8, 9, 10, 11]]
L_FACES += [[i, (i + 1) % 6, (i + 1) % 6 + 6, i + 6] for i in range(6)]
L_VOLUME = 4 * 0.5

TETRA = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
TETRA_FACES = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]


def read(tmp_path: Path, name: str, data: bytes | str) -> trimesh.Trimesh:
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return load_mesh(path)


def assert_solid(mesh: trimesh.Trimesh, volume: float) -> None:
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(volume, rel=1e-6)


def obj_text(verts: np.ndarray, faces: list[list[int]], v: str = "v ", f: str = "f ") -> str:
    lines = [v + " ".join(map(str, row)) for row in verts.tolist()]
    return "\n".join([*lines, *(f + " ".join(str(i + 1) for i in face) for face in faces)]) + "\n"


# ---------------------------------------------------------------------- polygons


def area(points: np.ndarray) -> float:
    x, y = points.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def triangle_areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    return np.array([area(points[t]) for t in triangles])


@settings(max_examples=150, deadline=None)
@given(n=st.integers(5, 40), seed=st.integers(0, 10**6), hole=st.booleans(), tilt=st.integers(0, 5))
def test_any_simple_polygon_is_covered_once(n: int, seed: int, hole: bool, tilt: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * math.pi, n))
    angles = (angles + np.arange(n) * 1e-3) * (2 * math.pi / (2 * math.pi + n * 1e-3))
    radii = rng.uniform(0.5, 3, n)
    points = np.c_[radii * np.cos(angles), radii * np.sin(angles)]
    if np.diff(np.append(angles, angles[0] + 2 * math.pi)).max() > 0.9 * math.pi:
        return  # does not go around the origin
    if hole:  # a cut from the first corner to a small hole around the origin and back
        k = 5
        around = angles[0] - np.arange(k) * 2 * math.pi / k
        inner = 0.1 * np.c_[np.cos(around), np.sin(around)]
        points = np.concatenate((points[:1], inner, inner[:1], points))
    axes = np.linalg.qr(np.random.default_rng(tilt).standard_normal((3, 3)))[0]
    verts = np.c_[points, np.zeros(len(points))] @ axes.T + 5
    read = Polygons(verts, np.arange(len(verts)), np.array([len(verts)]))
    triangles = read.triangles()
    areas = triangle_areas(points, triangles)
    assert len(triangles) == len(points) - 2
    assert areas.min() >= -1e-9
    assert areas.sum() == pytest.approx(area(points), rel=1e-9)
    assert set(triangles.ravel()) == set(range(len(points)))


def test_a_corner_on_a_straight_side_is_kept_for_the_neighbour() -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], float)
    triangles = Polygons(square, np.arange(5), np.array([5])).triangles()
    edges = {frozenset((t[i], t[i - 1])) for t in triangles.tolist() for i in range(3)}
    assert {frozenset((0, 1)), frozenset((1, 2))} <= edges
    assert triangle_areas(square[:, :2], triangles).sum() == pytest.approx(4)


def test_an_arrow_of_four_corners_is_cut_inside() -> None:
    arrow = np.array([[0, 0, 0], [2, 1, 0], [0, 2, 0], [0.5, 1, 0]])
    for turn in range(4):
        corners = np.roll(np.arange(4), turn)
        triangles = Polygons(arrow, corners, np.array([4])).triangles()
        assert triangle_areas(arrow[:, :2], triangles).min() > 0


def test_a_polygon_that_crosses_itself_is_cut_somehow_and_soon() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (1500, 3))
    triangles = Polygons(points, np.arange(1500), np.array([1500])).triangles()
    assert len(triangles) == 1498


def test_strips_and_fans() -> None:
    strips = strip_triangles(np.array([0, 1, 2, 3, 4, -1, 5, 6, 7, -1, 8]), np.array([11]), -1)
    assert strips.tolist() == [[0, 1, 2], [1, 3, 2], [2, 3, 4], [5, 6, 7]]
    two = strip_triangles(np.array([0, 1, 2, 3, 4, 5, 6]), np.array([3, 4]))
    assert two.tolist() == [[0, 1, 2], [3, 4, 5], [4, 6, 5]]
    assert fan_triangles(np.array([0, 1, 2, 3])).tolist() == [[0, 1, 2], [0, 2, 3]]


# ---------------------------------------------------------------------- OBJ

FORMS: dict[str, str] = {
    "plain": "f {0} {1} {2}",
    "texture": "f {0}/1 {1}/1 {2}/1",
    "normal": "f {0}//1 {1}//1 {2}//1",
    "both": "f {0}/1/1 {1}/1/1 {2}/1/1",
    "open": "f {0}/ {1}/ {2}/",
    "open twice": "f {0}// {1}// {2}//",
    "tabs": "f\t{0}\t{1}\t{2}",
    "many blanks": "  f   {0}  {1}\t {2}  ",
    "comment": "f {0} {1} {2} # a face",
    "joined": "f {0} {1} \\\n {2}",
    "old": "fo {0} {1} {2}",
    "signed": "f +{0} +{1} +{2}",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_form_of_an_obj_face(tmp_path: Path, form: str, end: str) -> None:
    faces = [FORMS[form].format(*(i + 1 for i in face)) for face in TETRA_FACES]
    lines = [f"v {x} {y} {z}" for x, y, z in TETRA] + ["vt 0 0", "vn 0 0 1", *faces]
    text = "\n".join(lines).replace("\n", end)
    assert_solid(read(tmp_path, "a.obj", text), 1 / 6)


def test_obj_faces_count_back_from_where_they_stand(tmp_path: Path) -> None:
    lines = []
    for k in range(2):
        lines += [f"v {x + 3 * k} {y} {z}" for x, y, z in TETRA]
        lines += ["f " + " ".join(f"{i - 4}/-1/-1" for i in face) for face in TETRA_FACES]
    assert_solid(read(tmp_path, "a.obj", "\n".join(lines)), 2 / 6)


def test_obj_polygons_that_are_not_convex(tmp_path: Path) -> None:
    assert_solid(read(tmp_path, "l.obj", obj_text(L_VERTS, L_FACES)), L_VOLUME)


@pytest.mark.parametrize("columns", ["1", "0.5 0.5 0.5", "1 0.5 0.5 0.5", "x"])
def test_obj_vertices_may_have_a_weight_or_a_colour(tmp_path: Path, columns: str) -> None:
    lines = [f"v\t{x} {y}\t{z} {columns}" for x, y, z in TETRA]
    text = "\ufeff" + "\n".join(lines) + "\n" + obj_text(TETRA[:0], TETRA_FACES)
    assert_solid(read(tmp_path, "a.obj", text), 1 / 6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n", "vertex 1 needs 3 numbers"),
        ("v 0,5 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "need a number, got '0,5'"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "line 4: a face names a vertex before the first"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf -4 1 2\n", "line 4: a face names a vertex before"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2\n", "line 4: a face needs 3 corners, got 2"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 x\n", "whole numbers, got 'x'"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 " + "9" * 5000 + "\n", "whole numbers"),
        ("v 0 0 0\nv 0 0 0\nv 0 1 0\nf 1 2 3\n", "without area"),
    ],
)
def test_obj_files_that_mean_nothing_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path, "a.obj", text)
    assert str(caught.value).startswith(str(tmp_path / "a.obj"))


# ---------------------------------------------------------------------- PLY


def ply_bytes(order: str, faces: list[list[int]], extra: bool, bad: bool = False) -> bytes:
    """The L as PLY: mixed polygons, maybe a list of texture coordinates and a vertex of NaN."""
    verts = np.concatenate((L_VERTS, [[math.nan] * 3])) if bad else L_VERTS
    name = {"": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    head = [
        "ply", f"format {name} 1.0", "comment made by hand", "obj_info none",
        "element extra 2", "property list uchar short of", "property uchar a",
        f"element vertex {len(verts)}",
        "property uchar red", *(f"property double {axis}" for axis in "xyz"),
        f"element face {len(faces)}", "property uchar flags",
        "property list uchar int vertex_indices",
        *(["property list uchar float texcoord"] if extra else []),
        "element edge 1", "property int vertex1", "property int vertex2", "end_header",
    ]  # fmt: skip
    rows: list[tuple[str, Any]] = [("BhhB", (2, 5, -6, 7)), ("BB", (0, 7))]
    rows += [("Bddd", (9, *row)) for row in verts.tolist()]
    for face in faces:
        n = len(face)
        row = ("BB" + "i" * n, (1, n, *face))
        if extra:
            row = (row[0] + "B" + "f" * 2 * n, (*row[1], 2 * n, *[0.25] * 2 * n))
        rows.append(row)
    rows.append(("ii", (0, 1)))
    start = ("\r\n" if order == ">" else "\n").join([*head, ""]).encode()
    if not order:
        return start + "\n".join(" ".join(map(str, values)) for _, values in rows).encode()
    return start + b"".join(struct.pack(order + kinds, *values) for kinds, values in rows)


@pytest.mark.parametrize("order", ["", "<", ">"])
@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("bad", [False, True])
def test_ply_of_mixed_polygons(tmp_path: Path, order: str, extra: bool, bad: bool) -> None:
    assert_solid(read(tmp_path, "l.ply", ply_bytes(order, L_FACES, extra, bad)), L_VOLUME)


def test_a_ply_comment_may_speak_of_its_end(tmp_path: Path) -> None:
    data = ply_bytes("<", L_FACES, True).replace(b"made by hand", b"not the end_header", 1)
    assert_solid(read(tmp_path, "l.ply", data), L_VOLUME)


def test_a_ply_whose_head_ends_in_the_byte_that_its_numbers_begin_with(tmp_path: Path) -> None:
    head, _, body = ply_bytes("<", L_FACES, False).partition(b"end_header\n")
    # An element before all others, whose one byte is a line feed.
    head = head.replace(b"element extra 2", b"element odd 1\nproperty uchar a\nelement extra 2", 1)
    data = (head + b"end_header\n").replace(b"\n", b"\r") + b"\n" + body
    assert_solid(read(tmp_path, "l.ply", data), L_VOLUME)


@pytest.mark.parametrize("name", ["a.obj", "a.off"])
def test_text_of_windows(tmp_path: Path, name: str) -> None:
    save_mesh(tmp_path / name, trimesh.creation.box())
    text = (tmp_path / name).read_text().replace("\n", "\r\n")
    assert_solid(read(tmp_path, name, text.encode("utf-16")), 1.0)


def test_what_is_no_mesh_is_called_what_it_is(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1"
    packed = gzip.compress(b"v 0 0 0")
    for data, words in ((packed, "gzip"), (b"PK\x03\x04", "zip archive"), (pointer, "lfs pull")):
        with pytest.raises(InputError, match=rf"a.obj: need a .obj mesh, it is .*{words}"):
            read(tmp_path, "a.obj", data)


@pytest.mark.parametrize("order", ["", "<"])
def test_ply_strips(tmp_path: Path, order: str) -> None:
    strip = [0, 1, 2, 3, 0, 1]  # goes around a tetrahedron
    name = "binary_little_endian" if order else "ascii"
    head = (
        f"ply\nformat {name} 1.0\nelement vertex 4\nproperty float x\nproperty float y\n"
        "property float z\nelement tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    )
    corners = [*strip, -1]
    if order:
        body = struct.pack("<12f", *TETRA.ravel()) + struct.pack("<8i", len(corners), *corners)
    else:
        body = "\n".join(" ".join(map(str, row)) for row in [*TETRA.tolist(), [7, *corners]])
        body = body.encode()
    mesh = read(tmp_path, "s.ply", head.encode() + body)
    assert mesh.is_watertight
    assert abs(mesh.volume) == pytest.approx(1 / 6)


def test_ply_numbers_as_other_programs_spell_nothing(tmp_path: Path) -> None:
    text = ply_bytes("", L_FACES, True, True).replace(b"nan", b"-nan(ind)")
    assert_solid(read(tmp_path, "l.ply", text), L_VOLUME)


@pytest.mark.parametrize("order", ["", "<"])
def test_a_ply_that_is_cut_short_says_so(tmp_path: Path, order: str) -> None:
    whole = ply_bytes(order, L_FACES, True)
    for part in (0.6, 0.8, 0.95):
        with pytest.raises(InputError, match=r"l\.ply: not a readable \.ply mesh"):
            read(tmp_path, "l.ply", whole[: int(part * len(whole))])


# ---------------------------------------------------------------------- STL and OFF


def stl_bytes(stated: int | None = None, more: bytes = b"", head: bytes = b"solid x") -> bytes:
    rows = b"".join(struct.pack("<12fH", 0, 0, 0, *TETRA[face].ravel(), 0) for face in TETRA_FACES)
    count = len(TETRA_FACES) if stated is None else stated
    return head.ljust(80, b" ") + struct.pack("<I", count) + rows + more


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (stl_bytes(), ""),
        (stl_bytes(more=b"x" * 17), "17 bytes after the last triangle"),
        (stl_bytes(stated=0), "states 0 triangles, but it has 4"),
        (stl_bytes(stated=2**32 - 1, head=b"\0"), "but it has 4"),
        (stl_bytes(stated=3), "states 3 triangles, but it has 4"),
        (stl_bytes(stated=9, head=b"COLOR=\xff"), "states 9 triangles, but it has 4"),
    ],
)
def test_binary_stl(
    tmp_path: Path, data: bytes, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "sdfrender"):
        assert_solid(read(tmp_path, "t.stl", data), 1 / 6)
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


def test_a_binary_stl_that_is_cut_short(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cut short: it states 4 triangles and has 3"):
        read(tmp_path, "t.stl", stl_bytes()[:-10])


@pytest.mark.parametrize("change", [str, str.upper, lambda t: "\ufeff" + t.replace("\n", "\r\n")])
def test_stl_as_text(tmp_path: Path, change: Any) -> None:
    lines = ["solid a thing"]
    for face in L_FACES:
        corners = [f"      vertex {x}\t{y} {z:e}" for x, y, z in L_VERTS[face]]
        lines += ["  facet normal 0 0 0", "    outer loop", *corners, "    endloop", "  endfacet"]
    assert_solid(read(tmp_path, "l.stl", change("\n".join([*lines, "endsolid"]))), L_VOLUME)


@pytest.mark.parametrize(
    "head",
    ["OFF\n12 8 0", "OFF 12 8 0", "OFF12 8 0", "# first\nOFF\n\n# counts\n12 8 0", "COFF\n12 8",
     "12 8 0", "NOFF\n12 8 0"],
)  # fmt: skip
def test_off(tmp_path: Path, head: str) -> None:
    rows = [" ".join(map(str, row)) + " 1 0 0  # a vertex" for row in L_VERTS.tolist()]
    rows += [" ".join(map(str, (len(face), *face, 255, 0, 0))) for face in L_FACES]
    assert_solid(read(tmp_path, "l.off", "\n".join([head, *rows])), L_VOLUME)


# ---------------------------------------------------------------------- GLB


class Glb:
    """Builds a file part by part."""

    def __init__(self) -> None:
        self.binary = b""
        self.tables: dict[str, Any] = {
            "asset": {"version": "2.0"}, "accessors": [], "bufferViews": [],
            "meshes": [], "nodes": [], "scenes": [{"nodes": []}],
        }  # fmt: skip

    def view(self, data: bytes, **more: Any) -> int:
        self.binary += b"\0" * (-len(self.binary) % 4)
        place = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data), **more}
        self.binary += data
        self.tables["bufferViews"].append(place)
        return len(self.tables["bufferViews"]) - 1

    def accessor(self, values: np.ndarray, kind: int, width: str, **more: Any) -> int:
        table = {
            "bufferView": self.view(values.tobytes()), "componentType": kind, "type": width,
            "count": len(values), **more,
        }  # fmt: skip
        self.tables["accessors"].append({k: v for k, v in table.items() if v is not None})
        return len(self.tables["accessors"]) - 1

    def mesh(self, positions: int, indices: int | None, mode: int | None = None) -> int:
        part: dict[str, Any] = {"attributes": {"POSITION": positions}}
        part |= {} if indices is None else {"indices": indices}
        part |= {} if mode is None else {"mode": mode}
        self.tables["meshes"].append({"primitives": [part]})
        return len(self.tables["meshes"]) - 1

    def node(self, root: bool = True, **node: Any) -> int:
        self.tables["nodes"].append(node)
        number = len(self.tables["nodes"]) - 1
        if root:
            self.tables["scenes"][0]["nodes"].append(number)
        return number

    def bytes(self, uri: bool = False) -> bytes:
        buffer: dict[str, Any] = {"byteLength": len(self.binary)}
        if uri:
            data = base64.b64encode(self.binary).decode()
            buffer["uri"] = f"data:application/octet-stream;base64,{data}"
        text = json.dumps({**self.tables, "buffers": [buffer]}).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        if not uri:
            data_ = self.binary + b"\0" * (-len(self.binary) % 4)
            chunks += struct.pack("<II", len(data_), 0x004E4942) + data_
        return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


INDICES = np.array(TETRA_FACES)
DTYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}


@pytest.mark.parametrize("kind", [5120, 5121, 5122, 5123, 5126])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("index", [5121, 5123, 5125])
def test_every_type_of_positions_and_indices(
    tmp_path: Path, kind: int, normalized: bool, index: int
) -> None:
    glb = Glb()
    whole = kind != 5126
    full = np.iinfo(DTYPES[kind]).max if whole else 1
    scale = 1.0 if normalized or not whole else 1 / full
    positions = np.pad((TETRA * full).astype(DTYPES[kind]), ((0, 0), (0, 1)))  # a stride of 4
    at = glb.accessor(positions, kind, "VEC3", **({"normalized": normalized} if whole else {}))
    glb.tables["bufferViews"][-1]["byteStride"] = positions.strides[0]
    corners = glb.accessor(INDICES.ravel().astype(DTYPES[index]), index, "SCALAR")
    glb.node(mesh=glb.mesh(at, corners), scale=[scale] * 3)
    assert_solid(read(tmp_path, "a.glb", glb.bytes(uri=normalized)), 1 / 6)


def test_sparse_positions_over_nothing(tmp_path: Path) -> None:
    glb = Glb()
    places = glb.view(np.array([1, 2, 3], "<u2").tobytes())
    values = glb.view(TETRA[1:].astype("<f4").tobytes())
    sparse = {
        "count": 3,
        "indices": {"bufferView": places, "componentType": 5123},
        "values": {"bufferView": values},
    }
    at = glb.accessor(TETRA.astype("<f4"), 5126, "VEC3", bufferView=None, sparse=sparse)
    corners = glb.accessor(INDICES.ravel().astype("<u4"), 5125, "SCALAR")
    glb.node(mesh=glb.mesh(at, corners))
    assert_solid(read(tmp_path, "a.glb", glb.bytes()), 1 / 6)


def tetra_glb(mode: int | None = None, corners: list[int] | None = None) -> tuple[Glb, int]:
    glb = Glb()
    at = glb.accessor(TETRA.astype("<f4"), 5126, "VEC3")
    chosen = np.array(INDICES.ravel() if corners is None else corners, "<u4")
    return glb, glb.mesh(at, glb.accessor(chosen, 5125, "SCALAR"), mode)


def test_transforms_go_down_the_tree_and_mirrors_turn_faces(tmp_path: Path) -> None:
    glb, mesh = tetra_glb()
    half = math.sqrt(0.5)
    child = glb.node(root=False, mesh=mesh, rotation=[0, 0, half, half], scale=[1, 2, 3])
    matrix = np.diag([-1.0, 1, 1, 1])
    matrix[:3, 3] = 10, 0, 0
    glb.node(children=[child], matrix=matrix.T.ravel().tolist())
    glb.node(root=False, mesh=mesh, translation=[99, 0, 0])  # of no scene
    loaded = read(tmp_path, "a.glb", glb.bytes())
    assert_solid(loaded, 1.0)
    # (x, y, z) is scaled, turned to (−2y, x, 3z), mirrored and moved: (10 + 2y, x, 3z).
    np.testing.assert_allclose(loaded.bounds, [[10, 0, 0], [12, 1, 3]], atol=1e-12)


def test_glb_strips_fans_points_and_morphs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    glb, mesh = tetra_glb(5, [0, 1, 2, 3, 0, 1])
    glb.node(mesh=mesh)
    assert abs(read(tmp_path, "a.glb", glb.bytes()).volume) == pytest.approx(1 / 6)
    glb, mesh = tetra_glb(6, [0, 1, 3, 2, 1])
    glb.node(mesh=mesh)
    assert len(read(tmp_path, "a.glb", glb.bytes()).faces) == 3
    glb, mesh = tetra_glb()
    at = glb.accessor(2 * TETRA.astype("<f4"), 5126, "VEC3")
    glb.tables["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": at}]
    glb.tables["meshes"][0]["weights"] = [0.5]
    glb.tables["meshes"][0]["primitives"].append({"attributes": {"POSITION": at}, "mode": 0})
    glb.node(mesh=mesh)
    with caplog.at_level(logging.WARNING, "sdfrender"):
        assert_solid(read(tmp_path, "a.glb", glb.bytes()), 8 / 6)
    assert "points and lines are not read" in caplog.text


def spoilt(change: Any) -> bytes:
    glb, mesh = tetra_glb()
    glb.node(mesh=mesh)
    change(glb.tables)
    return glb.bytes()


SPOILT: dict[str, Any] = {
    "Draco": lambda t: t.update(extensionsRequired=["KHR_draco_mesh_compression"]),
    "meshopt": lambda t: t["bufferViews"][0].update(extensions={"EXT_meshopt_compression": {}}),
    "instances": lambda t: t["nodes"][0].update(extensions={"EXT_mesh_gpu_instancing": {}}),
    "more than one parent": lambda t: t["nodes"][0].update(children=[0]),
    "one of 1 nodes": lambda t: t["scenes"][0].update(nodes=[7]),
    "values in buffer view": lambda t: t["accessors"][0].update(count=10**9),
    "does not fit": lambda t: t["bufferViews"][0].update(byteLength=10**9),
    "component type": lambda t: t["accessors"][0].update(componentType=5124),
    "needs data": lambda t: t["accessors"][0].update(bufferView=None, count=10**11),
    "whole numbers as indices": lambda t: t["meshes"][0]["primitives"][0].update(indices=0),
    "finite numbers as 'scale'": lambda t: t["nodes"][0].update(scale=[1, 2]),
    "three indices": lambda t: t["accessors"][1].update(count=11),
}


@pytest.mark.parametrize("words", SPOILT)
def test_glb_files_that_are_not_read_say_why(tmp_path: Path, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, "a.glb", spoilt(SPOILT[words]))
