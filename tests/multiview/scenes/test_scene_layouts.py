"""Scenes of COLMAP, IDR and DVR: the same views, and the same mesh, as in transforms.json."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import places
import pytest
import scene_layouts
import tiny
import torch
import trimesh

from multiview.scenes import load_scene
from sdfrender import extract_mesh, metrics

DATA = places.DATA


@pytest.fixture(scope="module")
def plain(torus_scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The torus as any other program would state it: neither light nor box."""
    return scene_layouts.plain_scene(torus_scene, tmp_path_factory.mktemp("plain") / "torus")


@pytest.fixture(scope="module")
def plain_mesh(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> trimesh.Trimesh:
    run = tmp_path_factory.mktemp("plain") / "run"
    return extract_mesh(tiny.optimize_tiny(plain, run, tiny.NEWTON).lattice)


@pytest.mark.parametrize("layout", scene_layouts.LAYOUTS)
def test_the_same_views(plain: Path, layout: str, tmp_path: Path) -> None:
    wanted = load_scene(plain)
    scene = load_scene(scene_layouts.LAYOUTS[layout](plain, tmp_path / "scene"))
    assert scene.name == "scene"
    assert len(scene.names) == 8
    torch.testing.assert_close(scene.cameras.c2w, wanted.cameras.c2w, atol=1e-5, rtol=0)
    torch.testing.assert_close(scene.cameras.Ks, wanted.cameras.Ks, atol=1e-4, rtol=0)
    torch.testing.assert_close(scene.images, wanted.images, atol=1e-6, rtol=0)
    torch.testing.assert_close(scene.silhouettes, wanted.silhouettes, atol=1e-6, rtol=0)
    assert bool((scene.silhouette_weights == 1).all())


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["COLMAP text", "COLMAP binary", "IDR", "DVR"])
def test_the_same_mesh(
    plain: Path, plain_mesh: trimesh.Trimesh, layout: str, tmp_path: Path
) -> None:
    source = scene_layouts.LAYOUTS[layout](plain, tmp_path / "scene")
    found = extract_mesh(tiny.optimize_tiny(source, tmp_path / "run", tiny.NEWTON).lattice)
    # The same numbers but for the rounding of the cameras to float32, which the steps of the fit
    # carry on: a thousandth of the longest side, a fiftieth of a cell.
    assert metrics.compare_meshes(found, plain_mesh, metrics.SAMPLES)["hausdorff"] < 1e-3
    middle = torch.tensor(tiny.CENTER).numpy()
    assert abs(found.bounds.mean(0) - middle).max() < 0.1 * tiny.SCALE


def test_a_camera_file_stands_for_its_scene(plain: Path, tmp_path: Path) -> None:
    folder = scene_layouts.write_colmap(plain, tmp_path / "a", binary=False)
    assert load_scene(folder / "sparse/0/cameras.txt").name == "a"
    assert load_scene(folder / "sparse/0").name == "a"
    folder = scene_layouts.write_idr(plain, tmp_path / "b")
    assert load_scene(folder / "cameras_sphere.npz").name == "b"


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "shapenet_bench").is_dir(), reason="the benches are not here")
def test_a_bench_of_shapenet() -> None:
    folder = sorted((DATA / "shapenet_bench" / "02828884").iterdir())[0]
    scene = load_scene(folder)
    assert scene.images.shape == (24, 256, 256, 3)
    points = torch.from_numpy(np.load(folder / "pointcloud.npz")["points"].astype(np.float32))
    uv, depths = scene.cameras.project(points)
    assert float(depths.min()) > 0

    def in_masks(shift: float) -> float:
        """Of the points in frame, the fraction that falls into the masks."""
        ids = (uv + shift).floor().long()  # (24, P, 2)
        framed = ((ids >= 0) & (ids < 256)).all(-1)
        ids = ids.clamp(0, 255)
        views = torch.arange(24)[:, None]
        hit = scene.silhouettes[views, ids[..., 1], ids[..., 0]] > 0.5
        return float(hit[framed].float().mean())

    # Slats of a few pixels: the fraction tells where the pixels' centres are.
    assert in_masks(0) > 0.96
    assert in_masks(0) > max(in_masks(-0.5), in_masks(0.5)) + 0.01
