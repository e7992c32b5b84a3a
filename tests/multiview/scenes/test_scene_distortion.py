"""Lens distortion: the models, their inversion, what a lens does not show; through both readers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import scene_layouts
import torch
from scene_folders import edit_frame, pose

from multiview.scenes import Scene, load_scene
from multiview.scenes.distortion import Lens, undistort
from sdfrender.files.formats.pngs import write_png

WIDTH, HEIGHT = 72, 50
K = np.array([[60.0, 0, 33.0], [0, 64.0, 27.0], [0, 0, 1]])
Point = tuple[float, float]


def perspective(x: float, y: float, k: list[float], p: tuple[float, float]) -> Point:
    """OpenCV's model as its documentation writes it; `k` are k1 to k6."""
    r = (x**2 + y**2) ** 0.5
    top = 1 + k[0] * r**2 + k[1] * r**4 + k[2] * r**6
    bottom = 1 + k[3] * r**2 + k[4] * r**4 + k[5] * r**6
    return (
        x * top / bottom + 2 * p[0] * x * y + p[1] * (r**2 + 2 * x**2),
        y * top / bottom + p[0] * (r**2 + 2 * y**2) + 2 * p[1] * x * y,
    )


def fisheye(x: float, y: float, k: list[float]) -> Point:
    """OpenCV's fisheye model."""
    r = (x**2 + y**2) ** 0.5
    a = np.arctan(r)
    scale = (a + k[0] * a**3 + k[1] * a**5 + k[2] * a**7 + k[3] * a**9) / r
    return x * scale, y * scale


@pytest.mark.parametrize("seed", range(5))
def test_models_against_their_formulas(seed: int) -> None:
    random = np.random.default_rng(seed)
    k, (p1, p2) = random.normal(0, 0.1, 6).tolist(), random.normal(0, 0.02, 2).tolist()
    x, y = random.uniform(-0.8, 0.8, (2, 20))
    lens = Lens(tuple(k[:3]), tuple(k[3:]), (p1, p2))
    wanted = [perspective(a, b, k, (p1, p2)) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(np.stack(lens.distort(x, y), -1), wanted, rtol=1e-12)
    wanted = [fisheye(a, b, k[:4]) for a, b in zip(x, y, strict=True)]
    fish = Lens(tuple(k[:4]), fisheye=True)
    np.testing.assert_allclose(np.stack(fish.distort(x, y), -1), wanted, rtol=1e-12)
    centre = np.zeros(1)
    assert [float(z[0]) for z in fish.distort(centre, centre)] == [0, 0]


def test_pinholes_are_told() -> None:
    assert Lens().is_pinhole
    assert Lens((0.0, 0.0), (0.0,)).is_pinhole
    assert not Lens(fisheye=True).is_pinhole
    assert not Lens((0.0, 0.1)).is_pinhole
    assert not Lens(tangential=(0.0, 0.1)).is_pinhole


def pattern(x: Any, y: Any) -> Any:
    """A smooth picture of the directions."""
    return 0.5 + 0.2 * np.sin(9 * x) + 0.2 * np.cos(7 * y + x)


def seen_through(distort: Callable[[Any, Any], tuple[Any, Any]]) -> Any:
    """`[H, W]` the pattern through a lens: its inverse by fixed-point iteration."""
    v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    wanted = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
    x, y = wanted
    for _ in range(200):
        a, b = distort(x, y)
        x, y = x + 0.7 * (wanted[0] - a), y + 0.7 * (wanted[1] - b)
    a, b = distort(x, y)
    assert max(abs(a - wanted[0]).max(), abs(b - wanted[1]).max()) < 1e-9
    return pattern(x, y)


def pinhole_directions() -> tuple[Any, Any]:
    v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]


LENSES = {
    "SIMPLE_RADIAL": (Lens((0.12,)), [60.0, 33.0, 27.0, 0.12]),
    "RADIAL": (Lens((-0.15, 0.05)), [60.0, 33.0, 27.0, -0.15, 0.05]),
    "OPENCV": (
        Lens((0.1, -0.03), (), (0.01, -0.02)),
        [60.0, 64.0, 33.0, 27.0, 0.1, -0.03, 0.01, -0.02],
    ),
    "OPENCV_FISHEYE": (
        Lens((0.05, -0.02, 0.01, 0.0), fisheye=True),
        [60.0, 64.0, 33.0, 27.0, 0.05, -0.02, 0.01, 0.0],
    ),
    "FULL_OPENCV": (
        Lens((0.1, -0.03, 0.01), (0.02, 0.01, -0.01), (0.01, -0.02)),
        [60.0, 64.0, 33.0, 27.0, 0.1, -0.03, 0.01, -0.02, 0.01, 0.02, 0.01, -0.01],
    ),
}


@pytest.mark.parametrize("name", LENSES)
def test_undistorted_pictures(name: str) -> None:
    lens = LENSES[name][0]
    picture = seen_through(lens.distort).astype(np.float32)
    straight, seen = undistort(picture[..., None], lens, K)
    x, y = pinhole_directions()
    a, b = lens.distort(x, y)
    u, v = a * K[0, 0] + K[0, 2], b * K[1, 1] + K[1, 2]
    framed = (u >= 0) & (u <= WIDTH) & (v >= 0) & (v <= HEIGHT)
    np.testing.assert_array_equal(seen, framed)
    assert straight[~seen].max(initial=0) == 0
    # Bilinear, at half a pixel from the border by the border's own pixel.
    well = (u > 0.5) & (u < WIDTH - 0.5) & (v > 0.5) & (v < HEIGHT - 0.5)
    np.testing.assert_allclose(straight[well, 0], pattern(x, y)[well], atol=4e-3)
    assert well.mean() > 0.8


