"""Scenes as people have them: names, folders, masks, models and cameras of many programs."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image
from scene_folders import (
    HEIGHT,
    WIDTH,
    disc,
    edit_frame,
    pose,
    projected,
    refused,
    rgba,
    write_middlebury,
    write_transforms,
)

from multiview.fit import told_of_masks
from multiview.scenes import load_scene
from multiview.scenes.rotations import orthonormal
from sdfrender.errors import InputError

PHOTO = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)


def write_nested(folder: Path, pictures: str = "images", suffix: str = ".jpg") -> Path:
    """Two cameras' folders with two pictures of the same names in each, without alpha."""
    frames = []
    for n, name in enumerate(("a/1", "a/2", "b/1", "b/2")):
        path = folder / pictures / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PHOTO).save(path)
        frames.append(
            {"file_path": f"{pictures}/{name}{suffix}", "transform_matrix": pose(5.0 + n)}
        )
    (folder / "transforms.json").write_text(json.dumps({"fl_x": 30.0, "frames": frames}))
    return folder


def write_mask(path: Path, mask: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, ((disc() if mask is None else mask) * 255).astype(np.uint8), plugin="pillow")


# ---------------------------------------------------------------------- masks


@pytest.mark.parametrize(
    "name",
    [
        "masks/{d}/{n}.png", "mask/{d}/{n}_mask.png", "Masks/{d}/{n}.jpg.png",
        "masks/images/{d}/{n}.PNG", "MASK/{d}/mask_{n}.bmp", "silhouettes/{d}/{n}-mask.png",
        "images/{d}/{n}_mask.png", "images/{d}/masks/{n}.png", "images/{d}/{n}.alpha.png",
    ],
)  # fmt: skip
def test_masks_under_their_usual_names(tmp_path: Path, name: str) -> None:
    write_nested(tmp_path)
    for x, key in ((8, "a/1"), (10, "a/2"), (12, "b/1"), (14, "b/2")):
        d, n = key.split("/")
        write_mask(tmp_path / name.format(d=d, n=n), disc(x))
    scene = load_scene(tmp_path)
    assert scene.masks == {"file": 4}
    for n, x in enumerate((8, 10, 12, 14)):
        assert np.array_equal(scene.silhouettes[n].numpy() > 0.5, disc(x))
    assert not any("fit no picture" in text for text in scene.warnings)


def test_masks_of_another_scene_beside_this_one_are_not_its_own(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path / "scene")
    for n in range(3):
        write_mask(tmp_path / "masks" / f"v_{n}.png", disc(9))
    scene = load_scene(folder)
    assert scene.masks == {"alpha": 3}
    assert not scene.warnings


