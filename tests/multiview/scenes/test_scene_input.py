"""Scenes that are wrong: one line that names the file, the rule and the value."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from scene_folders import (
    HEIGHT,
    IDENTITY,
    PAR,
    WIDTH,
    disc,
    edit_frame,
    pose,
    refused,
    rgba,
    write_middlebury,
    write_transforms,
)


def test_no_scene_there(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "folder", "there is neither")
    refused(tmp_path, tmp_path.name, "need a camera file")
    (tmp_path / "cameras.xml").write_text("<a/>")
    refused(tmp_path / "cameras.xml", "cameras.xml", "need a camera file, one of transforms.json")
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


def write_mask(folder: Path, height: int | None) -> None:
    """Good masks, but for the second view a black one of this height, or none."""
    (folder / "masks").mkdir()
    for n in range(3):
        mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
        mask[:2] = 0
        iio.imwrite(folder / "masks" / f"v_{n}.png", mask)
    (folder / "masks" / "v_1.png").unlink()
    if height is not None:
        iio.imwrite(folder / "masks" / "v_1.png", np.zeros((height, WIDTH), np.uint8))


def opaque(folder: Path) -> None:
    for n in range(3):
        iio.imwrite(folder / f"v_{n}.png", rgba(90, np.ones((HEIGHT, WIDTH), bool)))


def white_masks(folder: Path) -> None:
    (folder / "masks").mkdir()
    for n in range(3):
        iio.imwrite(folder / "masks" / f"v_{n}.png", np.full((HEIGHT, WIDTH), 255, np.uint8))


def inverted_masks(folder: Path) -> None:
    (folder / "masks").mkdir()
    for n in range(3):
        iio.imwrite(folder / "masks" / f"v_{n}.png", ~disc() * np.uint8(255))


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
    "distortion": ({"k5": 0.01}, ("'v_1.png'", "'k5'", "undistort")),
    "distortion of words": ({"k1": "a"}, ("'v_1.png'", "'k1' needs a number", "'a'")),
    "camera model": ({"camera_model": "EQUIRECTANGULAR"}, ("EQUIRECT", "OPENCV", "undistort")),
    "fisheye": ({"is_fisheye": True, "p1": 0.1}, ("'p1'", "fisheye", "undistort")),
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
    "empty mask": (
        lambda f: iio.imwrite(f / "v_1.png", rgba(90, np.zeros((HEIGHT, WIDTH), bool))),
        ("v_1.png", "'v_1'", "mask is empty"),
    ),
    "opaque": (opaque, ("v_0.png", "where the object is", "alpha", "masks/NAME.png", "threshold")),
    "white masks": (white_masks, ("transforms.json", "white everywhere", "alpha")),
    "inverted masks": (inverted_masks, ("transforms.json", "object in white", "four borders")),
    "mask of another size": (
        lambda f: write_mask(f, 10),
        ("masks/v_1.png", "24×16", "24×10"),
    ),
    "black mask": (lambda f: write_mask(f, HEIGHT), ("'v_1'", "mask is empty")),
}


@pytest.mark.parametrize("case", SPOILED)
def test_spoiled_pixels(tmp_path: Path, case: str) -> None:
    spoil, needles = SPOILED[case]
    spoil(write_transforms(tmp_path))
    refused(tmp_path, *needles)


def test_a_kind_that_its_contents_are_not(tmp_path: Path) -> None:
    edit_frame(write_transforms(tmp_path), file_path="v_1.exr")
    (tmp_path / "v_1.exr").write_bytes(b"v/1\x01")
    refused(tmp_path, "v_1.exr", "not a readable OpenEXR file")


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
