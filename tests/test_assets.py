"""The demo scene is what its description says: its pictures are those of its mesh."""

import runpy
from pathlib import Path

import pytest

from multiview.scenes import load_scene
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.rendering.raytrace import raytrace

DEMO = Path(__file__).parent.parent / "assets" / "demo"
ALBEDO = (0.88, 0.78, 0.62)


def test_the_demo_is_small() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) < 2_000_000


def test_the_demo_has_training_and_test_views() -> None:
    scene = load_scene(DEMO)
    assert scene.images.shape == (32, 160, 192, 3)
    assert scene.train == tuple(range(26))
    assert scene.held_out == tuple(range(26, 32))
    assert scene.color_space == "linear"


def test_the_mesh_is_one_closed_body_with_tunnels() -> None:
    mesh = load_mesh(DEMO / "mesh.ply")
    assert mesh.is_watertight
    assert mesh.volume > 0
    assert mesh.body_count == 1
    assert mesh.euler_number == 2 - 2 * 7  # genus 7
    bounds = load_scene(DEMO).bounds
    assert bounds is not None
    assert (mesh.bounds[0] > bounds[0].numpy()).all()
    assert (mesh.bounds[1] < bounds[1].numpy()).all()


def test_the_pictures_show_the_mesh() -> None:
    scene = load_scene(DEMO)
    mesh = load_mesh(DEMO / "mesh.ply")
    views = [3, 17, 30]
    seen = raytrace(mesh, scene.cameras[views], lighting=scene.lighting, albedo=ALBEDO)
    # Half a step of 8 bits, but for the odd ray along an edge.
    silhouettes = (seen.silhouettes - scene.silhouettes[views]).abs()
    images = (seen.images - scene.images[views]).abs().amax(-1)
    for difference in (silhouettes, images):
        assert (difference > 0.51 / 255).float().mean() < 1e-3
        assert difference.mean() < 0.5 / 255


def test_the_tutorial_finds_the_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tutorial.py", str(tmp_path / "shape.ply")])
    names = runpy.run_path(str(DEMO.parent / "tutorial.py"))
    mesh = load_mesh(tmp_path / "shape.ply")
    assert mesh.is_watertight
    assert names["distance"] < 0.008  # a sphere to start with: 0.1


def test_the_gallery_is_small() -> None:
    pictures = [DEMO.parent / "demo.png", *(DEMO.parent / "gallery").iterdir()]
    assert len(pictures) >= 4
    assert sum(path.stat().st_size for path in pictures) < 600_000
