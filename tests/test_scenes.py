"""Scene readers: every format, its axes, pixel centres and masks; and input that is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from multiview.scenes import Scene, load_scene
from multiview.scenes.images import area_average, read_image
from multiview.scenes.masks import threshold_silhouette
from multiview.scenes.selection import natural_key, select
from sdfrender.errors import InputError
from sdfrender.lighting import Headlight
from sdfrender.pngs import write_png

DATA = Path(__file__).parents[1].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")

WIDTH, HEIGHT, FOCAL = 24, 16, 30.0
BACK = np.diag([1.0, 1.0, 1.0, 1.0])  # OpenGL: at the origin, looking along −z


# ---------------------------------------------------------------------- scenes to read


def disc(x: float = 12.0, y: float = 8.0, radius: float = 5.0) -> np.ndarray:
    """`[HEIGHT, WIDTH]` bool, pixel centres at +0.5."""
    v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return np.hypot(u - x, v - y) < radius


def rgba(value: int = 200, alpha: np.ndarray | None = None) -> np.ndarray:
    mask = disc() if alpha is None else alpha
    pixels = np.full((HEIGHT, WIDTH, 4), value, np.uint8)
    pixels[..., 3] = mask * np.uint8(255)
    return pixels


def pose(distance: float) -> list[list[float]]:
    """OpenGL camera-to-world at z = `distance`, looking at the origin, y up."""
    matrix = BACK.copy()
    matrix[2, 3] = distance
    return matrix.tolist()


def write_transforms(folder: Path, count: int = 3, **changes: Any) -> Path:
    """A `transforms.json` with `count` views; a change of None removes the key."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for n in range(count):
        iio.imwrite(folder / f"v_{n}.png", rgba(50 + 20 * n))
        frames.append({"file_path": f"v_{n}.png", "transform_matrix": pose(5.0 + n)})
    table: dict[str, Any] = {"fl_x": FOCAL, "frames": frames, **changes}
    kept = {key: value for key, value in table.items() if value is not None}
    (folder / "transforms.json").write_text(json.dumps(kept))
    return folder


def edit_frame(folder: Path, **changes: Any) -> None:
    """Change the keys of the second frame."""
    file = folder / "transforms.json"
    table = json.loads(file.read_text())
    table["frames"][1].update(changes)
    file.write_text(json.dumps(table))


PAR = "30 0 11.5 0 30 7.5 0 0 1 {R} 0 0 {z}"
IDENTITY = "1 0 0 0 1 0 0 0 1"


