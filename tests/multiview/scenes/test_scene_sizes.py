"""Pictures of several sizes in one scene."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scene_folders import edit_frame, refused, write_transforms

import sdfrender as sr
from multiview.map_settings import MapSettings
from multiview.scenes import load_scene
from multiview.scenes.frames import in_frame
from multiview.scenes.scene import View
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


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("k1", [0.0, 1e-9])
def test_maps_are_where_their_pictures_are(tmp_path: Path, step: int, k1: float) -> None:
    """As large as the pictures and half as large; of a lens, without one."""
    folder, cameras, ball = write_scene(tmp_path / "scene", k1)
    for n, camera in enumerate(cameras):
        small = camera.resized(camera.width // step, camera.height // step)
        out = sr.render(ball, small)
        known = out.hit_mask[0].numpy()
        for kind in ("depth", "normal"):
            (folder / kind).mkdir(exist_ok=True)
        np.savez(folder / "depth" / f"v_{n}.npz", depths=np.where(known, out.depths[0], 0))
        np.savez(folder / "normal" / f"v_{n}.npz", normals=out.normals[0].numpy())
    scene = load_scene(folder, maps=MapSettings(normal_frame="world"))
    seen = sr.render(ball, scene.cameras)
    assert scene.maps is not None
    depths, sure = scene.maps.depths, scene.maps.depth_weights
    normals, trusted = scene.maps.normals, scene.maps.normal_weights
    for each in (depths, sure, normals, trusted):
        assert each is not None
    for n, (width, height) in enumerate(SIZES):
        scale = 48 / max(width, height)
        both = (sure[n] > 0) & seen.hit_mask[n]
        # all of the ball, or one pixel of each that the map has fewer of
        expected = float(seen.hit_mask[n].sum()) / (step * scale) ** 2
        assert float(both.sum()) == pytest.approx(expected, rel=0.1)
        pixel = 3 / (1.1 * 48) * step * scale  # world units, at the ball
        # half a pixel of the map aside changes a depth by as much where the ball is steep
        inner = both & (seen.normals[n] @ -scene.cameras.c2w[n, :3, 2] > 0.7)
        assert float((depths[n] - seen.depths[n])[inner].abs().max()) < pixel
        assert float((normals[n] * seen.normals[n]).sum(-1)[inner].min()) > 1 - (1.5 * pixel) ** 2
        bottom, right = int(np.ceil(height * scale)), int(np.ceil(width * scale))
        for weights in (sure, trusted):
            assert float(weights[n, bottom:].sum()) == 0
            assert float(weights[n, :, right:].sum()) == 0


def test_a_map_of_another_number_of_pixels_is_padded_in_proportion() -> None:
    view = View("v", Path("v.png"), np.eye(4), np.eye(3), (30, 44), frame=(44, 44))
    assert in_frame(np.ones((44, 30, 2), np.float32), view).shape == (44, 44, 2)
    small = in_frame(np.ones((11, 8), np.float32), view)
    assert small.shape == (11, 12)  # 8 · 44 / 30 = 11.7
    assert small[:, :8].all()
    assert not small[:, 8:].any()
    assert in_frame(np.ones((5, 7), np.float32), replace(view, frame=None)).shape == (5, 7)
