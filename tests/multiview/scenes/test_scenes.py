"""Scene readers: every format, its axes, its pixel centres, and what it says of itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import places
import pytest
import torch
from scene_folders import (
    FOCAL,
    HEIGHT,
    PAR,
    WIDTH,
    disc,
    edit_frame,
    pose,
    projected,
    rgba,
    write_middlebury,
    write_transforms,
)

from multiview.scenes import load_scene
from sdfrender.view.lighting import Headlight

DATA = places.DATA
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")


# ---------------------------------------------------------------------- transforms.json


def test_transforms_axes_and_pixel_centres(tmp_path: Path) -> None:
    scene = load_scene(write_transforms(tmp_path))
    # A point right of and above the axis, 5, 6, 7 in front of a camera whose y points up.
    for (u, v), z in zip(projected(scene, (1.0, 0.5, 0.0)), (5, 6, 7), strict=True):
        assert u == pytest.approx(WIDTH / 2 + FOCAL * 1.0 / z, abs=1e-4)
        assert v == pytest.approx(HEIGHT / 2 - FOCAL * 0.5 / z, abs=1e-4)
    assert scene.names == ("v_0", "v_1", "v_2")
    assert scene.train == (0, 1, 2)
    assert scene.held_out == ()
    assert scene.color_space == "as stored"
    assert scene.bounds is None
    assert scene.lighting is None
    assert scene.mesh is None


def test_straight_alpha_becomes_premultiplied_over_black(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    pixels = rgba(100)
    pixels[8, 12, 3] = 51  # a fifth
    pixels[..., 1] = 90
    iio.imwrite(tmp_path / "v_0.png", pixels)
    scene = load_scene(tmp_path)
    assert scene.images.shape == (3, HEIGHT, WIDTH, 3)
    assert scene.images.dtype == torch.float32
    assert float(scene.images[0, 8, 12, 0]) == pytest.approx(100 / 255 / 5, abs=1e-6)
    assert float(scene.silhouettes[0, 8, 12]) == pytest.approx(0.2, abs=1e-6)
    assert float(scene.images[0, 0, 0].max()) == 0.0
    assert bool((scene.silhouette_weights == 1).all())
    assert bool((scene.image_weights == 1).all())
    assert scene.image_weights.shape == (3, HEIGHT, WIDTH)


def test_grey_pictures_in_colour_are_read_as_grey(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    grey = load_scene(tmp_path)
    assert grey.images.shape == (3, HEIGHT, WIDTH, 1)
    assert float(grey.images[1, 8, 12]) == pytest.approx(70 / 255)
    pixels = rgba(70)
    pixels[8, 12, 2] = 71  # one pixel of one view
    iio.imwrite(tmp_path / "v_1.png", pixels)
    colored = load_scene(tmp_path)
    assert colored.images.shape == (3, HEIGHT, WIDTH, 3)
    assert torch.equal(colored.images[..., :1], grey.images)


def test_intrinsics_per_frame_override_those_at_the_top(tmp_path: Path) -> None:
    write_transforms(tmp_path, fl_y=31.0, cx=10.0, cy=9.0, w=WIDTH, h=float(HEIGHT))
    edit_frame(tmp_path, fl_x=40.0, fl_y=41.0, cx=3.0, cy=4.0)
    Ks = load_scene(tmp_path).cameras.Ks
    assert Ks[0].tolist() == [[30, 0, 10], [0, 31, 9], [0, 0, 1]]
    assert Ks[1].tolist() == [[40, 0, 3], [0, 41, 4], [0, 0, 1]]


def test_fields_of_view_in_radians(tmp_path: Path) -> None:
    write_transforms(tmp_path, fl_x=None, camera_angle_x=0.7, camera_angle_y=0.5)
    K = load_scene(tmp_path).cameras.Ks[0]
    assert float(K[0, 0]) == pytest.approx(WIDTH / 2 / math.tan(0.35), rel=1e-6)
    assert float(K[1, 1]) == pytest.approx(HEIGHT / 2 / math.tan(0.25), rel=1e-6)
    square = load_scene(write_transforms(tmp_path, fl_x=None, camera_angle_x=0.7)).cameras.Ks[0]
    assert float(square[1, 1]) == float(square[0, 0])


def test_what_a_rendered_scene_states(tmp_path: Path) -> None:
    lighting = {
        "ambient": 0.25,
        "headlight": {"intensity": [0.7, 0.5, 0.5], "falloff": True},
        "directional": [{"to_light": [0, 1, 0], "intensity": 0.5}],
        "sh": [0.0] * 9,
    }
    (tmp_path / "gt.ply").write_text("a mesh")
    stated = {
        "color_space": "linear",
        "bounds": [[-1, -2, -3], [1, 2, 3]],
        "mesh": "gt.ply",
        "lighting": lighting,
    }
    scene = load_scene(write_transforms(tmp_path, sdfrender=stated))
    assert scene.color_space == "linear"
    assert scene.bounds is not None
    assert scene.bounds.tolist() == stated["bounds"]
    assert scene.mesh == tmp_path / "gt.ply"
    light = scene.lighting
    assert light is not None
    assert light.ambient == 0.25
    assert light.headlight is not None
    assert light.headlight.falloff
    assert torch.as_tensor(light.headlight.intensity).tolist() == pytest.approx([0.7, 0.5, 0.5])
    assert [d.intensity for d in light.directional] == [0.5]
    assert light.sh is not None


def test_a_light_without_headlight_has_none(tmp_path: Path) -> None:
    stated: dict[str, Any] = {"lighting": {"directional": [{"to_light": [0, 0, 1]}]}}
    light = load_scene(write_transforms(tmp_path, sdfrender=stated)).lighting
    assert light is not None
    assert light.headlight is None
    stated = {"lighting": {"headlight": {}}}
    light = load_scene(write_transforms(tmp_path, sdfrender=stated)).lighting
    assert light is not None
    assert light.headlight == Headlight(1.0, False)


def test_stated_srgb_is_decoded_before_premultiplying(tmp_path: Path) -> None:
    write_transforms(tmp_path, sdfrender={"color_space": "srgb"})
    pixels = rgba(188)
    pixels[8, 12, 3] = 51
    iio.imwrite(tmp_path / "v_0.png", pixels)
    scene = load_scene(tmp_path)
    linear = ((188 / 255 + 0.055) / 1.055) ** 2.4
    assert float(scene.images[0, 8, 10, 0]) == pytest.approx(linear, rel=1e-5)
    assert float(scene.images[0, 8, 12, 0]) == pytest.approx(linear / 5, rel=1e-5)


def test_mask_folder_white_is_object(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    (tmp_path / "masks").mkdir()
    for n in range(3):
        iio.imwrite(tmp_path / f"v_{n}.png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        name = "v_2.png.png" if n == 2 else f"v_{n}.png"  # COLMAP's way of naming
        iio.imwrite(tmp_path / "masks" / name, disc() * np.uint8(255))
    scene = load_scene(tmp_path)
    assert torch.equal(scene.silhouettes[2] > 0.5, torch.from_numpy(disc()))
    assert float(scene.images[0, 8, 12, 0]) == pytest.approx(90 / 255)
    assert float(scene.images[0, 0, 0, 0]) == 0.0


def test_mask_beside_the_same_alpha_is_applied_once(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    (tmp_path / "masks").mkdir()
    pixels = rgba(100)
    pixels[8, 12, 3] = 51
    for n in range(3):
        iio.imwrite(tmp_path / f"v_{n}.png", pixels)
        iio.imwrite(tmp_path / "masks" / f"v_{n}.png", pixels[..., 3])
    assert float(load_scene(tmp_path).images[0, 8, 12, 0]) == pytest.approx(100 / 255 / 5, abs=1e-6)


def test_mask_path_is_an_ignore_mask(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    (tmp_path / "masks").mkdir()
    ignore = np.full((HEIGHT, WIDTH), 255, np.uint8)
    ignore[:, :6] = 0
    iio.imwrite(tmp_path / "masks" / "v_1.png", ignore)
    for n in (0, 2):
        iio.imwrite(tmp_path / "masks" / f"v_{n}.png", disc() * np.uint8(255))
    edit_frame(tmp_path, mask_path="masks/v_1.png")
    scene = load_scene(tmp_path)
    # The object is where alpha says, although the ignore-mask lies where object masks do.
    assert torch.equal(scene.silhouettes[1] > 0.5, torch.from_numpy(disc()))
    for weights in (scene.silhouette_weights[1], scene.image_weights[1]):
        assert float(weights[:, :6].max()) == 0.0
        assert float(weights[:, 6:].min()) == 1.0
    assert float(scene.image_weights[0].min()) == 1.0


def test_threshold_on_request(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    for n in range(3):
        iio.imwrite(tmp_path / f"v_{n}.png", disc() * np.uint8(180))
    scene = load_scene(tmp_path, mask_threshold=0.3)
    assert scene.images.shape[-1] == 1
    assert torch.equal(scene.silhouettes[0] > 0.5, torch.from_numpy(disc()))


# ---------------------------------------------------------------------- NeRF-synthetic


def write_nerf_synthetic(folder: Path) -> Path:
    for split, count in (("train", 4), ("test", 2), ("val", 1)):
        (folder / split).mkdir(parents=True)
        frames = []
        for n in range(count):
            iio.imwrite(folder / split / f"r_{n}.png", rgba())
            frames.append({"file_path": f"./{split}/r_{n}", "transform_matrix": pose(5.0 + n)})
        table = {"camera_angle_x": 0.7, "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(table))
    return folder


def test_nerf_synthetic_holds_its_test_split_out(tmp_path: Path) -> None:
    scene = load_scene(write_nerf_synthetic(tmp_path))
    assert [scene.names[i] for i in scene.train] == [f"train/r_{n}" for n in range(4)]
    assert [scene.names[i] for i in scene.held_out] == ["test/r_0", "test/r_1"]
    some = load_scene(tmp_path / "transforms_train.json", "r_1,3:")
    assert [some.names[i] for i in some.train] == ["train/r_1", "train/r_3"]
    assert [some.names[i] for i in some.held_out] == ["test/r_0", "test/r_1"]
    assert len(some.cameras) == 4


def test_nerfstudio_test_filenames_are_held_out(tmp_path: Path) -> None:
    scene = load_scene(write_transforms(tmp_path, test_filenames=["v_1.png"]))
    assert (scene.train, scene.held_out) == ((0, 2), (1,))


# ---------------------------------------------------------------------- Middlebury


def test_middlebury_axes_and_half_pixel(tmp_path: Path) -> None:
    scene = load_scene(write_middlebury(tmp_path))
    # x = K [R | t] X with pixel centres on integers: half a pixel less than ours.
    for (u, v), z in zip(projected(scene, (1.0, 0.5, 0.0)), (5, 6, 7), strict=True):
        assert u == pytest.approx(11.5 + 30 * 1.0 / z + 0.5, abs=1e-4)
        assert v == pytest.approx(7.5 + 30 * 0.5 / z + 0.5, abs=1e-4)
    assert torch.equal(scene.silhouettes[0] > 0.5, torch.from_numpy(disc()))
    assert float(scene.images[0, 8, 12, 0]) == pytest.approx(180 / 255)
    assert float(scene.images[0, 0, 0, 0]) == 0.0


def test_middlebury_rotation_is_world_to_camera(tmp_path: Path) -> None:
    turned = "0 1 0 -1 0 0 0 0 1"  # camera x is world y
    lines = [f"x{n}.png {PAR.format(R=turned, z=5)}" for n in range(2)]
    scene = load_scene(write_middlebury(tmp_path, 2, lines) / "x_par.txt")
    u, v = projected(scene, (0.0, 1.0, 0.0))[0]
    assert (u, v) == pytest.approx((12 + 30 / 5, 8.0), abs=1e-4)
    u, v = projected(scene, (1.0, 0.0, 0.0))[0]
    assert (u, v) == pytest.approx((12.0, 8 - 30 / 5), abs=1e-4)


def test_middlebury_uses_masks_where_there_are(tmp_path: Path) -> None:
    write_middlebury(tmp_path)
    (tmp_path / "masks").mkdir()
    for n in range(3):
        iio.imwrite(tmp_path / "masks" / f"x{n}.png", disc(radius=3) * np.uint8(255))
    scene = load_scene(tmp_path)
    assert torch.equal(scene.silhouettes[1] > 0.5, torch.from_numpy(disc(radius=3)))


# ---------------------------------------------------------------------- the real data


@needs_data
def test_dinosaur_photographs() -> None:
    scene = load_scene(DATA / "middlebury" / "dinoSparseRing", max_size=160)
    assert scene.names[:2] == ("dinoSR0001", "dinoSR0002")
    assert scene.images.shape == (16, 120, 160, 3)
    coverage = scene.silhouettes.mean((1, 2))
    assert float(coverage.min()) > 0.2
    assert float(coverage.max()) < 0.5
    assert 0 < float((scene.silhouette_weights < 0.5).float().mean()) < 0.02
    # The middle of the box that the data's authors state (shifted: theirs is the full ring's).
    middle = torch.tensor([[0.0145, 0.0647, 0.0188]]) - 0.04
    uv, depths = scene.cameras.project(middle)
    assert float(depths.min()) > 0
    pixels = uv[:, 0].long()
    inside = scene.silhouettes[torch.arange(16), pixels[:, 1], pixels[:, 0]]
    assert float(inside.min()) == 1.0


@pytest.mark.slow
@needs_data
def test_lego_and_its_test_split() -> None:
    scene = load_scene(DATA / "nerf_synthetic" / "lego", "r_0,r_1", max_size=100)
    assert [scene.names[i] for i in scene.train] == ["train/r_0", "train/r_1"]
    assert len(scene.held_out) == 20
    assert scene.images.shape == (22, 100, 100, 3)
    uv, depths = scene.cameras.project(torch.zeros(1, 3))
    torch.testing.assert_close(uv[:, 0], torch.full((22, 2), 50.0), atol=0.05, rtol=0)
    assert float((depths - 4.0).abs().max()) < 0.1