def write_middlebury(folder: Path, count: int = 3, lines: list[str] | None = None) -> Path:
    """Photographs of a bright disc, `x_par.txt` with the cameras at z = −5, −6, −7."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        photo = np.full((HEIGHT, WIDTH, 3), 10, np.uint8)
        photo[disc()] = 180
        iio.imwrite(folder / f"x{n}.png", photo)
    if lines is None:
        lines = [f"x{n}.png {PAR.format(R=IDENTITY, z=5 + n)}" for n in range(count)]
    (folder / "x_par.txt").write_text("\n".join([str(count), *lines]) + "\n")
    return folder


def projected(scene: Scene, point: tuple[float, float, float]) -> list[list[float]]:
    """Pixels of a world point in every view."""
    return scene.cameras.project(torch.tensor([point]))[0][:, 0].tolist()


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


def test_intrinsics_per_frame_override_those_at_the_top(tmp_path: Path) -> None:
    write_transforms(tmp_path, fl_y=31.0, cx=10.0, cy=9.0, w=WIDTH, h=float(HEIGHT))
    edit_frame(tmp_path, fl_x=40.0, fl_y=41.0, cx=3.0, cy=4.0)
    Ks = load_scene(tmp_path).cameras.Ks
    assert Ks[0].tolist() == [[30, 0, 10], [0, 31, 9], [0, 0, 1]]
    assert Ks[1].tolist() == [[40, 0, 3], [0, 41, 4], [0, 0, 1]]


def test_fields_of_view_in_radians(tmp_path: Path) -> None:
    angles = {"camera_angle_x": 0.7, "camera_angle_y": 0.5}
    K = load_scene(write_transforms(tmp_path, fl_x=None, **angles)).cameras.Ks[0]
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
    stated = {"lighting": {"directional": [{"to_light": [0, 0, 1]}]}}
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


# ---------------------------------------------------------------------- silhouettes by threshold


def test_threshold_recovers_shadows_but_does_not_trust_them() -> None:
    v, u = np.mgrid[:480, :640] + 0.5
    r = np.hypot(u - 320, v - 240)
    shadow = np.hypot(u - 320, v - 300) < 15  # wider than the closing
    notch = (abs(u - 320) < 8) & (v < 180)  # narrower
    gap = np.hypot(u - 400, v - 240) < 30  # too wide to be a shadow
    lit = (r < 150) & ~shadow & ~notch & ~gap
    photo = np.where(lit, 0.6, 0.05).astype(np.float32)[..., None]
    photo[5, 5] = 1.0  # noise
    silhouette, known = threshold_silhouette(photo, 0.14)
    unsure = shadow | (notch & (r < 145))
    assert silhouette[unsure].all()
    assert not known[unsure].any()
    assert silhouette[lit].all()
    assert known[lit].all()
    assert not silhouette[r > 151].any()
    assert not silhouette[gap].any()
    assert known[gap].all()


def test_threshold_takes_nothing_for_background_beyond_the_frame() -> None:
    photo = np.zeros((480, 640, 1), np.float32)
    photo[:, 200:] = 0.5  # leaves the frame on three sides
    photo[0:25, 400:435] = 0.0  # a shadow that the frame cuts
    silhouette, known = threshold_silhouette(photo, 0.14)
    assert silhouette[:, 200:].all()
    assert not known[0:25, 400:435].any()
    assert not silhouette[:, :200].any()
    assert known[:, :200].all()


# ---------------------------------------------------------------------- pixels


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_png_depths_and_channels(tmp_path: Path, channels: int, dtype: type, top: int) -> None:
    pixels = np.random.default_rng(0).integers(0, top, (6, 7, channels)).astype(dtype)
    write_png(tmp_path / "a.png", pixels)
    color, alpha = read_image(tmp_path / "a.png")
    assert color.dtype == np.float32
    assert color.shape == (6, 7, 3 if channels > 2 else 1)
    stored = pixels / top
    count = color.shape[-1]
    np.testing.assert_allclose(color, stored[..., :count], atol=1e-6)
    if channels in (2, 4):
        assert alpha is not None
        np.testing.assert_allclose(alpha, stored[..., -1], atol=1e-6)
    else:
        assert alpha is None


def test_palette_bilevel_and_jpeg(tmp_path: Path) -> None:
    Image = pytest.importorskip("PIL.Image")
    picture = Image.fromarray(rgba()[..., :3]).quantize(8)
    picture.save(tmp_path / "p.png")
    picture.save(tmp_path / "t.png", transparency=bytes([0] * 8))
    Image.fromarray(disc()).save(tmp_path / "b.png")
    Image.fromarray(rgba()[..., :3]).save(tmp_path / "j.jpg", quality=95)
    assert read_image(tmp_path / "p.png")[0].shape == (HEIGHT, WIDTH, 3)
    color, alpha = read_image(tmp_path / "t.png")
    assert color.shape == (HEIGHT, WIDTH, 3)
    assert alpha is not None
    assert alpha.max() == 0.0
    np.testing.assert_array_equal(read_image(tmp_path / "b.png")[0][..., 0], disc())
    np.testing.assert_allclose(read_image(tmp_path / "j.jpg")[0], 200 / 255, atol=0.02)


@pytest.mark.parametrize(("width", "height"), [(6, 4), (5, 3), (12, 8), (1, 1)])
def test_area_average_keeps_the_mean_and_linear_ramps(width: int, height: int) -> None:
    v, u = np.mgrid[:8, :12] + 0.5
    ramp = np.stack((u / 12, v / 8), -1).astype(np.float32)
    small = area_average(ramp, width, height)
    np.testing.assert_allclose(small.mean((0, 1)), 0.5, atol=1e-6)
    # A pixel cut in two counts with its one value on both sides: off by up to 1/8 of a pixel.
    tolerance = 1e-6 if 12 % width == 0 and 8 % height == 0 else 0.125 / 8
    v, u = np.mgrid[:height, :width] + 0.5
    np.testing.assert_allclose(small, np.stack((u / width, v / height), -1), atol=tolerance)
    np.testing.assert_allclose(area_average(ramp[..., 0], width, height), small[..., 0], atol=1e-6)


def test_max_size_averages_premultiplied_and_resizes_the_cameras(tmp_path: Path) -> None:
    full = load_scene(write_transforms(tmp_path, cx=10.0))
    half = load_scene(tmp_path, max_size=12)
    assert half.images.shape == (3, 8, 12, 3)
    expected = full.images.reshape(3, 8, 2, 12, 2, 3).mean((2, 4))
    torch.testing.assert_close(half.images, expected)
    assert half.cameras.Ks[0].tolist() == [[15, 0, 5], [0, 15, 4], [0, 0, 1]]
    third = load_scene(tmp_path, max_size=7)  # not a whole factor
    assert third.images.shape == (3, 5, 7, 3)
    torch.testing.assert_close(third.silhouettes.mean(), full.silhouettes.mean())
    same = load_scene(tmp_path, max_size=1000)
    assert torch.equal(same.images, full.images)


# ---------------------------------------------------------------------- selection


def test_natural_order() -> None:
    names = ["r_10", "r_2", "r_1", "b", "test/r_1"]
    assert sorted(names, key=natural_key) == ["b", "r_1", "r_2", "r_10", "test/r_1"]


@pytest.mark.parametrize(
    ("selection", "picked"),
    [
        ("2::3", [2, 5]),
        (":2", [0, 1]),
        ("-2:", [4, 5]),
        ("f,a", [0, 5]),
        ("b.png", [1]),
        ("[ab],c", [0, 1, 2]),
        ("*", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_selection(selection: str, picked: list[int]) -> None:
    assert select(selection, ["a", "b", "c", "d", "e", "f"]) == picked


def test_views_not_selected_are_held_out_and_sorted(tmp_path: Path) -> None:
    write_transforms(tmp_path, count=11)
    scene = load_scene(tmp_path, "v_2,v_10")
    assert scene.names == tuple(f"v_{n}" for n in range(11))
    assert scene.train == (2, 10)
    assert set(scene.held_out) == set(range(11)) - {2, 10}


# ---------------------------------------------------------------------- input that is wrong


def refused(path: Path, *needles: str, train_views: str | None = None, **options: Any) -> None:
    """Loading must raise InputError, in one line that contains all of `needles`."""
    with pytest.raises(InputError) as caught:
        load_scene(path, train_views, **options)
    message = str(caught.value)
    assert "\n" not in message
    for needle in needles:
        assert needle in message, message


def test_no_scene_there(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "folder", "there is neither")
    refused(tmp_path, tmp_path.name, "need a camera file")
    (tmp_path / "cameras.xml").write_text("<a/>")
    refused(tmp_path / "cameras.xml", "cameras.xml", "need transforms.json")
    for name in ("a_par.txt", "b_par.txt"):
        (tmp_path / name).write_text("0\n")
    refused(tmp_path, "need one *_par.txt, got 2", "a_par.txt, b_par.txt")


def damage(folder: Path, keep: float) -> None:
    """Cut the second image short."""
    file = folder / "v_1.png"
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 4)).astype(np.uint8)
    iio.imwrite(file, noise)
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data))])


def write_mask(folder: Path, height: int, value: int = 0) -> None:
    (folder / "masks").mkdir()
    for n in range(3):
        mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
        mask[:2] = 0
        iio.imwrite(folder / "masks" / f"v_{n}.png", mask)
    iio.imwrite(folder / "masks" / "v_1.png", np.full((height, WIDTH), value, np.uint8))


def opaque(folder: Path) -> None:
    for n in range(3):
        iio.imwrite(folder / f"v_{n}.png", rgba(90, np.ones((HEIGHT, WIDTH), bool)))


def bad_pose(row: int, column: int, value: float) -> dict[str, Any]:
    matrix = pose(5.0)
    matrix[row][column] = value
    return {"transform_matrix": matrix}


BAD_FRAMES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nan in a pose": (bad_pose(0, 3, math.nan), ("'v_1.png'", "finite", "nan")),
    "infinity in a pose": (bad_pose(0, 3, math.inf), ("'v_1.png'", "finite", "inf")),
    "scaled rotation": (bad_pose(0, 0, 2.0), ("'v_1'", "need a rotation", "3")),
    "mirrored rotation": (bad_pose(0, 0, -1.0), ("'v_1'", "need a rotation", "mirrored")),
    "last row": (bad_pose(3, 0, 1.0), ("'v_1.png'", "last row", "1.0")),
    "shape of a pose": ({"transform_matrix": [[1, 0], [0, 1]]}, ("'v_1.png'", "4×4", "2×2")),
    "words in a pose": ({"transform_matrix": "eye"}, ("'v_1.png'", "numbers", "'eye'")),
    "focal length": ({"fl_x": -3}, ("'v_1'", "positive focal")),
    "focal length of words": ({"fl_x": "30"}, ("'v_1.png'", "'fl_x' needs a number", "'30'")),
    "huge number": ({"cx": 10**400}, ("'v_1.png'", "'cx'", "1000")),
    "angle": ({"fl_x": None}, ("'fl_x'", "None")),
    "size": ({"w": 25}, ("'v_1.png'", "'w' is 25", "24")),
    "distortion": ({"k1": 0.01}, ("'v_1.png'", "'k1' is 0.01", "undistort")),
    "fisheye": ({"camera_model": "OPENCV_FISHEYE"}, ("FISHEYE", "undistort")),
    "fisheye flag": ({"is_fisheye": True}, ("fisheye", "undistort")),
    "image not there": ({"file_path": "v_9.png"}, ("v_9.png", "no such file")),
    "image named twice": (
        {"file_path": "v_0.png"},
        ("transforms.json", "once", "'v_0'", "2 times"),
    ),
    "ignore-mask not there": ({"mask_path": "m.png"}, ("m.png", "no such file", "v_1.png")),
    "path of numbers": ({"file_path": 3}, ("frame 1", "'file_path'", "3")),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_frames(tmp_path: Path, case: str) -> None:
    changes, needles = BAD_FRAMES[case]
    edit_frame(write_transforms(tmp_path), **changes)
    refused(tmp_path, str(tmp_path), *needles)


BAD_TOPS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no frames": ({"frames": None}, ("'frames'", "None")),
    "empty frames": ({"frames": []}, ("'frames'", "[]")),
    "frames of words": ({"frames": ["a"]}, ("frame 0", "'a'")),
    "no focal length": ({"fl_x": None}, ("'fl_x' or 'camera_angle_x'", "missing")),
    "angle in degrees": ({"fl_x": None, "camera_angle_x": 40}, ("radians", "40")),
    "test view not there": ({"test_filenames": ["q.png"]}, ("'test_filenames'", "'q.png'")),
    "test views not a list": ({"test_filenames": 3}, ("'test_filenames'", "3")),
    "one train view": ({"test_filenames": ["v_0.png", "v_1.png"]}, ("at least 2", "v_2")),
    "color space": ({"sdfrender": {"color_space": "hsv"}}, ("'color_space'", "'hsv'")),
    "bounds": ({"sdfrender": {"bounds": [[1, 0, 0], [0, 1, 1]]}}, ("'bounds'", "max > min")),
    "flat bounds": ({"sdfrender": {"bounds": [0, 1]}}, ("'bounds'", "2×3", "[0, 1]")),
    "mesh": ({"sdfrender": {"mesh": "no.ply"}}, ("no.ply", "no such file")),
    "misspelt key": ({"sdfrender": {"colour": 1}}, ("unknown key 'colour'", "color_space")),
    "not an object": ({"sdfrender": 3}, ("'sdfrender'", "JSON object", "3")),
    "light": ({"sdfrender": {"lighting": {"ambient": "x"}}}, ("'ambient'", "'x'")),
    "light key": ({"sdfrender": {"lighting": {"sun": 1}}}, ("unknown key 'sun'",)),
    "light from nowhere": (
        {"sdfrender": {"lighting": {"directional": [{"to_light": [0, 0, 0]}]}}},
        ("'to_light'", "0 0 0"),
    ),
    "one light, not a list": ({"sdfrender": {"lighting": {"directional": {}}}}, ("list", "{}")),
    "falloff": ({"sdfrender": {"lighting": {"headlight": {"falloff": 1}}}}, ("'falloff'", "1")),
}


@pytest.mark.parametrize("case", BAD_TOPS)
def test_bad_tables(tmp_path: Path, case: str) -> None:
    changes, needles = BAD_TOPS[case]
    write_transforms(tmp_path, **changes)
    refused(tmp_path, *needles)


@pytest.mark.parametrize(
    ("text", "needles"),
    [
        ("", ("file is empty",)),
        ('{"fl_x": 3,\n  "frames" [}', ("valid JSON", "line 2, column 12")),
        ("[1, 2]", ("JSON object", "[1, 2]")),
        ("[" * 100_000, ("nested",)),
    ],
)
def test_malformed_json(tmp_path: Path, text: str, needles: tuple[str, ...]) -> None:
    (tmp_path / "transforms.json").write_text(text)
    refused(tmp_path, "transforms.json", *needles)


def test_camera_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_bytes(b"{\xff\xfe")
    refused(tmp_path, "transforms.json", "UTF-8", "byte 1")


SPOILED: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "truncated": (lambda f: damage(f, 0.6), ("v_1.png", "complete image")),
    "header only": (lambda f: damage(f, 0.02), ("v_1.png", "complete image")),
    "zero bytes": (lambda f: (f / "v_1.png").write_bytes(b""), ("v_1.png", "0 bytes")),
    "text": (lambda f: (f / "v_1.png").write_text("hello"), ("v_1.png", "cannot decode")),
    "other size": (
        lambda f: iio.imwrite(f / "v_1.png", rgba()[:10]),
        ("transforms.json", "one size", "v_0 24×16 and v_1 24×10"),
    ),
    "empty mask": (
        lambda f: iio.imwrite(f / "v_1.png", rgba(90, np.zeros((HEIGHT, WIDTH), bool))),
        ("v_1.png", "'v_1'", "mask is empty"),
    ),
    "no mask": (
        lambda f: iio.imwrite(f / "v_1.png", rgba()[..., :3]),
        ("v_1.png", "alpha", "masks/v_1.png", "mask threshold"),
    ),
    "opaque": (opaque, ("transforms.json", "white everywhere", "alpha")),
    "mask of another size": (
        lambda f: write_mask(f, 10),
        ("masks/v_1.png", "24×16", "24×10"),
    ),
    "black mask": (lambda f: write_mask(f, HEIGHT), ("'v_1'", "mask is empty")),
    "mask missing": (
        lambda f: (write_mask(f, HEIGHT), (f / "masks" / "v_1.png").unlink()),
        ("masks/v_1.png", "'v_1' has none"),
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_spoiled_pixels(tmp_path: Path, case: str) -> None:
    spoil, needles = SPOILED[case]
    spoil(write_transforms(tmp_path))
    refused(tmp_path, *needles)


def test_extension_that_is_not_read(tmp_path: Path) -> None:
    edit_frame(write_transforms(tmp_path), file_path="v_1.exr")
    (tmp_path / "v_1.exr").write_bytes(b"v/1\x01")
    refused(tmp_path, "v_1.exr", ".png, .jpg, .jpeg", "'.exr'")


def par_line(n: int, **changes: str) -> str:
    words = f"x{n}.png {PAR.format(R=IDENTITY, z=5 + n)}".split()
    for position, word in changes.items():
        words[int(position[1:])] = word
    return " ".join(words)


BAD_LINES: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "a line too few": ([par_line(0), par_line(1)], ("need 3 camera lines", "got 2")),
    "a number too few": (
        [par_line(0), par_line(1).rsplit(" ", 1)[0], par_line(2)],
        ("line 3", "21 numbers", "got 21 words"),
    ),
    "a word": ([par_line(0), par_line(1, w5="x"), par_line(2)], ("line 3", "x1.png", "numbers")),
    "nan": ([par_line(0), par_line(1, w20="nan"), par_line(2)], ("line 3", "x1.png", "nan")),
    "not a rotation": (
        [par_line(0), par_line(1, w10="0.5"), par_line(2)],
        ("x_par.txt", "'x1'", "need a rotation", "0.75"),
    ),
    "image not there": (
        [par_line(0), par_line(1, w0="y.png"), par_line(2)],
        ("y.png", "line 3", "no such file"),
    ),
    "image twice": (
        [par_line(0), par_line(1, w0="x0.png"), par_line(2)],
        ("3 images", "got 2", "x1.png"),
    ),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_par_files(tmp_path: Path, case: str) -> None:
    lines, needles = BAD_LINES[case]
    refused(write_middlebury(tmp_path, lines=lines), str(tmp_path), *needles)


@pytest.mark.parametrize(
    ("text", "needles"),
    [
        ("", ("file is empty",)),
        ("views\n", ("line 1", "number of views", "'views'")),
        ("0\n", ("need 0 camera lines",)),
    ],
)
def test_bad_par_heads(tmp_path: Path, text: str, needles: tuple[str, ...]) -> None:
    (tmp_path / "x_par.txt").write_text(text)
    refused(tmp_path, "x_par.txt", *needles)


def test_image_without_a_camera_line(tmp_path: Path) -> None:
    write_middlebury(tmp_path)
    iio.imwrite(tmp_path / "extra.png", rgba())
    refused(tmp_path, "each of the 4 images", "got 3", "extra.png")


@pytest.mark.parametrize(
    ("selection", "needles"),
    [
        ("v_7", ("'v_7'", "none of the 3 views", "v_0, v_1, v_2")),
        ("v_0,q*", ("'q*'", "v_0, v_1, v_2")),
        ("", ("''", "v_0")),
        ("7:", ("'7:'", "v_0")),
        ("::0", ("step", "'::0'")),
        ("v_0", ("at least 2", "got 1", "v_0")),
    ],
)
def test_selections_that_do_not_work(
    tmp_path: Path, selection: str, needles: tuple[str, ...]
) -> None:
    refused(write_transforms(tmp_path), *needles, train_views=selection)


def test_options_out_of_range(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    refused(tmp_path, "max size", "0", max_size=0)
    refused(tmp_path, "mask threshold", "1.5", mask_threshold=1.5)


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


@needs_data
def test_lego_and_its_test_split() -> None:
    scene = load_scene(DATA / "nerf_synthetic" / "lego", "r_0,r_1", max_size=100)
    assert [scene.names[i] for i in scene.train] == ["train/r_0", "train/r_1"]
    assert len(scene.held_out) == 20
    assert scene.images.shape == (22, 100, 100, 3)
    uv, depths = scene.cameras.project(torch.zeros(1, 3))
    torch.testing.assert_close(uv[:, 0], torch.full((22, 2), 50.0), atol=0.05, rtol=0)
    assert float((depths - 4.0).abs().max()) < 0.1
