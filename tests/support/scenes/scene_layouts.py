"""The same posed images in the layouts of other programs, written by the formats' own rules."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from scipy.spatial.transform import Rotation

from sdfrender.files.formats.pngs import read_png, write_png

Array = Any


def plain_scene(source: Path, folder: Path) -> Path:
    """A copy of a rendered scene that states neither light nor box nor held-out views."""
    shutil.copytree(source, folder)
    table = json.loads((folder / "transforms.json").read_text())
    for key in ("sdfrender", "train_filenames", "val_filenames", "test_filenames"):
        table.pop(key, None)
    (folder / "transforms.json").write_text(json.dumps(table))
    return folder


def cameras_of(scene: Path) -> tuple[list[str], Array, Array, tuple[int, int]]:
    """Names, world-to-camera `[N, 4, 4]` (OpenCV), `[N, 3, 3]` intrinsics, size of a scene."""
    table = json.loads((scene / "transforms.json").read_text())
    names = [Path(frame["file_path"]).stem for frame in table["frames"]]
    c2w = np.array([frame["transform_matrix"] for frame in table["frames"]])
    c2w = c2w @ np.diag([1.0, -1.0, -1.0, 1.0])
    K = np.array([[table["fl_x"], 0, table["cx"]], [0, table["fl_y"], table["cy"]], [0, 0, 1]])
    return names, np.linalg.inv(c2w), np.tile(K, (len(names), 1, 1)), (table["w"], table["h"])


def copy_pictures(scene: Path, images: Path, masks: Path, mask_name: str = "{}.png") -> None:
    """Pictures without alpha, and masks."""
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for file in sorted((scene / "images").iterdir()):
        write_png(images / file.name, read_png(file)[..., :3])
        shutil.copy(scene / "masks" / file.name, masks / mask_name.format(file.stem))


# ---------------------------------------------------------------------- COLMAP


def write_colmap(scene: Path, folder: Path, binary: bool, place: str = "sparse/0") -> Path:
    """A COLMAP model of a scene: views in another order, points of which nothing is used."""
    names, w2c, Ks, size = cameras_of(scene)
    copy_pictures(scene, folder / "images", folder / "masks", "{}.png.png")
    (folder / place).mkdir(parents=True, exist_ok=True)
    fx, fy, cx, cy = Ks[0][0, 0], Ks[0][1, 1], Ks[0][0, 2], Ks[0][1, 2]
    entries = []
    for n in reversed(range(len(names))):
        x, y, z, w = Rotation.from_matrix(w2c[n, :3, :3]).as_quat()
        entries.append((n + 7, (w, x, y, z), w2c[n, :3, 3], f"{names[n]}.png"))
    write = write_colmap_binary if binary else write_colmap_text
    write(folder / place, [(3, "PINHOLE", size, (fx, fy, cx, cy))], entries)
    return folder


def write_colmap_text(model: Path, cameras: list[Any], images: list[Any]) -> None:
    lines = ["# Camera list with one line of data per camera:"]
    for identity, name, size, parameters in cameras:
        words = [identity, name, *size, *(repr(float(x)) for x in parameters)]
        lines.append(" ".join(map(str, words)))
    (model / "cameras.txt").write_text("\n".join(lines) + "\n")
    lines = ["# Image list with two lines of data per image:", ""]
    for i, (identity, q, t, name) in enumerate(images):
        numbers = " ".join(repr(float(x)) for x in (*q, *t))
        lines.append(f"{identity} {numbers} {cameras[0][0]} {name}")
        lines.append("" if i % 2 else "1.5 2.5 -1 3.5 4.5 12")  # 2D points, or none
    (model / "images.txt").write_text("\n".join(lines) + "\n")


MODEL_IDS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4,
             "OPENCV_FISHEYE": 5, "FULL_OPENCV": 6, "FOV": 7}  # fmt: skip


def write_colmap_binary(model: Path, cameras: list[Any], images: list[Any]) -> None:
    data = struct.pack("<Q", len(cameras))
    for identity, name, size, parameters in cameras:
        data += struct.pack("<IiQQ", identity, MODEL_IDS[name], *size)
        data += struct.pack(f"<{len(parameters)}d", *parameters)
    (model / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(images))
    for i, (identity, q, t, name) in enumerate(images):
        data += struct.pack("<I7dI", identity, *q, *t, cameras[0][0]) + name.encode() + b"\0"
        data += struct.pack("<Q", i % 3) + i % 3 * struct.pack("<ddq", 1.5, 2.5, -1)
    (model / "images.bin").write_bytes(data)


# ---------------------------------------------------------------------- npz


NORMALISATION = np.array([[3.2, 0, 0, 10.1], [0, 3.2, 0, -3], [0, 0, 3.2, 5], [0, 0, 0, 1.0]])


def write_idr(scene: Path, folder: Path) -> Path:
    """IDR and NeuS: projections times a factor, and a normalisation that moves and scales."""
    names, w2c, Ks, _ = cameras_of(scene)
    copy_pictures(scene, folder / "image", folder / "mask")
    # As on disk there: pictures and masks are numbered with different numbers of digits.
    for n, name in enumerate(names):
        (folder / "image" / f"{name}.png").rename(folder / "image" / f"{n:06d}.png")
        grey = iio.imread(folder / "mask" / f"{name}.png")
        (folder / "mask" / f"{name}.png").unlink()
        write_png(folder / "mask" / f"{n:03d}.png", np.repeat(grey[..., None], 3, -1))
    arrays = {}
    for n in range(len(names)):
        P = np.eye(4)
        P[:3] = Ks[n] @ w2c[n, :3]
        arrays[f"world_mat_{n}"] = (-1.0) ** n * (1 + 0.1 * n) * P
        arrays[f"scale_mat_{n}"] = NORMALISATION
        arrays[f"camera_mat_{n}"] = np.eye(4)
    np.savez(folder / "cameras_sphere.npz", **arrays)
    return folder


def write_dvr(scene: Path, folder: Path) -> Path:
    """DVR: cameras in the square [-1, 1]²."""
    names, w2c, Ks, (width, height) = cameras_of(scene)
    copy_pictures(scene, folder / "image", folder / "mask")
    to_square = np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
    arrays = {}
    for n in range(len(names)):
        camera = np.eye(4)
        camera[:3, :3] = to_square @ Ks[n]
        arrays |= {f"camera_mat_{n}": camera, f"world_mat_{n}": w2c[n]}
    np.savez(folder / "cameras.npz", **arrays)
    return folder


LAYOUTS: dict[str, Callable[[Path, Path], Path]] = {
    "COLMAP text": lambda scene, folder: write_colmap(scene, folder, binary=False),
    "COLMAP binary": lambda scene, folder: write_colmap(scene, folder, binary=True, place="sparse"),
    "COLMAP model": lambda scene, folder: write_colmap(scene, folder, binary=True, place="."),
    "IDR": write_idr,
    "DVR": write_dvr,
}
