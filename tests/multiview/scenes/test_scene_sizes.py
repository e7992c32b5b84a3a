"""Pictures of several sizes in one scene."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from scene_folders import edit_frame, refused, write_transforms

import sdfrender as sr
from multiview.scenes import load_scene
from sdfrender.files.formats.pngs import write_png

SIZES = [(48, 32), (30, 44), (24, 16)]  # landscape, portrait, a smaller landscape


def write_scene(folder: Path, k1: float = 0.0) -> tuple[Path, list[sr.Cameras], sr.Lattice]:
    """A ball in pictures of several sizes, off-centre principal points; its cameras."""
    ball = sr.Lattice.sphere(0.5, resolution=24)
    frames, cameras = [], []
    folder.mkdir()
    for n, (width, height) in enumerate(SIZES):
        camera = sr.Cameras.look_at([[0.6 * n, 0.3, 3.0]], width=width, height=height)
        Ks = torch.tensor([[[1.1 * max(width, height), 0, 0.45 * width],
                            [0, 1.05 * max(width, height), 0.52 * height], [0, 0, 1]]])  # fmt: skip
        camera = sr.Cameras(camera.c2w, Ks, width, height)
        out = sr.render(ball, camera)
        rgba = torch.cat((out.images[0].expand(-1, -1, 3), out.silhouettes[0, ..., None]), -1)
        write_png(folder / f"v_{n}.png", (rgba.clamp(0, 1) * 255).round().byte().numpy())
        pose = camera.c2w[0].numpy() @ np.diag((1.0, -1, -1, 1))
        frames.append({"file_path": f"v_{n}.png", "transform_matrix": pose.tolist(),
                       "fl_x": float(Ks[0, 0, 0]), "fl_y": float(Ks[0, 1, 1]),
                       "cx": float(Ks[0, 0, 2]), "cy": float(Ks[0, 1, 2]), "k1": k1})  # fmt: skip
        cameras.append(camera)
    (folder / "transforms.json").write_text(json.dumps({"frames": frames}))
    return folder, cameras, ball


def test_each_picture_is_where_its_camera_sees_it(tmp_path: Path) -> None:
    folder, _, ball = write_scene(tmp_path / "scene")
    scene = load_scene(folder)
    assert (scene.cameras.width, scene.cameras.height) == (48, 48)
    seen = sr.render(ball, scene.cameras).silhouettes
    known = scene.silhouette_weights > 0.99
    # 8-bit alpha; the smallest picture has 2×2 pixels of the frame for one of its own.
    for n, most in ((0, 0.004), (1, 0.06), (2, 0.06)):
        apart = (seen[n] - scene.silhouettes[n]).abs()[known[n]]
        assert float(apart.mean()) < most
    shapes = [(32, 48), (48, round(48 * 30 / 44)), (32, 48)]
    for n, (height, width) in enumerate(shapes):
        assert bool(known[n, : height - 1, : width - 1].all())
        assert float(scene.silhouette_weights[n, height + 1 :].sum()) == 0
        assert float(scene.silhouette_weights[n, :, width + 1 :].sum()) == 0
        assert float(scene.image_weights[n, height + 1 :].sum()) == 0
        assert float(scene.images[n, height + 1 :].sum()) == 0


def test_smaller_and_with_a_lens(tmp_path: Path) -> None:
    straight, _, _ = write_scene(tmp_path / "straight")
    bent, _, _ = write_scene(tmp_path / "bent", k1=1e-9)
    one, other = load_scene(straight, max_size=24), load_scene(bent, max_size=24)
    assert (one.cameras.width, one.cameras.height) == (24, 24)
    torch.testing.assert_close(one.cameras.Ks, other.cameras.Ks)
    torch.testing.assert_close(one.silhouettes, other.silhouettes, atol=2e-3, rtol=0)


def test_pictures_of_one_size_have_no_frame(tmp_path: Path) -> None:
    scene = load_scene(write_transforms(tmp_path))
    assert bool((scene.image_weights == 1).all())


def test_a_camera_of_another_size_than_its_picture_is_still_an_error(tmp_path: Path) -> None:
    edit_frame(write_transforms(tmp_path), w=25)
    refused(tmp_path, "'w' is 25", "24")


@pytest.mark.parametrize("kind", ["depth", "normal"])
def test_maps_need_one_size(tmp_path: Path, kind: str) -> None:
    folder, _, _ = write_scene(tmp_path / "scene")
    (folder / kind).mkdir()
    iio.imwrite(folder / kind / "v_0.png", np.full((32, 48), 900, np.uint16))
    refused(folder, "one size", "v_0 48×32 and v_1 30×44")
