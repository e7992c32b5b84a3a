"""Meshes: closed whatever the lattice, exact distances back, and files that survive both ways."""

import math
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings

from sdfrender.errors import InputError
from sdfrender.files.extensions import MESHES
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_files import load_mesh, merge_exact, save_mesh
from sdfrender.geometry.primitives import box, difference, sphere, torus, union
from sdfrender.meshes.extraction import extract_mesh, keep_bodies
from sdfrender.meshes.tiles import SEPARATION

BOUNDS = ((-1.0, -0.8, -1.2), (1.1, 1.0, 0.9))


def assert_closed(mesh: trimesh.Trimesh) -> None:
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0


# ---------------------------------------------------------------------- extraction


@settings(max_examples=200, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 13)] * 3),
    size=st.tuples(*[st.floats(0.1, 5)] * 3),
    kind=st.sampled_from(["noise", "integers", "tiny", "mostly inside", "one"]),
    seed=st.integers(0, 100_000),
)
def test_always_watertight_also_after_merging(
    shape: tuple[int, int, int], size: tuple[float, float, float], kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        values = rng.standard_normal(shape)
    elif kind == "integers":  # exact zeros at many vertices
        values = rng.integers(-1, 2, shape).astype(float)
    elif kind == "tiny":  # zeros, and neighbours up to 40 orders of magnitude apart
        values = rng.integers(-1, 2, shape) * 10.0 ** rng.integers(-40, 1, shape)
    elif kind == "mostly inside":
        values = rng.integers(-4, 2, shape).astype(float)
    else:
        values = np.ones(shape)
        values.flat[rng.integers(values.size)] = -1.0
    values.flat[rng.integers(values.size)] = -1.0
    lattice = Lattice(
        torch.from_numpy(values), torch.tensor([[0, 0, 0], size], dtype=torch.float64)
    )
    mesh = extract_mesh(lattice)
    assert_closed(mesh)
    assert (mesh.vertices >= 0).all()
    assert (mesh.vertices <= np.array(size)).all()
    # What a reader that joins equal positions makes of it, in the float32 of most formats.
    verts = mesh.vertices.astype(np.float32).astype(np.float64)
    again = trimesh.Trimesh(*merge_exact(verts, mesh.faces), process=False)
    assert_closed(again)
    assert len(again.faces) == len(mesh.faces)


def test_a_case_where_lewiners_tables_are_not_manifold() -> None:
    values = [[[-0.1, -0.67, -0.49], [0.04, 2.46, 0.02]], [[1.0, 0.03, 1.0], [-1.36, -0.91, -0.08]]]
    assert_closed(extract_mesh(Lattice(torch.tensor(values), torch.tensor(BOUNDS))))


def test_a_case_that_rounding_makes_impossible_is_closed_and_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = torch.ones(2, 2, 5, dtype=torch.float64)
    block = torch.tensor([[[-100.0, 1], [1, -1]], [[100, -1000], [-10, 100]]])
    values[..., :2], values[..., 2], values[..., 3] = 1e-9 * block, 1e-6, 1e-3
    assert_closed(extract_mesh(Lattice(values, torch.tensor(BOUNDS))))
    assert capsys.readouterr().out == ""  # where a command prints JSON


def test_vertices_lie_on_the_surface_in_world_units() -> None:
    lattice = Lattice.sphere(0.5, (0.1, 0.0, -0.1), (40, 50, 60), BOUNDS, dtype=torch.float64)
    mesh = extract_mesh(lattice)
    assert_closed(mesh)
    assert mesh.euler_number == 2
    h = float(lattice.spacing.max())
    distances = np.linalg.norm(mesh.vertices - [0.1, 0.0, -0.1], axis=1) - 0.5
    # Linear interpolation of a function with curvature ≤ 1/(r − h), plus the separation.
    assert np.abs(distances).max() < h * h / 8 / (0.5 - h) + SEPARATION * h
    assert mesh.volume == pytest.approx(math.pi / 6, rel=3 * h * h)
    outward = ((mesh.triangles_center - [0.1, 0, -0.1]) * mesh.face_normals).sum(1)
    assert (outward > 0).all()


def test_the_surface_is_closed_on_the_faces_of_the_box() -> None:
    """A ball that sticks out of the box on three sides."""
    lattice = Lattice.sphere(0.9, resolution=33, bounds=((-1, -1, -1), (0.5, 0.4, 0.3)))
    mesh = extract_mesh(lattice)
    assert_closed(mesh)
    high = lattice.bounds.double().numpy()[1]
    for axis in range(3):
        flat = np.abs(mesh.face_normals[:, axis] - 1) < 1e-9
        on_face = (mesh.triangles[flat][..., axis] == high[axis]).all(1)
        assert on_face.any()
        disc = mesh.area_faces[flat][on_face].sum()
        others = np.delete(high, axis)
        assert 0.3 < disc < math.pi * (0.81 - high[axis] ** 2)  # part of the circle cut there
        assert (mesh.vertices[:, axis] <= high[axis]).all()
        assert (others < 0.9).all()


def test_all_inside_is_the_box_itself() -> None:
    lattice = Lattice(-torch.ones(3, 4, 5), torch.tensor([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]]))
    mesh = extract_mesh(lattice)
    assert_closed(mesh)
    assert np.array_equal(mesh.bounds, lattice.bounds.double().numpy())
    assert mesh.volume == pytest.approx(float((lattice.bounds[1] - lattice.bounds[0]).prod()))
    assert mesh.euler_number == 2


