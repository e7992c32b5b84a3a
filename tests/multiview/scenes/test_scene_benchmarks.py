"""Cameras as LLFF, MVSNet and Strecha's benchmark write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from scene_folders import refused
from scipy.spatial.transform import Rotation

from multiview.scenes import load_scene
from sdfrender.files.atomic import atomic_write

WIDTH, HEIGHT = 24, 16
K = np.array([[30.0, 0, 13], [0, 32, 7], [0, 0, 1]])


def true_cameras() -> np.ndarray:
    """`[3, 4, 4]` camera to world, OpenCV axes, from here and there towards the origin."""
    c2w = np.tile(np.eye(4), (3, 1, 1))
    for n in range(3):
        c2w[n, :3, :3] = Rotation.from_euler(
            "yxz", (20 * n - 20, 5 * n, 3), degrees=True
        ).as_matrix()
        c2w[n, :3, 3] = -5 * c2w[n, :3, 2]
    return c2w


def write_pictures(folder: Path, names: str = "{}.png") -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4:12, 6:18] = 255
    for n in range(3):
        picture = np.full((HEIGHT, WIDTH, 3), 90 + n, np.uint8)
        iio.imwrite(folder / "images" / names.format(n), picture)
        iio.imwrite(folder / "masks" / f"{Path(names.format(n)).stem}.png", mask)
    return folder


def write_llff(folder: Path, factor: int = 1, **changes: Any) -> Path:
    """`factor`: by which the stated size is larger than the pictures."""
    write_pictures(folder)
    rows = []
    for c2w in true_cameras():
        axes = np.column_stack((c2w[:3, 1], c2w[:3, 0], -c2w[:3, 2], c2w[:3, 3]))
        intrinsics = np.array([[HEIGHT], [WIDTH], [30.0]]) * factor
        rows.append(np.append(np.hstack((axes, intrinsics)).ravel(), (1.0, 9.0)))
    table = np.array(rows)
    for (row, column), value in changes.get("cells", {}).items():
        table[row, column] = value
    with atomic_write(folder / "poses_bounds.npy") as partial, partial.open("wb") as file:
        np.lib.format.write_array(file, changes.get("table", table), allow_pickle=False)
    return folder


def write_mvsnet(folder: Path, **changes: Any) -> Path:
    write_pictures(folder)
    (folder / "cams").mkdir()
    for n, c2w in enumerate(true_cameras()):
        world = "\n".join(" ".join(map(repr, row.tolist())) for row in np.linalg.inv(c2w))
        inner = "\n".join(" ".join(map(repr, row.tolist())) for row in changes.get("K", K))
        text = f"extrinsic\n{world}\n\nintrinsic\n{inner}\n\n1.0 0.02 192 9.0\n"
        (folder / "cams" / f"{n}_cam.txt").write_text(changes.get("text", text))
    return folder


def write_strecha(folder: Path, place: str = "images", **changes: Any) -> Path:
    write_pictures(folder)
    (folder / place).mkdir(exist_ok=True)
    for n, c2w in enumerate(true_cameras()):
        rows = [*K, changes.get("distortion", (0.0, 0.0, 0.0)), *c2w[:3, :3], c2w[:3, 3]]
        lines = [" ".join(repr(float(x)) for x in row) for row in rows]
        text = "\n".join(lines) + f"\n{changes.get('width', WIDTH)} {HEIGHT}\n"
        (folder / place / f"{n}.png.camera").write_text(text)
    return folder


MIDDLE = np.array([[30.0, 0, WIDTH / 2], [0, 30, HEIGHT / 2], [0, 0, 1]])
LAYOUTS: dict[str, tuple[Callable[[Path], Path], np.ndarray]] = {
    "LLFF": (write_llff, MIDDLE),
    "LLFF, smaller pictures": (lambda folder: write_llff(folder, 4), MIDDLE),
    "MVSNet": (write_mvsnet, K),
    "Strecha": (write_strecha, K),
    "Strecha, a folder of their own": (lambda folder: write_strecha(folder, "gt_dense_cameras"), K),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cameras_are_where_they_were(tmp_path: Path, layout: str) -> None:
    write, intrinsics = LAYOUTS[layout]
    scene = load_scene(write(tmp_path / "scene"))
    assert scene.names == ("0", "1", "2")
    assert scene.masks["file"] == 3
    np.testing.assert_allclose(scene.cameras.c2w, true_cameras(), atol=1e-6)
    np.testing.assert_allclose(scene.cameras.Ks, np.tile(intrinsics, (3, 1, 1)), rtol=1e-6)
    assert (scene.cameras.width, scene.cameras.height) == (WIDTH, HEIGHT)


BAD: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "LLFF, columns": (
        lambda f: write_llff(f, table=np.zeros((3, 16))),
        ("poses_bounds.npy", "17 numbers", "16"),
    ),
    "LLFF, rows": (
        lambda f: write_llff(f, table=np.zeros((2, 17))),
        ("poses_bounds.npy", "3 images", "got 2"),
    ),
    "LLFF, nan": (lambda f: write_llff(f, cells={(1, 3): np.nan}), ("row 1", "finite", "nan")),
    "LLFF, axes": (lambda f: write_llff(f, cells={(1, 0): 3.0}), ("row 1", "right angles")),
    "LLFF, focal": (lambda f: write_llff(f, cells={(2, 14): -1.0}), ("row 2", "focal", "-1")),
    "LLFF, shape": (
        lambda f: write_llff(f, cells={(0, 4): 24.0}),
        ("images/0.png", "row 0", "24×24", "24×16"),
    ),
    "MVSNet, a quarter": (
        lambda f: write_mvsnet(f, K=np.diag((0.25, 0.25, 1)) @ K),
        ("0_cam.txt", "24×16", "about 6×4"),
    ),
    "MVSNet, words": (
        lambda f: write_mvsnet(f, text="extrinsic 1 2"),
        ("0_cam.txt", "'intrinsic'"),
    ),
    "MVSNet, focal": (lambda f: write_mvsnet(f, K=-K), ("0_cam.txt", "focal")),
    "Strecha, size": (lambda f: write_strecha(f, width=25), ("0.png", "25×16", "24×16")),
    "Strecha, distortion": (
        lambda f: write_strecha(f, distortion=(0.1, 0, 0)),
        ("0.png.camera", "distortion", "0.1"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_files(tmp_path: Path, case: str) -> None:
    write, needles = BAD[case]
    refused(write(tmp_path / "scene"), *needles)


def test_an_llff_file_that_is_none(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "scene")
    (folder / "poses_bounds.npy").write_bytes(b"\x93NUMPY")
    refused(folder, "poses_bounds.npy", "readable")


@pytest.mark.parametrize("layout", ["MVSNet", "Strecha"])
def test_pictures_that_are_not_there(tmp_path: Path, layout: str) -> None:
    folder = LAYOUTS[layout][0](tmp_path / "scene")
    (folder / "images" / "1.png").unlink()
    scene = load_scene(folder)
    assert scene.names == ("0", "2")
    assert any("1 of the 3 images" in warning for warning in scene.warnings)


def test_an_idr_scene_with_images_and_masks(tmp_path: Path) -> None:
    """As some write them: plural folders instead of `image` and `mask`."""
    folder = write_pictures(tmp_path / "scene")
    arrays = {}
    for n, c2w in enumerate(true_cameras()):
        projection = np.eye(4)
        projection[:3] = K @ np.linalg.inv(c2w)[:3]
        arrays |= {f"world_mat_{n}": projection, f"scale_mat_{n}": np.diag((2.0, 2, 2, 1))}
    np.savez(folder / "cameras.npz", **arrays)
    scene = load_scene(folder)
    np.testing.assert_allclose(scene.cameras.c2w, true_cameras(), atol=1e-5)
    assert scene.masks["file"] == 3
    assert scene.bounds is not None
    assert scene.bounds.tolist() == [[-2, -2, -2], [2, 2, 2]]
