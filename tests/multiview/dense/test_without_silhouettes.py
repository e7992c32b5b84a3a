"""Whole fits without silhouettes: a painted wall in a box, and what is refused."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import relief
import tiny
import torch
import trimesh

from multiview.config import FitConfig
from multiview.dense.depth_steps import DepthSteps, rendered, solve
from multiview.fit import fit
from multiview.optimize.stereo_term import StereoTerm
from multiview.recipes import NewtonLevel, Weights
from multiview.results.evaluate import ViewScore
from multiview.results.finished_run import evaluate_run, texture_run
from multiview.results.observed import invented, scene_of_part, seen_mesh
from multiview.results.results import doubts
from multiview.scenes import load_scene
from multiview.scenes.readers.points import points_file, read_sparse_points
from multiview.stereo.matching import Matching
from multiview.stereo.pictures import Pictures
from multiview.without_silhouettes import box_without_silhouettes
from sdfrender import InputError, Lattice, extract_mesh, load_lattice

RESOLUTION = 32
CELL = 1.8 / (RESOLUTION - 1)


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return relief.write_wall(tmp_path_factory.mktemp("wall") / "wall")


@pytest.fixture(scope="module")
def run(wall: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    fit(settings(wall, out, train_views="0:5"))
    return out


def settings(scene: Path, out: Path, **changes: object) -> FitConfig:
    given = {"silhouettes": "none", "resolution": RESOLUTION, "threads": 1, **changes}
    return FitConfig(scene, out, **given)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- the wall


def test_a_wall_is_fitted_where_it_was_seen(run: Path) -> None:
    mesh = trimesh.load(run / "mesh.ply", process=False)
    points = torch.from_numpy(np.array(mesh.vertices)).float()
    off = relief.off(points).abs() / CELL
    assert float(off.median()) < 0.2
    assert float((off < 1).float().mean()) > 0.93
    assert not mesh.is_watertight
    # nearly all of the wall in the box, and neither the sides of the box nor its back
    assert 0.8 < mesh.area / (1.8 * 1.35 * 1.1) < 1.4
    assert points[:, 2].min() > relief.BOX[0, 2] + CELL
    assert mesh.area_faces.sum() > 0


def test_steps_come_nearer_than_dense_stereo(run: Path) -> None:
    middle = torch.tensor([[-0.7, -0.5, 0], [0.7, 0.45, 0]])

    def wrong(lattice: Lattice) -> float:
        points = torch.from_numpy(np.array(extract_mesh(lattice).vertices)).float()
        inner = ((points > middle[0]) & (points < middle[1]))[:, :2].all(-1)
        front = inner & (points[:, 2] > -0.4)
        return float(relief.off(points[front]).abs().median()) / CELL

    start = load_lattice(run / "checkpoints" / "start.safetensors")
    end = load_lattice(run / "lattice.safetensors")
    assert wrong(end) < 0.8 * wrong(start)


def test_nothing_is_scored_against_masks_that_there_are_not(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    for group in ("train", "held_out"):
        assert "silhouette_iou" not in metrics[group]
        assert metrics[group]["psnr"] > 13  # of one colour 10; the lattice is coarse for the paint
        assert metrics[group]["zncc"] > 0.6
    assert 0.3 < metrics["unseen_area"] < 0.8
    assert "masks" not in metrics
    assert not any("silhouette" in text for text in metrics.get("warnings", []))
    report = (run / "report.html").read_text()
    assert "silhouette IoU, " not in report
    assert json.loads((run / "appearance.json").read_text())["model"] == "radiance"


def test_a_run_is_measured_again_alike(run: Path) -> None:
    before = json.loads((run / "metrics.json").read_text())
    after = evaluate_run(run, None)
    assert after["unseen_area"] == before["unseen_area"]
    assert after["train"]["zncc"] == pytest.approx(before["train"]["zncc"], abs=1e-3)
    assert after["held_out"]["psnr"] == pytest.approx(before["held_out"]["psnr"], abs=0.05)


@pytest.mark.slow
def test_the_rest_is_kept_and_grey_when_it_is_to_be_closed(wall: Path, tmp_path: Path) -> None:
    fit(settings(wall, tmp_path / "run", closed=True, resolution=20))
    mesh = trimesh.load(tmp_path / "run" / "mesh.ply", process=False)
    assert mesh.is_watertight
    back = np.asarray(mesh.vertices)[:, 2] < float(relief.BOX[0, 2]) + 0.01
    colors = mesh.visual.vertex_colors[:, :3]
    assert back.sum() > 50
    assert (np.abs(colors[back].astype(int) - 128) <= 1).all()
    assert np.abs(colors[~back].astype(int) - 128).max() > 30


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_surface(wall: Path, tmp_path: Path) -> None:
    small = {"resolution": 18}
    fit(settings(wall, tmp_path / "whole", **small))
    with tiny.stopped_after(0, 2):
        fit(settings(wall, tmp_path / "parts", **small))
    fit(settings(wall, tmp_path / "parts", resume=True, **small))
    whole, parts = (load_lattice(tmp_path / x / "lattice.safetensors") for x in ("whole", "parts"))
    torch.testing.assert_close(parts.values, whole.values, atol=1e-5, rtol=0)


# ---------------------------------------------------------------------- a step


def test_a_step_solves_the_normal_equations() -> None:
    random = np.random.default_rng(0)
    from scipy import sparse

    S = sparse.random(40, 12, 0.4, "csr", np.float32, random)
    L = sparse.random(12, 12, 0.4, "csr", np.float32, random)
    s = random.standard_normal(40).astype(np.float32)
    dense = S.toarray().astype(float)
    A = dense.T @ dense + 0.3 * L.toarray().T @ L.toarray() + 1e-3 * np.eye(12)
    expected = np.linalg.solve(A, -dense.T @ s)
    found = solve(S, s, L, 0.3)
    assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)


def test_steps_move_a_wall_that_is_off_back(wall: Path) -> None:
    targets = relief.photographs(relief.cameras())
    true = Lattice.from_function(relief.wall().sample, RESOLUTION, relief.BOX).redistance()
    moved = true.with_values(true.values - 0.8 * CELL).redistance()
    stereo = StereoTerm(Pictures.of(targets), Matching(floor=0.004))
    level = NewtonLevel(1, 1, 5, laplacian=0.001, smoothing=0.02, colors=False)
    steps = DepthSteps(moved, targets.for_lattice(moved, 1.0), stereo, Weights(), level)
    # What is on the faces of the box is no surface.
    whole = Lattice(-torch.ones(9, 8, 7), relief.BOX)
    assert not rendered(whole, targets).hit_mask.any()
    for index in range(5):
        for views, terms in steps.run_pass(index):
            assert views == list(range(6))
            assert float(terms.stereo.sum()) > 0
    inner = (slice(6, -6), slice(6, -6))
    surface = true.values[inner].abs() < CELL
    off = (steps.lattice.values - true.values)[inner][surface].abs() / CELL
    assert float(off.mean()) < 0.2


# ---------------------------------------------------------------------- what was seen


def test_what_no_view_saw_is_cut_away() -> None:
    ball = Lattice.sphere(0.6, resolution=64, bounds=[[-1.0, -0.9, -1.1], [1.0, 0.9, 1.1]])
    observed = (ball.vertices[..., 2] > 0).float()
    half = seen_mesh(ball, observed)
    assert half.vertices[:, 2].min() > -0.06
    assert half.area == pytest.approx(2 * np.pi * 0.36, rel=0.1)
    assert invented(ball, observed) == pytest.approx(0.5, abs=0.06)
    speck = observed.clone()
    speck[28:30, 25:27, :20] = 1  # a loose piece at the pole
    assert invented(ball, speck) < invented(ball, observed)
    assert len(seen_mesh(ball, speck).faces) == len(half.faces)


def test_views_that_show_nothing_of_it_are_told(wall: Path) -> None:
    scene = load_scene(wall, silhouettes="none")
    scores = [ViewScore(20.0, 20.0, 0.5, None) for _ in scene.train]
    assert not doubts(scene, scores)
    scores[2] = ViewScore(float("nan"), 20.0, 0.5, None)
    (told,) = doubts(scene, scores)
    assert f"1 of 6 views show nothing of the surface that was found ({scene.names[2]})" in told


def test_views_are_shown_where_they_show_what_was_seen(wall: Path) -> None:
    scene = load_scene(wall, silhouettes="none")
    true = Lattice.from_function(relief.wall().sample, 24, relief.BOX).redistance()
    observed = (true.vertices[..., 0] > 0).float()
    part = scene_of_part(scene, true, observed)
    share = part.silhouettes.mean((1, 2))
    assert ((share > 0.08) & (share < 0.25)).all()
    assert torch.equal(part.image_weights, part.silhouettes)
    assert (part.images[part.silhouettes == 0] == 0).all()
    assert not part.has_silhouettes


# ---------------------------------------------------------------------- scenes and boxes


def test_auto_takes_none_where_nothing_says_what_the_object_is(
    wall: Path, torus_scene: Path
) -> None:
    scene = load_scene(wall)
    assert not scene.has_silhouettes
    assert (scene.silhouettes == 1).all()
    assert scene.train == tuple(range(6))
    assert any("--silhouettes none" in text for text in scene.warnings)
    assert load_scene(torus_scene).has_silhouettes
    without = load_scene(torus_scene, silhouettes="none")
    assert not without.has_silhouettes
    assert not without.warnings
    assert (without.image_weights.min(), without.image_weights.max()) == (0, 1)  # of the alpha


def test_files_are_asked_for(wall: Path, torus_scene: Path) -> None:
    with pytest.raises(InputError, match="--silhouettes files makes none"):
        load_scene(wall, silhouettes="files")
    assert load_scene(torus_scene, silhouettes="files").has_silhouettes


def test_a_box_is_needed(wall: Path, tmp_path: Path) -> None:
    scene = relief.write_wall(tmp_path / "wall", bounds=False)
    with pytest.raises(InputError, match="a fit without silhouettes"):
        load_scene(scene)
    assert not load_scene(scene, boxed=True).has_silhouettes
    with pytest.raises(InputError, match=r"^--bounds: need the box to look in"):
        fit(settings(scene, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_box_is_about_most_of_the_points(wall: Path) -> None:
    scene = replace(load_scene(wall, silhouettes="none"), bounds=None)
    random = np.random.default_rng(0)
    points = random.uniform((-1, 2, 5), (1, 3, 9), (2000, 3))
    points[:20] *= 50  # mistakes
    box = box_without_silhouettes(replace(scene, points=points))
    expected = torch.tensor([[-1.4, 1.6, 4.6], [1.4, 3.4, 9.4]])
    torch.testing.assert_close(box, expected, atol=0.15, rtol=0)


def colmap_points(folder: Path, points: list[tuple[float, float, float]]) -> None:
    data = struct.pack("<Q", len(points))
    for n, point in enumerate(points):
        data += struct.pack("<Q3d3Bd", n, *point, 1, 2, 3, 0.5)
        data += struct.pack("<Q", n) + struct.pack("<2I", 1, 2) * n
    (folder / "points3D.bin").write_bytes(data)


def test_points_of_colmap_are_read(tmp_path: Path) -> None:
    cameras = tmp_path / "cameras.txt"
    assert points_file(cameras) is None

    def positions() -> np.ndarray:
        found = points_file(cameras)
        assert found is not None
        return read_sparse_points(found).positions

    text = "# comment\n7 1.5 -2 3e0 0 0 0 0.1 1 2 3 4\n8 4 5 6 0 0 0 0.1\n"
    (tmp_path / "points3D.txt").write_text(text)
    np.testing.assert_array_equal(positions(), [[1.5, -2, 3], [4, 5, 6]])
    colmap_points(tmp_path, [(1, 2, 3), (4, 5, 6), (float("nan"), 0, 0)])
    np.testing.assert_array_equal(positions(), [[1, 2, 3], [4, 5, 6]])
    whole = (tmp_path / "points3D.bin").read_bytes()
    for cut in (4, 30, len(whole) - 3):
        (tmp_path / "points3D.bin").write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"points3D\.bin: need more than its"):
            positions()
    (tmp_path / "points3D.bin").unlink()
    (tmp_path / "points3D.txt").write_text("1 2 x 4 0 0 0 0\n")
    with pytest.raises(InputError, match="line 1: need POINT3D_ID X Y Z"):
        positions()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("preset", "adam"),
        ("stereo", "off"),
        ("init", "sphere"),
        ("refine_cameras", True),
        ("mask_threshold", 0.2),
        ("prior", Path("family")),
    ],
)
def test_what_needs_silhouettes_is_refused(option: str, value: object, tmp_path: Path) -> None:
    name = option.replace("_", "-")
    with pytest.raises(InputError, match=f"^--{name}.*without silhouettes"):
        settings(tmp_path, tmp_path / "run", **{option: value})


def test_colours_are_refused(wall: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--colors on: need silhouettes"):
        fit(settings(wall, tmp_path / "run", colors="on"))


def test_the_part_that_was_seen_is_textured(run: Path) -> None:
    pytest.importorskip("xatlas", reason="needs the extra `texture`")
    found = texture_run(run, 64, 400)
    assert found["faces"] <= 500
    textured = trimesh.load(run / "textured.glb", force="mesh")
    points = torch.from_numpy(np.array(textured.vertices)).float()
    assert points[:, 2].min() > relief.BOX[0, 2] + CELL
    assert float((relief.off(points).abs() < 2 * CELL).float().mean()) > 0.95
    assert json.loads((run / "metrics.json").read_text())["texture"] == found
