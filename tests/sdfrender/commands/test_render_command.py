"""The command `sdfrender render`, run as a person runs it."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from sdfrender.cli import main
from sdfrender.commands.render_config import RenderConfig
from sdfrender.commands.render_scene import render_scene
from sdfrender.commands.rig import place_cameras
from sdfrender.errors import InputError
from sdfrender.files.formats.pngs import read_png
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.geometry.primitives import torus
from sdfrender.io.lattices import save_lattice

TINY = ["--width", "24", "--height", "18", "--supersampling", "1"]


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    path = tmp_path / "box.ply"
    mesh = trimesh.creation.box((2.0, 1.0, 0.5))
    mesh.apply_translation((10.0, 20.0, 30.0))
    mesh.export(path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["sdfrender", "render", *map(str, words)])
    return main()


def table(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "transforms.json").read_text())
    return content


def views(folder: Path) -> np.ndarray:
    return np.stack([read_png(path) for path in sorted((folder / "images").iterdir())])


# ---------------------------------------------------------------------- what it writes


def test_the_default_is_the_cube_around_the_shape(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shape: Path
) -> None:
    assert run(monkeypatch, shape, "--out", tmp_path / "scene", *TINY) == 0
    content = table(tmp_path / "scene")
    assert len(content["frames"]) == 26
    assert "test_filenames" not in content
    eyes = np.array([frame["transform_matrix"] for frame in content["frames"]])[:, :3, 3]
    np.testing.assert_allclose(eyes.mean(0), (10, 20, 30), atol=1e-4)
    distances = np.linalg.norm(eyes - (10, 20, 30), axis=1)
    np.testing.assert_allclose(distances, distances[0], rtol=1e-5)
    np.testing.assert_allclose(
        content["sdfrender"]["bounds"], [(8.8, 19.3, 29.55), (11.2, 20.7, 30.45)], atol=1e-5
    )
    assert content["sdfrender"]["lighting"]["directional"][0]["to_light"] == [0.3, 0.8, 0.5]
    pixels = views(tmp_path / "scene")
    assert pixels.shape == (26, 18, 24, 4)
    assert (pixels[..., 3] > 0).any((1, 2)).all()
    border = np.concatenate((pixels[:, [0, -1]].ravel(), pixels[:, :, [0, -1]].ravel()))
    assert border.max() == 0  # the whole shape is in view
    assert load_mesh(tmp_path / "scene" / "mesh.ply").volume == pytest.approx(1.0, rel=1e-5)


def test_every_option_changes_the_scene(tmp_path: Path, shape: Path) -> None:
    base = RenderConfig(
        shape, tmp_path / "base", views=2, rig="orbit", width=24, height=18, supersampling=1
    )
    render_scene(base)
    reference = views(base.out), table(base.out)
    changes: dict[str, Any] = {
        "views": 3,
        "rig": "cube",
        "width": 20,
        "height": 16,
        "fov_deg": 30.0,
        "elevation_deg": -15.0,
        "distance": 7.0,
        "supersampling": 3,
        "smooth": True,
        "albedo": (0.9, 0.5, 0.1),
        "light": "sun",
        "bits": 16,
        "held_out": 2,
    }
    for name, value in changes.items():
        config = replace(base, out=tmp_path / name, **{name: value})
        if name == "rig":
            config = replace(config, views=26)
        render_scene(config)
        pixels, content = views(config.out), table(config.out)
        same = pixels.shape == reference[0].shape and np.array_equal(pixels, reference[0])
        assert not same, f"{name}: no effect on the images"
        if name in ("views", "fov_deg", "distance", "held_out", "light"):
            assert content != reference[1], f"{name}: no effect on transforms.json"
    other_seed = replace(base, out=tmp_path / "seed", held_out=2, seed=1)
    render_scene(other_seed)
    assert table(other_seed.out)["frames"][:2] == reference[1]["frames"]
    assert table(other_seed.out)["frames"] != table(tmp_path / "held_out")["frames"]
    assert table(other_seed.out)["test_filenames"] == ["images/view_002.png", "images/view_003.png"]


@pytest.mark.parametrize("kind", ["mesh", "lattice"])
def test_a_size_scales_and_centres_the_shape_and_its_distances(
    tmp_path: Path, shape: Path, kind: str
) -> None:
    """The same pictures from the same multiple of its size; a lattice stays one of distances."""
    if kind == "lattice":
        shape = tmp_path / "ball.npz"
        box = [[9.0, 19.0, 29.0], [11.0, 21.0, 30.5]]
        save_lattice(shape, Lattice.sphere(0.6, (10, 20, 29.8), 24, box))
    base = RenderConfig(shape, tmp_path / "base", width=24, height=24, supersampling=1)
    small = replace(base, distance=5.0)  # the longest side is 2
    large = replace(base, out=tmp_path / "large", size=4.0, distance=10.0)
    first, other = render_scene(small), render_scene(large)
    steps = np.abs(views(small.out).astype(int) - views(large.out).astype(int))
    assert steps.max() <= 1  # rounding
    mesh, scaled = first.mesh, other.mesh
    middle = mesh.bounds.mean(0) if kind == "mesh" else np.mean(box, 0)
    np.testing.assert_allclose(scaled.vertices, 2 * (mesh.vertices - middle), atol=1e-5)
    np.testing.assert_allclose(other.bounds.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(other.bounds.diff(dim=0), 2 * first.bounds.diff(dim=0), atol=1e-5)


def test_a_lattice_looks_like_its_mesh(tmp_path: Path) -> None:
    bounds = ((-0.9, -0.5, -0.8), (1.1, 0.5, 0.8))
    lattice = Lattice.from_function(torus(0.5, 0.25, (0.1, 0.0, 0.0)), (49, 25, 41), bounds)
    save_lattice(tmp_path / "torus.safetensors", lattice)
    config = RenderConfig(
        tmp_path / "torus.safetensors", tmp_path / "a", views=2, rig="orbit", width=40, height=30
    )
    from_lattice = render_scene(config)
    torch.testing.assert_close(from_lattice.bounds, torch.tensor(bounds))
    mesh = replace(config, shape=tmp_path / "a" / "mesh.ply", out=tmp_path / "b", supersampling=5)
    from_mesh = render_scene(mesh)
    torch.testing.assert_close(from_lattice.cameras.c2w, from_mesh.cameras.c2w)
    # Coverage is analytic here and counted there; normals are smooth here and flat there.
    difference = (from_lattice.silhouettes - from_mesh.silhouettes).abs()
    assert difference.mean() < 0.005
    assert (from_lattice.images - from_mesh.images).abs().mean() < 0.005
    assert from_lattice.silhouettes.mean() > 0.15


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-3, 1.0), (1e4, -3e5)])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (100, 40), (30, 90)])
def test_the_shape_just_fits(scale: float, offset: float, width: int, height: int) -> None:
    verts = np.random.default_rng(0).normal(size=(200, 3)) * (1.0, 0.2, 0.5) * scale + offset
    config = RenderConfig(Path("a"), Path("b"), width=width, height=height, held_out=3)
    cameras = place_cameras(config, verts)
    uv, depths = cameras.to(torch.zeros(0).double()).project(torch.from_numpy(verts))
    half = torch.tensor([width, height]) / 2
    out = ((uv - half).abs() / half).amax()
    assert len(cameras) == 29
    assert depths.min() > 0
    assert 0.6 < out < 0.96


def test_a_mesh_inside_out_is_turned_back(tmp_path: Path, shape: Path) -> None:
    mesh = load_mesh(shape)
    mesh.invert()
    mesh.export(tmp_path / "inverted.ply")
    config = RenderConfig(
        shape, tmp_path / "a", views=1, rig="orbit", width=24, height=18, supersampling=1
    )
    expected = render_scene(config)
    turned = render_scene(replace(config, shape=tmp_path / "inverted.ply", out=tmp_path / "b"))
    torch.testing.assert_close(turned.images, expected.images)
    assert turned.images.max() > 0.3


# ---------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--views", "3"], "--views: the cube has 26, got 3"),
        (["--rig", "orbit", "--views", "0"], "--views: need at least 1, got 0"),
        (["--width", "0"], "--width: need at least 1"),
        (["--height", "-3"], "--height: need at least 1"),
        (["--fov-deg", "180"], "--fov-deg: need between 0 and 180"),
        (["--fov-deg", "nan"], "--fov-deg: need between 0 and 180"),
        (["--elevation-deg", "95"], "--elevation-deg: need from -90 to 90"),
        (["--distance", "0"], "--distance: need positive"),
        (["--distance", "inf"], "--distance: need positive"),
        (["--supersampling", "2"], "--supersampling: need odd"),
        (["--albedo", "1", "1", "1.5"], "--albedo: need from 0 to 1"),
        (["--size", "0"], "--size: need positive, got 0"),
        (["--size", "nan"], "--size: need positive"),
        (["--held-out", "-1"], "--held-out: need at least 0"),
        (["--seed", "-1"], "--seed: need from 0"),
    ],
)
def test_options_out_of_range(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    shape: Path,
    words: list[str],
    message: str,
) -> None:
    assert run(monkeypatch, shape, "--out", tmp_path / "scene", *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "scene").exists()


def test_shapes_that_cannot_be_rendered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "broken.ply").write_text("ply\nnonsense")
    (tmp_path / "notes.txt").write_text("hello")
    empty = Lattice(torch.ones(3, 3, 3), torch.tensor([[0.0] * 3, [1.0] * 3]))
    save_lattice(tmp_path / "empty.safetensors", empty)
    save_lattice(tmp_path / "batch.npz", Lattice(-torch.ones(2, 3, 3, 3), empty.bounds))
    (tmp_path / "point.obj").write_text("v 1 2 3\nv 1 2 3\nv 1 2 3\nf 1 2 3\n")
    for name in (
        "none.obj",
        "point.obj",
        "broken.ply",
        "notes.txt",
        "empty.safetensors",
        "batch.npz",
    ):
        assert run(monkeypatch, tmp_path / name, "--out", tmp_path / "scene") == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {tmp_path / name}: ")
        assert error.count("\n") == 1
        assert not (tmp_path / "scene").exists()


def test_the_folder_is_checked_before_the_work(tmp_path: Path, shape: Path) -> None:
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene" / "mine.txt").write_text("keep")
    config = RenderConfig(shape, tmp_path / "scene", width=10**6, height=10**6)  # never ends
    with pytest.raises(InputError, match="not empty"):
        render_scene(config)
    with pytest.raises(InputError, match="not a scene"):
        render_scene(replace(config, force=True))
    assert (tmp_path / "scene" / "mine.txt").read_text() == "keep"


def test_help_teaches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "--help")
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "Example: sdfrender render" in text
    assert "SHAPE" in text