def test_mask_files_that_fit_no_picture_are_named(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    for name in ("camA_1.png", "camB_1.png", "v_0.png"):
        write_mask(tmp_path / "masks" / name)
    scene = load_scene(tmp_path)
    told = [text for text in scene.warnings if "fit no picture" in text]
    assert len(told) == 1
    assert told[0].startswith("2 files in masks/ fit no picture")
    assert "camA_1.png, camB_1.png" in told[0]


def test_they_are_named_too_where_no_masks_can_be_made(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    random = np.random.default_rng(0)
    for n in range(3):
        iio.imwrite(tmp_path / f"v_{n}.png", random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
        write_mask(tmp_path / "masks" / f"{n}_seg.png")
    refused(
        tmp_path, "need to know where the object is", "3 files in masks/ fit no picture", "0_seg"
    )


def test_a_mask_that_is_a_picture_is_told(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    shades = np.linspace(20, 255, WIDTH).astype(np.uint8) * disc(radius=7)
    write_mask(tmp_path / "masks" / "v_0.png", disc(radius=7))
    assert not load_scene(tmp_path).warnings
    iio.imwrite(tmp_path / "masks" / "v_1.png", shades)
    warnings = load_scene(tmp_path).warnings
    told = [text for text in warnings if "grey within the object in 1 of 3 views ('v_1')" in text]
    assert len(told) == 1


def test_intrinsics_that_are_not_in_pixels_are_refused(tmp_path: Path) -> None:
    write_transforms(tmp_path, fl_x=0.4, cx=0.5, cy=0.5)
    refused(tmp_path, "need focal lengths in pixels, got 0.4 for a picture of 24×16")


def test_masks_of_pictures_that_exif_turns_are_spoken_of(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    tags = Image.Exif()
    tags[0x0112] = 3
    with Image.open(tmp_path / "v_1.png") as stored:
        stored.convert("RGB").save(tmp_path / "v_1.png", exif=tags)
    write_mask(tmp_path / "masks" / "v_1.png")
    told = [text for text in load_scene(tmp_path).warnings if text.startswith("EXIF: 1 of 3")]
    assert "their masks have none, and are taken as upright" in told[0]


def test_a_mask_of_a_picture_without_a_camera_is_not_strange(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    shutil.copy(tmp_path / "v_0.png", tmp_path / "v_9.png")
    for n in (0, 1, 2, 9):
        write_mask(tmp_path / "masks" / f"v_{n}.png")
    assert not load_scene(tmp_path).warnings


def test_white_in_a_dynamic_mask_is_ignored(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    glove = np.zeros((HEIGHT, WIDTH), bool)
    glove[5:9, 10:14] = True
    write_mask(tmp_path / "dynamic_mask_v_1.png", glove)
    scene = load_scene(tmp_path)
    assert scene.masks == {"alpha": 3}
    assert np.array_equal(scene.image_weights[1].numpy() < 0.5, glove)
    assert np.array_equal(scene.silhouette_weights[1].numpy() < 0.5, glove)
    assert float(scene.image_weights[[0, 2]].min()) == 1


def test_a_mask_of_one_colour_tells_by_its_alpha(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    for n in range(3):
        path = tmp_path / "masks" / f"v_{n}.png"
        path.parent.mkdir(exist_ok=True)
        iio.imwrite(path, np.dstack([np.full((HEIGHT, WIDTH, 3), 255, np.uint8),
                                     disc(9) * np.uint8(255)]))  # fmt: skip
    scene = load_scene(tmp_path)
    assert np.array_equal(scene.silhouettes[0].numpy() > 0.5, disc(9))


# ---------------------------------------------------------------------- alpha


def framed(n: int) -> np.ndarray:
    """A disc on white, in a frame of transparent pixels."""
    pixels = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    pixels[disc(12, 8, 4), :3] = 40 + 20 * n
    pixels[:1], pixels[:, :2], pixels[-2:, :] = 0, 0, 0
    return pixels


def test_a_frame_of_transparent_pixels_is_no_object(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    for n in range(3):
        iio.imwrite(tmp_path / f"v_{n}.png", framed(n))
    scene = load_scene(tmp_path)
    assert any("transparent along the rim only" in text for text in scene.warnings)
    assert scene.masks["background"] == 3
    for n in range(3):
        found = scene.silhouettes[n].numpy() > 0.5
        assert (found != disc(12, 8, 4)).sum() <= 4
        assert np.array_equal(scene.image_weights[n].numpy() > 0.5, framed(n)[..., 3] > 0)


def test_an_object_that_fills_one_picture_is_one(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    pixels = rgba()
    pixels[...] = 200
    pixels[0, :, 3], pixels[:, 0, 3] = 0, 0
    iio.imwrite(tmp_path / "v_0.png", pixels)
    assert load_scene(tmp_path).masks == {"alpha": 3}


def test_alpha_that_is_opaque_all_over_says_nothing(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    for n in range(3):
        pixels = framed(n)
        pixels[..., :3][pixels[..., 3] == 0] = 255
        pixels[..., 3] = 254
        iio.imwrite(tmp_path / f"v_{n}.png", pixels)
    assert load_scene(tmp_path).masks["background"] == 3


# ---------------------------------------------------------------------- EXIF


def turn(folder: Path, orientation: int) -> None:
    """Store each picture as a camera that was turned does."""
    back = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    for n in range(3):
        file = folder / f"v_{n}.png"
        with Image.open(file) as image:
            exif = Image.Exif()
            exif[0x0112] = back
            from PIL import ImageOps

            image.getexif()[0x0112] = back
            turned = ImageOps.exif_transpose(image)
        exif[0x0112] = orientation
        turned.save(file, exif=exif)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_is_applied_where_nothing_states_sizes(tmp_path: Path, orientation: int) -> None:
    upright = load_scene(write_transforms(tmp_path / "upright"))
    turn(write_transforms(tmp_path / "turned"), orientation)
    scene = load_scene(tmp_path / "turned")
    assert np.array_equal(scene.images.numpy(), upright.images.numpy())
    assert any("EXIF: 3 of 3 pictures" in text for text in scene.warnings)


def test_stated_sizes_of_the_upright_picture_agree_with_exif(tmp_path: Path) -> None:
    turn(write_transforms(tmp_path, w=WIDTH, h=HEIGHT), 6)
    assert load_scene(tmp_path).cameras.width == WIDTH


def test_stated_sizes_of_the_stored_picture_are_a_conflict(tmp_path: Path) -> None:
    turn(write_transforms(tmp_path, w=HEIGHT, h=WIDTH), 6)
    refused(tmp_path, "v_0.png", "EXIF orientation 6", "exiftool")


def test_a_mask_that_exif_does_not_turn_with_its_picture(tmp_path: Path) -> None:
    turn(write_transforms(tmp_path), 6)
    write_mask(tmp_path / "masks" / "v_1.png", disc().T)
    refused(tmp_path, "v_1.png", "24×16", "16×24", "EXIF")


# ---------------------------------------------------------------------- COLMAP


def write_model(folder: Path, count: int, points: bool = True, mark: bytes = b"") -> None:
    folder.mkdir(parents=True)
    cameras = b"# Camera list\n1 PINHOLE 24 16 30 30 12 8\n"
    lines = [f"{n + 1} 1 0 0 0 0 0 {5 + n} 1 v_{n}.png" for n in range(count)]
    separator = "\n1.5 2.5 -1 3 4 7\n" if points else "\n"
    (folder / "cameras.txt").write_bytes(mark + cameras)
    (folder / "images.txt").write_bytes(mark + (separator.join(lines) + "\n\n").encode())


def write_pictures(folder: Path, count: int = 3) -> None:
    write_transforms(folder / "images", count)
    (folder / "images" / "transforms.json").unlink()


def test_the_largest_of_several_models_is_read_and_said(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    write_model(tmp_path / "sparse/0", 2)
    write_model(tmp_path / "sparse/1", 3)
    scene = load_scene(tmp_path)
    assert len(scene.names) == 3
    assert any("model with 3 images is read" in x and "0 (2)" in x for x in scene.warnings)
    scene = load_scene(tmp_path / "sparse/0/cameras.txt")
    assert len(scene.names) == 2
    assert any("1 (3)" in text for text in scene.warnings)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_models_with_poses_only_and_with_a_byte_order_mark(tmp_path: Path, mark: bytes) -> None:
    write_pictures(tmp_path)
    write_model(tmp_path / "sparse", 3, points=False, mark=mark)
    scene = load_scene(tmp_path)
    assert len(scene.names) == 3
    assert not scene.warnings


def test_damaged_points_are_said_and_not_used(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    write_model(tmp_path / "sparse", 3)
    file = tmp_path / "sparse" / "points3D.bin"
    file.write_bytes((7).to_bytes(8, "little") + bytes(20))
    scene = load_scene(tmp_path)
    assert scene.points is None
    assert any(str(file) in text and "not used" in text for text in scene.warnings)


def test_colmap_cameras_are_for_pictures_as_stored(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    write_model(tmp_path / "sparse", 3)
    plain = load_scene(tmp_path)
    for n in range(3):
        file = tmp_path / "images" / f"v_{n}.png"
        exif = Image.Exif()
        exif[0x0112] = 6
        with Image.open(file) as image:
            image.load()
            image.save(file, exif=exif)
    scene = load_scene(tmp_path)
    assert np.array_equal(scene.images.numpy(), plain.images.numpy())
    assert any("EXIF" in text and "as stored" in text for text in scene.warnings)


# ---------------------------------------------------------------------- names and cameras


def test_names_in_another_unicode_form(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    stored = unicodedata.normalize("NFD", "Größe.png")
    (tmp_path / "v_1.png").rename(tmp_path / stored)
    edit_frame(tmp_path, file_path=unicodedata.normalize("NFC", "Größe.png"))
    assert "Größe" in load_scene(tmp_path).names


def test_appledouble_files_beside_pictures_are_passed_over(tmp_path: Path) -> None:
    write_middlebury(tmp_path)
    (tmp_path / "._x0.png").write_bytes(b"\x00\x05\x16\x07")
    assert len(load_scene(tmp_path).names) == 3


@pytest.mark.parametrize("digits", [3, 4])
def test_rounded_rotations_are_made_orthonormal_with_a_note(tmp_path: Path, digits: int) -> None:
    write_transforms(tmp_path)
    file = tmp_path / "transforms.json"
    table = json.loads(file.read_text())
    for n, frame in enumerate(table["frames"]):
        angle = 0.3 + n
        c, s = np.cos(angle), np.sin(angle)
        R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        matrix = np.array(frame["transform_matrix"])
        matrix[:3, :3] = R.round(digits)
        frame["transform_matrix"] = matrix.tolist()
    file.write_text(json.dumps(table))
    scene = load_scene(tmp_path)
    R = scene.cameras.c2w[:, :3, :3].double().numpy()
    errors = np.abs(R.transpose(0, 2, 1) @ R - np.eye(3))
    assert errors.max() < 2.1e-4
    assert any("made orthonormal" in text for text in scene.warnings) == (digits == 3)


def test_what_is_no_rounding_is_refused(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    scaled = np.diag([1.05, 1.05, 1.05, 1.0])
    scaled[2, 3] = 6
    edit_frame(tmp_path, transform_matrix=scaled.tolist())
    refused(tmp_path, "v_1", "need a rotation")
    views, notes = orthonormal([])
    assert not views
    assert not notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"transform_matrix": np.diag([1, 1, 1, 1]).tolist()}, ()),
        ({"fl_x": 1e12}, ("'v_1'", "intrinsics", "finite numbers up to")),
        ({"cx": 1e300}, ("'v_1'", "intrinsics")),
        ({"fl_x": -5.0}, ("positive focal",)),
        ({"transform_matrix": pose(1e39)}, ("'v_1'", "pose")),
        ({"transform_matrix": pose(10.0**200)}, ("'v_1'", "pose")),
    ],
)
def test_cameras_beyond_float32(tmp_path: Path, change: dict, words: tuple[str, ...]) -> None:
    edit_frame(write_transforms(tmp_path), **change)
    if words:
        refused(tmp_path, *words)
    else:
        load_scene(tmp_path)


def test_lists_of_test_pictures_that_are_not_there(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    (tmp_path / "transforms.json").rename(tmp_path / "transforms_train.json")
    table = json.loads((tmp_path / "transforms_train.json").read_text())
    for frame in table["frames"]:
        frame["file_path"] = f"test/{frame['file_path']}"
    (tmp_path / "transforms_test.json").write_text(json.dumps(table))
    scene = load_scene(tmp_path)
    assert len(scene.train) == 3
    assert not scene.held_out
    assert any("none of its pictures is there" in text for text in scene.warnings)


@pytest.mark.parametrize("how", ["above", "absolute", "link"])
def test_pictures_outside_of_the_folder_are_told(tmp_path: Path, how: str) -> None:
    folder = write_transforms(tmp_path / "scene")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(folder / "v_1.png", tmp_path / "elsewhere" / "v_1.png")
    if how == "link":
        (folder / "v_1.png").symlink_to(tmp_path / "elsewhere" / "v_1.png")
    else:
        path = "../elsewhere/v_1.png" if how == "above" else str(tmp_path / "elsewhere/v_1.png")
        edit_frame(folder, file_path=path)
    scene = load_scene(folder)
    assert any(
        "not in its folder" in text and str(tmp_path / "elsewhere") in text
        for text in scene.warnings
    )


def test_pictures_with_too_many_pixels_are_refused_before_they_are_read(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    refused(tmp_path, "v_0.png", "at most 100 pixels", "--max-pixels", max_pixels=100)


def test_large_pictures_give_the_same_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_transforms(tmp_path)
    write_mask(tmp_path / "masks" / "v_1.png")
    plain = load_scene(tmp_path, max_size=6)
    monkeypatch.setattr("multiview.scenes.pixels.LARGE", 10)
    small = load_scene(tmp_path, max_size=6)
    np.testing.assert_allclose(small.images, plain.images, atol=1e-6)
    np.testing.assert_allclose(small.silhouettes, plain.silhouettes, atol=1e-6)
    assert projected(small, (0, 0, 0)) == projected(plain, (0, 0, 0))


def test_an_error_about_silhouettes_names_the_threshold_that_made_them(tmp_path: Path) -> None:
    scene = load_scene(write_middlebury(tmp_path))
    with pytest.raises(InputError, match=r"threshold of 0\.14.*--mask-threshold"), \
            told_of_masks(scene):  # fmt: skip
        raise InputError("silhouettes: need an object")


CHANGES: dict[str, Callable[[str], str | bytes]] = {
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_text_in_other_clothes(tmp_path: Path, change: str) -> None:
    write_transforms(tmp_path)
    file = tmp_path / "transforms.json"
    file.write_bytes(bytes(CHANGES[change](file.read_text())))
    assert len(load_scene(tmp_path).names) == 3
