"""COLMAP, IDR and DVR scenes that are wrong: one line with the file, the rule and the value."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from scene_folders import refused, write_model

from multiview.scenes import load_scene

WIDTH, HEIGHT = 24, 16
LENGTHY = 2**62


def test_names_with_spaces(tmp_path: Path) -> None:
    for binary in (False, True):
        scene = load_scene(write_model(tmp_path / str(binary), binary))
        assert scene.names == ("v 0", "v 1", "v 2")


BAD_MODELS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nan": ({"q": (math.nan, 0, 0, 0)}, ("images.", "finite", "nan")),
    "no rotation": ({"q": (0.5, 0, 0, 0)}, ("'v 1.png'", "rotation", "0.5")),
    "zero rotation": ({"q": (0, 0, 0, 0)}, ("'v 1.png'", "rotation", "length 0")),
    "zero focal": ({"parameters": (0.0, 30.0, 12.0, 8.0)}, ("cameras.", "positive focal", "0.0")),
    "focal nan": ({"parameters": (math.nan, 30.0, 12.0, 8.0)}, ("cameras.", "finite", "nan")),
    "other size": ({"size": (25, 16)}, ("v 0.png", "25×16", "24×16")),
    "no size": ({"size": (0, 0)}, ("cameras.", "positive size", "0×0")),
    "no lens model": (
        {"model": "FOV", "parameters": (30.0, 30.0, 12.0, 8.0, 0.1)},
        ("cameras.", "FOV", "undistort"),
    ),
}


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("case", BAD_MODELS)
def test_bad_models(tmp_path: Path, case: str, binary: bool) -> None:
    changes, needles = BAD_MODELS[case]
    refused(write_model(tmp_path / "scene", binary, **changes), str(tmp_path), *needles)


BAD_TEXTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "unknown model": ("cameras.txt", "1 MAGIC 24 16 1 2 3", ("line 1", "'MAGIC'", "PINHOLE")),
    "too few parameters": ("cameras.txt", "1 PINHOLE 24 16 30 12 8", ("PINHOLE", "4 numbers")),
    "words": ("cameras.txt", "1 PINHOLE 24 16 a b c d", ("line 1", "numbers", "'a'")),
    "short camera": ("cameras.txt", "1 PINHOLE", ("line 1", "CAMERA_ID MODEL", "'1 PINHOLE'")),
    "size of words": ("cameras.txt", "1 PINHOLE x 16 30 30 12 8", ("whole numbers", "x 16")),
    "other camera": (
        "cameras.txt",
        "2 PINHOLE 24 16 30 30 12 8",
        ("images.txt", "cameras 2", "got 1"),
    ),
    "empty": ("cameras.txt", "", ("file is empty",)),
    "short image": ("images.txt", "1 1 0 0 0 0 0 5 1", ("line 1", "NAME")),
    "camera of words": ("images.txt", "1 1 0 0 0 0 0 5 x v 0.png", ("line 1", "whole numbers")),
    "no images": ("images.txt", "# none", ("images.txt", "there is none")),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_bad_texts(tmp_path: Path, case: str) -> None:
    name, text, needles = BAD_TEXTS[case]
    folder = write_model(tmp_path / "scene")
    (folder / "sparse" / "0" / name).write_text(text + "\n" if text else "")
    refused(folder, str(folder), *needles)


def test_binaries_cut_short_anywhere(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "scene", binary=True)
    for name in ("cameras.bin", "images.bin"):
        file = folder / "sparse" / "0" / name
        whole = file.read_bytes()
        for keep in range(1, len(whole), 7):
            file.write_bytes(whole[:keep])
            refused(folder, name, "cut short")
        file.write_bytes(whole + b"\0\0")
        refused(folder, name, "2 more")
        file.write_bytes(b"")
        refused(folder, name, "empty")
        file.write_bytes(struct.pack("<Q", LENGTHY) + whole[8:])  # more entries than bytes
        refused(folder, name)
        file.write_bytes(whole)
    images = folder / "sparse" / "0" / "images.bin"
    images.write_bytes(images.read_bytes().replace(b"v 1", b"\xff 1"))
    refused(folder, "images.bin", "UTF-8")


def test_models_without_pictures(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "scene")
    (folder / "images").rename(folder / "pictures")
    refused(folder, "cameras.txt", "folder 'images'")
    folder = write_model(tmp_path / "other")
    (folder / "sparse" / "0" / "cameras.txt").unlink()
    refused(folder, "cameras.txt", "no such file")


# ---------------------------------------------------------------------- npz


def write_npz_scene(folder: Path, **changes: Any) -> Path:
    """Three views of an IDR scene; a change of None removes the array."""
    for name in ("image", "mask"):
        (folder / name).mkdir(parents=True)
    arrays: dict[str, Any] = {}
    for n in range(3):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[4:12, 6:18] = 255
        iio.imwrite(folder / "image" / f"{n:03d}.png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        iio.imwrite(folder / "mask" / f"{n:03d}.png", mask)
        arrays[f"world_mat_{n}"] = projection(n)
        arrays[f"scale_mat_{n}"] = np.eye(4)
    arrays.update(changes)
    kept = {key: value for key, value in arrays.items() if value is not None}
    np.savez(folder / "cameras_sphere.npz", **kept)
    return folder


def projection(n: int = 1) -> Any:
    P = np.eye(4)
    P[:3] = np.array([[30.0, 0, 12], [0, 30, 8], [0, 0, 1]]) @ np.eye(4)[:3]
    P[:3, 3] += np.array([12.0, 8, 1]) * (5 + n)
    return P


def with_value(row: int, column: int, value: float) -> Any:
    P = projection()
    P[row, column] = value
    return P


BAD_ARRAYS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "a matrix missing": ({"world_mat_1": None}, ("3 cameras", "got 2")),
    "no normalisation": ({"scale_mat_1": None}, ("'scale_mat_1'", "missing")),
    "nan": ({"world_mat_1": with_value(0, 0, math.nan)}, ("'world_mat_1'", "finite", "nan")),
    "infinity": ({"world_mat_1": with_value(2, 3, math.inf)}, ("'world_mat_1'", "finite", "inf")),
    "zeros": ({"world_mat_1": np.zeros((4, 4))}, ("'world_mat_1'", "singular")),
    "zero focal": ({"world_mat_1": with_value(0, 0, 0.0)}, ("'world_mat_1'", "singular")),
    "no camera": ({"world_mat_1": with_value(0, 1, 50.0)}, ("'world_mat_1'", "skew")),
    "shape": ({"world_mat_1": np.eye(3)}, ("'world_mat_1'", "4×4", "[3, 3]")),
    "words": ({"world_mat_1": np.array([["a"] * 4] * 4)}, ("'world_mat_1'", "matrix", "<U1")),
    "object": ({"world_mat_1": np.array([{}, 1], object)}, ("not a readable npz", "allow_pickle")),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(tmp_path: Path, case: str) -> None:
    changes, needles = BAD_ARRAYS[case]
    folder = write_npz_scene(tmp_path / "scene", **changes)
    refused(folder, "cameras_sphere.npz", *needles)


BAD_SCENES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "image missing": (lambda f: (f / "image" / "002.png").unlink(), ("2 cameras", "got 3")),
    "no pictures": (lambda f: (f / "image").rename(f / "x"), ("image", "no such folder")),
    "no image in it": (
        lambda f: [p.unlink() for p in (f / "image").iterdir()],
        ("image", "need images", ".png"),
    ),
    "cut short": (
        lambda f: (f / "cameras_sphere.npz").write_bytes(
            (f / "cameras_sphere.npz").read_bytes()[:500]
        ),
        ("cameras_sphere.npz", "not a readable npz"),
    ),
    "text": (
        lambda f: (f / "cameras_sphere.npz").write_text("hello"),
        ("cameras_sphere.npz", "not a readable npz"),
    ),
    "mask of another size": (
        lambda f: iio.imwrite(f / "mask" / "001.png", np.zeros((5, 5), np.uint8)),
        ("mask/001.png", "24×16", "5×5"),
    ),
}


@pytest.mark.parametrize("case", BAD_SCENES)
def test_bad_npz_scenes(tmp_path: Path, case: str) -> None:
    change, needles = BAD_SCENES[case]
    folder = write_npz_scene(tmp_path / "scene")
    assert len(load_scene(folder).names) == 3
    change(folder)
    refused(folder, *needles)


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    """What an attacker would store: an object that runs code when it is unpickled."""
    ran = tmp_path / "ran"

    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    folder = write_npz_scene(tmp_path / "scene", world_mat_0=np.array([Runs()], object))
    refused(folder, "cameras_sphere.npz", "not a readable npz")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("key", "value", "needles"),
    [
        ("world_mat_1", -np.eye(4), ("need rotations", "camera 1")),
        ("world_mat_1", np.diag([1.0, 1.1, 1.0, 1.0]), ("'001'", "need a rotation")),
        ("world_mat_1", np.eye(3), ("'world_mat_1'", "3×4")),
        ("camera_mat_1", np.zeros((3, 3)), ("'001'", "positive focal")),
        ("camera_mat_1", None, ("'camera_mat_1'", "missing")),
    ],
)
def test_bad_dvr_cameras(tmp_path: Path, key: str, value: Any, needles: tuple[str, ...]) -> None:
    folder = write_npz_scene(tmp_path / "scene")
    (folder / "cameras_sphere.npz").unlink()
    arrays = {f"world_mat_{n}": np.eye(4) for n in range(3)}
    arrays |= {f"camera_mat_{n}": np.diag([2.0, 2.0, 1.0]) for n in range(3)}
    arrays[key] = value
    np.savez(folder / "cameras.npz", **{k: v for k, v in arrays.items() if v is not None})
    refused(folder, "cameras.npz", *needles)
