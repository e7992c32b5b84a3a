"""Places far from the origin, as in the metres of a map: nothing moves by what float32 drops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import trimesh

from multiview.results.finished_run import evaluate_run
from multiview.scenes import load_scene
from multiview.scenes.corrections import from_description
from sdfrender import (
    Cameras,
    Lattice,
    extract_mesh,
    linearize,
    load_lattice,
    load_mesh,
    metrics,
    render,
    save_lattice,
)
from sdfrender.commands.render import RenderConfig
from sdfrender.commands.render_scene import render_scene
from sdfrender.far import far_offset, is_far, moved
from sdfrender.files.extensions import MESHES
from sdfrender.geometry.mesh_distance import signed_distances
from sdfrender.geometry.mesh_files import save_mesh
from sdfrender.geometry.primitives import sphere
from sdfrender.meshes.colors import save_colored_mesh
from sdfrender.meshes.mise import mise
from sdfrender.meshes.refine import RefineMeshSettings, refine_mesh, simplify_mesh
from sdfrender.viewer.exhibit import load_exhibit, load_views

PLACE = np.array([431234.25, 5412344.5, -312.75])  # metres of a map


def near_mesh() -> trimesh.Trimesh:
    """A torus about the origin, in no round numbers."""
    mesh = trimesh.creation.torus(0.61, 0.27, major_sections=40, minor_sections=20)
    return trimesh.Trimesh(mesh.vertices / 0.97, mesh.faces, process=False)


@pytest.fixture
def far_mesh() -> trimesh.Trimesh:
    return moved(near_mesh(), PLACE)


def test_offsets() -> None:
    points = np.array([[431233.2, 5412346.3, 310.0], [431235.2, 5412344.3, 314.0]])
    assert far_offset(points).tolist() == [431234, 5412345, 312]
    assert far_offset(points - far_offset(points)).tolist() == [0, 0, 0]
    assert far_offset(1e-3 * points) == pytest.approx([431.234, 5412.345, 0.312])
    assert far_offset(points[:1]).tolist() == [431233, 5412346, 310]
    for near in (np.zeros((1, 3)), np.array([[0.0, 0, 0], [1e7, 1e7, 1e7]]), points - PLACE):
        assert not is_far(near)


@pytest.mark.parametrize("extension", MESHES)
def test_mesh_files_hold_far_places(
    extension: str, far_mesh: trimesh.Trimesh, tmp_path: Path
) -> None:
    save_mesh(tmp_path / f"far{extension}", far_mesh)
    again = load_mesh(tmp_path / f"far{extension}")
    assert again.is_watertight
    assert again.bounds == pytest.approx(far_mesh.bounds, abs=2e-7, rel=0)
    assert again.volume == pytest.approx(near_mesh().volume, rel=1e-5)
    expected = metrics.compare_meshes(near_mesh(), near_mesh(), 2000)
    assert metrics.compare_meshes(again, far_mesh, 2000) == pytest.approx(expected, abs=1e-6)


def test_near_meshes_are_in_float32_as_ever(tmp_path: Path) -> None:
    save_mesh(tmp_path / "near.ply", near_mesh())
    header = (tmp_path / "near.ply").read_bytes().split(b"end_header")[0]
    assert b"property float x" in header


@pytest.mark.parametrize("name", ["colors.ply", "colors.glb"])
def test_coloured_meshes_hold_far_places(
    name: str, far_mesh: trimesh.Trimesh, tmp_path: Path
) -> None:
    colors = torch.linspace(0, 1, 3 * len(far_mesh.vertices)).reshape(-1, 3)
    save_colored_mesh(tmp_path / name, far_mesh, colors)
    save_colored_mesh(tmp_path / f"near-{name}", near_mesh(), colors)
    far, near = (
        trimesh.load_scene(tmp_path / file, process=False).to_mesh()
        for file in (name, f"near-{name}")
    )
    assert np.abs(far.vertices - far_mesh.vertices).max() < 2e-7
    assert np.array_equal(far.faces, near.faces)
    if name.endswith(".ply"):
        assert np.array_equal(far.visual.vertex_colors, near.visual.vertex_colors)
    else:  # the same but for the node's matrix
        sizes = [len((tmp_path / file).read_bytes()) for file in (name, f"near-{name}")]
        assert 0 < sizes[0] - sizes[1] < 400


@pytest.mark.parametrize("name", ["far.safetensors", "far.npz", "far.sdf"])
def test_lattices_stand_where_the_mesh_does(
    name: str, far_mesh: trimesh.Trimesh, tmp_path: Path
) -> None:
    near, far = (Lattice.from_mesh(mesh, 21) for mesh in (near_mesh(), far_mesh))
    assert near.bounds.dtype == torch.float32
    assert far.bounds.dtype == torch.float64
    torch.testing.assert_close(far.values, near.values, atol=2e-6, rtol=0)
    save_lattice(tmp_path / name, far)
    again = load_lattice(tmp_path / name)
    torch.testing.assert_close(again.values, far.values)
    torch.testing.assert_close(again.bounds, far.bounds, rtol=0, atol=1e-8)
    surface = extract_mesh(again.redistance())
    expected = extract_mesh(near.redistance()).bounds + PLACE
    assert surface.bounds == pytest.approx(expected, abs=1e-5, rel=0)
    probes = torch.from_numpy(near_mesh().vertices[::50].copy())
    torch.testing.assert_close(
        far.sample(probes + torch.from_numpy(PLACE)), near.sample(probes), atol=1e-5, rtol=0
    )
    assert far.to(torch.float64).bounds.tolist() == far.bounds.tolist()


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_renderings_are_those_at_the_origin(engine: str, far_mesh: trimesh.Trimesh) -> None:
    near, far = (Lattice.from_mesh(mesh, 17) for mesh in (near_mesh(), far_mesh))
    eyes = torch.tensor([[0.3, 2.5, 1.1], [-2.0, 1.0, -1.5]], dtype=torch.float64)
    place = torch.from_numpy(PLACE)
    cameras = Cameras.look_at(eyes, width=19, height=15)
    there = Cameras.look_at(eyes + place, place, width=19, height=15)
    assert (cameras.c2w.dtype, there.c2w.dtype) == (torch.float32, torch.float64)
    expected, found = render(near, cameras, engine=engine), render(far, there, engine=engine)
    for name in ("images", "silhouettes", "normals"):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), atol=1e-3, rtol=0, check_dtype=False
        )
    if engine == "cpu":
        J = linearize(far, there)
        torch.testing.assert_close(J.rendering.images, found.images)
    coarse = Cameras(there.c2w.float(), there.Ks.float(), 19, 15)
    with pytest.raises(ValueError, match="need c2w in float64 so far"):
        render(far, coarse, engine=engine)


def test_simplification_refinement_and_signs(far_mesh: trimesh.Trimesh) -> None:
    simple, expected = simplify_mesh(far_mesh, 400), simplify_mesh(near_mesh(), 400)
    assert simple.is_watertight
    assert simple.bounds == pytest.approx(expected.bounds + PLACE, abs=1e-3, rel=0)
    far = Lattice.from_mesh(far_mesh, 33)
    fine = refine_mesh(simple, far.sample, far.gradient, RefineMeshSettings(steps=5))
    off = np.abs(signed_distances(far_mesh, np.asarray(fine.vertices)))
    before = np.abs(signed_distances(far_mesh, np.asarray(simple.vertices)))
    assert off.mean() < 2 * before.mean() + 1e-3
    inside = signed_distances(far_mesh, PLACE + np.array([[0.63, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert inside == pytest.approx(signed_distances(near_mesh(), inside_points()), abs=1e-8)
    with pytest.raises(ValueError, match="near enough to the origin"):
        mise(sphere(0.5, PLACE.tolist()), [(PLACE - 1).tolist(), (PLACE + 1).tolist()])


def inside_points() -> np.ndarray:
    return np.array([[0.63, 0.0, 0.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("extension", [".obj", ".npz"])
def test_a_far_shape_is_photographed_where_it_is(
    extension: str, far_mesh: trimesh.Trimesh, tmp_path: Path
) -> None:
    scenes = []
    for name, mesh in (("near", near_mesh()), ("far", far_mesh)):
        file = tmp_path / f"{name}{extension}"
        if extension == ".npz":
            save_lattice(file, Lattice.from_mesh(mesh, 20))
        else:
            save_mesh(file, mesh)
        render_scene(RenderConfig(file, tmp_path / name, 3, "orbit", 17, 13))
        scenes.append(load_scene(tmp_path / name))
    near, far = scenes
    assert not near.is_far
    assert far.mesh is not None
    assert far.bounds is not None
    assert near.bounds is not None
    shift = torch.from_numpy(PLACE - far.offset).float()
    torch.testing.assert_close(far.cameras.centers, near.cameras.centers + shift)
    torch.testing.assert_close(far.bounds, near.bounds + shift)
    torch.testing.assert_close(far.images, near.images, atol=0.01, rtol=0)
    assert load_mesh(far.mesh).bounds.mean(0) == pytest.approx(PLACE, abs=1e-4, rel=0)


@pytest.mark.slow
def test_a_far_scene_is_fitted_as_at_the_origin(tmp_path: Path) -> None:
    offset = PLACE - np.array(tiny.CENTER)
    scenes = {
        "near": tiny.write_torus(tmp_path / "near"),
        "far": tiny.write_torus(tmp_path / "far", offset=offset),
    }
    low, high = tiny.BOX.double() + torch.from_numpy(offset)
    settings = {"refine_cameras": True, "bounds": (*low.tolist(), *high.tolist())}
    near = tiny.fit_tiny(scenes["near"], tmp_path / "a", tiny.SHORT["fast"], refine_cameras=True)
    far = tiny.fit_tiny(scenes["far"], tmp_path / "b", tiny.SHORT["fast"], **settings)
    run = tmp_path / "b"
    assert far["reference"]["chamfer_l1"] == pytest.approx(
        near["reference"]["chamfer_l1"], rel=0.02
    )
    assert far["train"]["psnr"] == pytest.approx(near["train"]["psnr"], abs=0.1)
    assert evaluate_run(run, None)["train"] == pytest.approx(far["train"], rel=1e-4)
    expected = load_mesh(tmp_path / "a" / "mesh.ply").bounds + offset
    stored = load_lattice(run / "lattice.safetensors")
    for mesh in (*(load_mesh(run / f"mesh.{e}") for e in ("ply", "glb")), extract_mesh(stored)):
        assert mesh.bounds == pytest.approx(expected, abs=0.05 * tiny.SCALE, rel=0)
    start = load_lattice(run / "checkpoints" / "start.safetensors")
    assert start.bounds.mean(0).tolist() == pytest.approx(PLACE.tolist(), abs=1e-4, rel=0)
    told = json.loads((run / "cameras.json").read_text())
    assert told["center"] == pytest.approx(PLACE.tolist(), abs=1e-4, rel=0)
    scene = load_scene(scenes["far"])
    assert float(from_description(told, scene.offset).center.abs().max()) < 10
    views, _ = load_views(run / "views.safetensors")
    eyes = views.cameras.centers.double() - torch.from_numpy(PLACE)
    assert views.cameras.c2w.dtype == torch.float64
    assert float(eyes.norm(dim=-1).max()) < 5 * tiny.SCALE
    shown = load_exhibit(run)
    assert shown.views is not None
    assert float(shown.bounds.abs().max()) < 10 * tiny.SCALE
    assert float(shown.views.cameras.centers.abs().max()) < 10 * tiny.SCALE
    if "removed" in far:
        assert far["removed"]["largest_center"] == pytest.approx(PLACE, abs=5 * tiny.SCALE, rel=0)