def test_level_offsets_the_surface() -> None:
    lattice = Lattice.sphere(0.5, resolution=64)
    for level in (-0.2, 0.2):
        radii = np.linalg.norm(extract_mesh(lattice, level).vertices, axis=1)
        assert np.abs(radii - 0.5 - level).max() < 1e-3


def test_topology() -> None:
    assert extract_mesh(Lattice.from_function(torus(0.5, 0.2), 40)).euler_number == 0
    hollow = extract_mesh(Lattice.from_function(difference(sphere(0.7), sphere(0.4)), 40))
    assert_closed(hollow)
    assert hollow.body_count == 2
    assert hollow.volume == pytest.approx(4 / 3 * math.pi * (0.343 - 0.064), rel=0.02)


def test_no_surface_and_batches_are_refused() -> None:
    with pytest.raises(InputError, match=r"no surface, the smallest value 1 is not below"):
        extract_mesh(Lattice(torch.ones(3, 3, 3), torch.tensor(BOUNDS)))
    with pytest.raises(InputError, match="no surface"):
        extract_mesh(Lattice(torch.zeros(3, 3, 3), torch.tensor(BOUNDS)))
    with pytest.raises(ValueError, match="got a batch of 2"):
        extract_mesh(Lattice(torch.ones(2, 3, 3, 3), torch.tensor(BOUNDS)))


def test_keep_bodies_drops_the_small_ones() -> None:
    two = union(sphere(0.4, (-0.5, 0, 0)), sphere(0.1, (0.6, 0, 0)))
    mesh = extract_mesh(Lattice.from_function(two, 48))
    assert mesh.body_count == 2
    large = keep_bodies(mesh, 0.5)
    assert_closed(large)
    assert large.body_count == 1
    assert large.bounds[1, 0] < 0
    assert len(keep_bodies(mesh, 0.01).faces) == len(mesh.faces)
    with pytest.raises(ValueError, match="fraction"):
        keep_bodies(mesh, 1.5)


# ---------------------------------------------------------------------- distances


def test_a_box_gives_its_exact_distances() -> None:
    mesh = trimesh.creation.box((0.8, 0.6, 1.0))
    lattice = Lattice.from_mesh(mesh, (9, 11, 14), BOUNDS)
    exact = Lattice.from_function(box((0.4, 0.3, 0.5)), (9, 11, 14), BOUNDS, torch.float64)
    assert lattice.values.dtype == torch.float32
    # Half a unit in the last place of float32, for distances and positions up to 2.
    torch.testing.assert_close(lattice.values.double(), exact.values, rtol=0, atol=2e-7)