def test_a_lens_that_turns_back_shows_nothing_twice() -> None:
    lens = Lens((-0.9,))  # r − 0.9 r³ has its maximum at r = 0.61
    assert lens.reach(2.0) == pytest.approx((1 / 2.7) ** 0.5, abs=0.01)
    assert lens.reach(0.5) == 0.5
    wide = np.diag([20.0, 20.0, 1.0])
    wide[:2, 2] = WIDTH / 2, HEIGHT / 2
    _, seen = undistort(np.ones((HEIGHT, WIDTH, 1), np.float32), lens, wide)
    x, y = np.meshgrid(*((np.arange(n) + 0.5 - n / 2) / 20 for n in (WIDTH, HEIGHT)))
    np.testing.assert_array_equal(seen, np.hypot(x, y) <= lens.reach(np.hypot(x, y).max()))


# ---------------------------------------------------------------------- through the readers


def write_pictures(folder: Path, lens: Lens) -> None:
    """The pattern through a lens; object is a frame of the lens's picture about a hole."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    picture = (seen_through(lens.distort) * 65535).astype(np.uint16)[..., None]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:45, 8:64] = 255
    mask[20:30, 30:45] = 0
    for n in range(3):
        write_png(folder / "images" / f"v_{n}.png", picture)
        iio.imwrite(folder / "masks" / f"v_{n}.png", mask)


def check_scene(scene: Scene, lens: Lens) -> None:
    x, y = pinhole_directions()
    a, b = lens.distort(x, y)
    u, v = a * K[0, 0] + K[0, 2], b * K[1, 1] + K[1, 2]
    seen = (u > 0) & (u < WIDTH) & (v > 0) & (v < HEIGHT)
    for weights in (scene.silhouette_weights[0], scene.image_weights[0]):
        np.testing.assert_array_equal(weights.numpy() == 1, seen)
        assert float(weights[torch.from_numpy(~seen)].sum()) == 0
    well = seen & (scene.silhouettes[0].numpy() == 1)
    assert well.sum() > 1000
    found = scene.images[0, ..., 0].numpy()
    np.testing.assert_allclose(found[well], pattern(x, y)[well], atol=4e-3)
    hole = (u > 31) & (u < 44) & (v > 21) & (v < 29)  # half a pixel within its edges and more
    assert hole.sum() > 50
    assert float(scene.silhouettes[0].numpy()[hole].max()) == 0
    np.testing.assert_allclose(scene.cameras.Ks[0].numpy()[:2, 2], K[:2, 2])


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("name", ["SIMPLE_RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV"])
def test_colmap_lenses(tmp_path: Path, name: str, binary: bool) -> None:
    lens, parameters = LENSES[name]
    write_pictures(tmp_path, lens)
    model = tmp_path / "sparse" / "0"
    model.mkdir(parents=True)
    write = scene_layouts.write_colmap_binary if binary else scene_layouts.write_colmap_text
    images = [(n, (1.0, 0, 0, 0), (0.0, 0.0, 5.0 + n), f"v_{n}.png") for n in range(3)]
    write(model, [(1, name, (WIDTH, HEIGHT), parameters)], images)
    scene = load_scene(tmp_path)
    if name == "SIMPLE_RADIAL":  # one focal length: other directions along y
        assert scene.cameras.Ks[0, 1, 1] == 60
        assert float(scene.silhouette_weights.min()) == 0
        return
    check_scene(scene, lens)


@pytest.mark.parametrize("per_frame", [False, True])
def test_nerfstudio_lenses(tmp_path: Path, per_frame: bool) -> None:
    lens = Lens((0.1, -0.03, 0.02, 0.01), (), (0.01, -0.02))
    keys = {"k1": 0.1, "k2": -0.03, "k3": 0.02, "k4": 0.01, "p1": 0.01, "p2": -0.02}
    write_pictures(tmp_path, lens)
    frames = [{"file_path": f"images/v_{n}.png", "transform_matrix": pose(5.0 + n)}
              for n in range(3)]  # fmt: skip
    intrinsics = {"fl_x": 60.0, "fl_y": 64.0, "cx": 33.0, "cy": 27.0, "camera_model": "OPENCV"}
    table = {**intrinsics, **({} if per_frame else keys), "frames": frames}
    if per_frame:
        frames[0].update(keys)
    (tmp_path / "transforms.json").write_text(json.dumps(table))
    scene = load_scene(tmp_path)
    check_scene(scene, lens)
    shown = float(scene.silhouette_weights[1].min())
    assert shown == (1.0 if per_frame else 0.0)  # the other frames have the lens of the top level
    edit_frame(tmp_path, camera_model="OPENCV_FISHEYE", p1=0.0, p2=0.0)
    assert not torch.equal(load_scene(tmp_path).images[1], scene.images[1])


def test_lenses_at_half_size(tmp_path: Path) -> None:
    write_pictures(tmp_path, LENSES["OPENCV"][0])
    keys = {"k1": 0.1, "k2": -0.03, "p1": 0.01, "p2": -0.02}
    frames = [{"file_path": f"images/v_{n}.png", "transform_matrix": pose(5.0 + n)}
              for n in range(3)]  # fmt: skip
    table = {"fl_x": 60.0, "fl_y": 64.0, "cx": 33.0, "cy": 27.0, **keys, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(table))
    full, half = load_scene(tmp_path), load_scene(tmp_path, max_size=WIDTH // 2)
    wanted = full.images.reshape(3, HEIGHT // 2, 2, WIDTH // 2, 2, 1).mean((2, 4))
    torch.testing.assert_close(half.images, wanted)
    assert float(half.silhouette_weights.min()) == 0
