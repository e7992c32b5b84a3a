"""Small scenes on disk for the tests of the readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import scene_layouts
import torch

from multiview.scenes import Scene, load_scene
from sdfrender.errors import InputError

WIDTH, HEIGHT, FOCAL = 24, 16, 30.0
BACK = np.diag([1.0, 1.0, 1.0, 1.0])  # OpenGL: at the origin, looking along −z


def disc(x: float = 12.0, y: float = 8.0, radius: float = 5.0) -> np.ndarray:
    """`[HEIGHT, WIDTH]` bool, pixel centres at +0.5."""
    v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    inside: np.ndarray = np.hypot(u - x, v - y) < radius
    return inside


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


def refused(path: Path, *needles: str, train_views: str | None = None, **options: Any) -> None:
    """Loading must raise InputError, in one line that contains all of `needles`."""
    with pytest.raises(InputError) as caught:
        load_scene(path, train_views, **options)
    message = str(caught.value)
    assert "\n" not in message
    for needle in needles:
        assert needle in message, message


def write_model(folder: Path, binary: bool = False, **changes: Any) -> Path:
    """Three views of a COLMAP scene; changes are of its camera and of its second image."""
    for name in ("images", "masks", "sparse/0"):
        (folder / name).mkdir(parents=True)
    for n in range(3):
        picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[4:12, 6:18] = 255
        iio.imwrite(folder / "images" / f"v {n}.png", picture)
        iio.imwrite(folder / "masks" / f"v {n}.png", mask)
    camera = (
        changes.get("camera", 1),
        changes.get("model", "PINHOLE"),
        changes.get("size", (WIDTH, HEIGHT)),
        changes.get("parameters", (30.0, 30.0, 12.0, 8.0)),
    )
    images = [
        [n, changes.get("q", (1.0, 0.0, 0.0, 0.0)) if n == 1 else (1.0, 0.0, 0.0, 0.0),
         (0.0, 0.0, 5.0 + n), changes.get("name", "v 1.png") if n == 1 else f"v {n}.png"]
        for n in range(3)
    ]  # fmt: skip
    write = scene_layouts.write_colmap_binary if binary else scene_layouts.write_colmap_text
    write(folder / "sparse" / "0", [camera], images)
    return folder