def dirty(kind: str) -> trimesh.Trimesh:
    mesh = trimesh.creation.box((0.8, 0.6, 1.0))
    verts, faces = mesh.vertices, mesh.faces
    if kind == "inverted":
        faces = faces[:, ::-1]
    elif kind == "doubled":
        faces = np.concatenate((faces, faces))
    elif kind == "soup":
        verts, faces = verts[faces].reshape(-1, 3), np.arange(36).reshape(-1, 3)
    elif kind == "unused vertices":
        verts = np.concatenate((verts, [[90.0, 0, 0]]))
    elif kind == "degenerate":
        faces = np.concatenate((faces, [[0, 0, 1], [2, 2, 2]]))
    return trimesh.Trimesh(verts, faces, process=False)


@pytest.mark.parametrize("kind", ["inverted", "doubled", "soup", "unused vertices", "degenerate"])
def test_dirty_meshes_give_the_same_lattice(kind: str) -> None:
    clean = Lattice.from_mesh(trimesh.creation.box((0.8, 0.6, 1.0)), 20)
    lattice = Lattice.from_mesh(dirty(kind), 20)
    assert torch.equal(lattice.bounds, clean.bounds)
    torch.testing.assert_close(lattice.values, clean.values, rtol=0, atol=1e-7)


def test_a_hole_leaves_the_inside_inside() -> None:
    ball = trimesh.creation.icosphere(3, 0.5)
    hole = trimesh.Trimesh(ball.vertices, ball.faces[ball.triangles_center[:, 2] < 0.42])
    assert not hole.is_watertight
    signs = Lattice.from_mesh(hole, 24, BOUNDS).values < 0
    closed = Lattice.from_mesh(ball, 24, BOUNDS).values < 0
    away = Lattice.sphere(0.25, (0, 0, 0.5), resolution=24, bounds=BOUNDS).values > 0
    assert torch.equal(signs[away], closed[away])


def test_a_cavity_is_outside() -> None:
    shell = difference(box((0.5, 0.5, 0.5)), box((0.3, 0.3, 0.3)))
    outer, inner = trimesh.creation.box((1, 1, 1)), trimesh.creation.box((0.6, 0.6, 0.6))
    inner.invert()
    lattice = Lattice.from_mesh(trimesh.util.concatenate(outer, inner), (14, 16, 18), BOUNDS)
    assert torch.equal(
        lattice.values < 0, Lattice.from_function(shell, (14, 16, 18), BOUNDS).values < 0
    )


def test_the_default_box_has_cubic_cells_and_the_margin_asked_for() -> None:
    mesh = trimesh.creation.box((0.8, 0.33, 1.0))
    mesh.apply_translation((10, -20, 5))
    lattice = Lattice.from_mesh(mesh, 25, padding=0.1)
    assert lattice.resolution == (21, 12, 25)
    torch.testing.assert_close(lattice.spacing, torch.full((3,), 0.05), rtol=0, atol=1e-6)
    margins = mesh.bounds[0] - lattice.bounds[0].numpy()
    assert margins == pytest.approx(lattice.bounds[1].numpy() - mesh.bounds[1], abs=1e-5)
    assert (margins >= 0.1 - 1e-5).all()
    assert (margins <= 0.1 + 0.025 + 1e-5).all()  # less than a cell more, shared by both sides


def test_lattice_to_mesh_to_lattice() -> None:
    lattice = Lattice.from_function(torus(0.5, 0.25), 40)
    again = Lattice.from_mesh(extract_mesh(lattice), 40, lattice.bounds)
    h = float(lattice.spacing[0])
    # A chord of length √3 h is off a circle of radius 0.25 by at most (√3 h)²/(8 · 0.25).
    near = lattice.values.abs() < 0.2
    assert float((again.values - lattice.values)[near].abs().max()) < 3 * h * h / 2


@pytest.mark.parametrize(
    ("mesh", "words"),
    [
        (trimesh.Trimesh(), "at least one triangle"),
        (trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, math.nan, 0]], [[0, 1, 2]], process=False),
         "vertex 2"),
        (trimesh.Trimesh(np.zeros((3, 3)), [[0, 1, 2]], process=False), "at one point"),
    ],
)  # fmt: skip
def test_meshes_without_a_surface_are_refused(mesh: trimesh.Trimesh, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Lattice.from_mesh(mesh)


def test_bad_boxes_and_resolutions_are_refused() -> None:
    mesh = trimesh.creation.box()
    with pytest.raises(ValueError, match="bounds: need"):
        Lattice.from_mesh(mesh, 8, [[1, 1, 1], [0, 0, 0]])
    with pytest.raises(ValueError, match="resolution: need"):
        Lattice.from_mesh(mesh, 1)


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize("extension", MESHES)
def test_files_keep_the_mesh(tmp_path: Path, extension: str) -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.integers(-1, 2, (7, 8, 9)).astype(np.float32))
    mesh = extract_mesh(Lattice(values, torch.tensor(BOUNDS)))
    path = tmp_path / f"noise{extension.upper()}"
    save_mesh(path, mesh)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    loaded = load_mesh(path)
    assert_closed(loaded)
    assert loaded.faces.shape == mesh.faces.shape
    # Positions up to 1.2 in float32; triangles in their order, possibly with other numbers.
    np.testing.assert_allclose(loaded.triangles, mesh.triangles, rtol=0, atol=1e-7)


def test_vertices_split_by_texture_seams_are_joined(tmp_path: Path) -> None:
    cube = trimesh.creation.box()
    lines = [f"v {x} {y} {z}" for x, y, z in cube.vertices]
    for n, face in enumerate(cube.faces):  # each triangle has texture coordinates of its own
        lines += [f"vt {n / 12} {k / 3}" for k in range(3)]
        lines.append("f " + " ".join(f"{v + 1}/{3 * n + k + 1}" for k, v in enumerate(face)))
    path = tmp_path / "seams.obj"
    path.write_text("mtllib missing.mtl\nusemtl skin\n" + "\n".join(lines))
    mesh = load_mesh(path)
    assert_closed(mesh)
    assert len(mesh.vertices) == 8


def test_the_parts_of_a_scene_are_put_where_they_belong(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box(), transform=trimesh.transformations.scale_matrix(2))
    shift = trimesh.transformations.translation_matrix((5, 0, 0))
    scene.add_geometry(trimesh.creation.box(), transform=shift)
    path = tmp_path / "two.glb"
    path.write_bytes(scene.export(file_type="glb"))
    mesh = load_mesh(path)
    assert_closed(mesh)
    assert mesh.volume == pytest.approx(8 + 1)
    assert mesh.bounds.tolist() == [[-1, -1, -1], [5.5, 1, 1]]


PLY = trimesh.creation.icosphere(1).export(file_type="ply")
HOSTILE = {
    "empty.obj": b"",
    "words.obj": b"these are no triangles\n",
    "points.obj": b"v 0 0 0\nv 1 0 0\n",
    "nan.obj": b"v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n",
    "index.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
    "words.ply": b"these are no triangles\n",
    "cut.ply": PLY[: len(PLY) // 2],
    "index.ply": PLY[:-12] + b"\xff" * 12,
    "cloud.ply": b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
    b"property float z\nend_header\n0 0 0\n",
    "huge.ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\n"
    b"property float x\nproperty float y\nproperty float z\nelement face 1\n"
    b"property list uchar int vertex_indices\nend_header\n",
    "cut.glb": b"glTF\x02\x00\x00\x00",
    "old.glb": b"glTF" + b"\0" * 60,
    "words.stl": b"x",
    "zeros.stl": b"\0" * 84,
    "huge.stl": b"\0" * 80 + b"\xff\xff\xff\x0f",
    "cut.off": b"OFF\n3 1 0\n0 0 0\n1 0 0\n",
    "index.off": b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_give_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name])
    with pytest.raises(InputError) as caught:
        load_mesh(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.obj", "mesh.pkl", "mesh", "folder.ply"])
def test_what_is_no_mesh_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "mesh.pkl").write_bytes(b"x")
    (tmp_path / "folder.ply").mkdir()
    with pytest.raises(InputError, match=name):
        load_mesh(tmp_path / name)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "mesh.ply"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="at least one triangle"):
        save_mesh(path, trimesh.Trimesh())
    with pytest.raises(InputError, match=r"unknown extension '\.xyz'"):
        save_mesh(tmp_path / "mesh.xyz", trimesh.creation.box())
    with pytest.raises(InputError, match="does not exist"):
        save_mesh(tmp_path / "nowhere" / "mesh.ply", trimesh.creation.box())
    assert [p.name for p in tmp_path.iterdir()] == ["mesh.ply"]
    assert path.read_bytes() == b"old"
