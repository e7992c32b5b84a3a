"""Any camera and any lattice comes back from each format as it was."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from scene_folders import HEIGHT, WIDTH, rgba
from scipy.spatial.transform import Rotation

from multiview.scenes.readers.colmap import read_colmap
from multiview.scenes.readers.middlebury import read_middlebury
from multiview.scenes.readers.npz import read_npz
from multiview.scenes.readers.transforms import read_transforms
from multiview.scenes.rotations import check_camera, orthonormal
from multiview.scenes.scene import Description, View
from sdfrender.files.formats.pngs import write_png
from sdfrender.geometry.lattice import Lattice
from sdfrender.io.lattices import load_lattice, save_lattice

angles = st.floats(-3.1, 3.1)
places = st.floats(-1e3, 1e3)
cameras = st.fixed_dictionaries(
    {
        "turn": st.tuples(angles, angles, angles),
        "place": st.tuples(places, places, places),
        "fx": st.floats(1, 1e4),
        "ratio": st.floats(0.5, 2),
        "cx": st.floats(-100, 200),
        "cy": st.floats(-100, 200),
    }
)
N = 2


def numbers_of(camera: dict) -> tuple[np.ndarray, np.ndarray]:
    """Camera-to-world `[4, 4]`, OpenCV axes, and intrinsics `[3, 3]`."""
    c2w = np.eye(4)
    c2w[:3, :3] = Rotation.from_euler("xyz", camera["turn"]).as_matrix()
    c2w[:3, 3] = camera["place"]
    K = np.array(
        [[camera["fx"], 0, camera["cx"]], [0, camera["fx"] * camera["ratio"], camera["cy"]],
         [0, 0, 1]]
    )  # fmt: skip
    return c2w, K


def write_transforms(folder: Path, c2w: np.ndarray, K: np.ndarray) -> Description:
    gl = c2w @ np.diag([1.0, -1, -1, 1])
    frames = [{"file_path": f"image/{n}.png", "transform_matrix": gl.tolist()} for n in range(N)]
    table = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "frames": frames}
    file = folder / "transforms.json"
    file.write_text(json.dumps(table))
    return read_transforms(file)


def colmap_pose(c2w: np.ndarray) -> list[float]:
    x, y, z, w = Rotation.from_matrix(c2w[:3, :3].T).as_quat()
    return [w, x, y, z, *(-c2w[:3, :3].T @ c2w[:3, 3])]


def write_colmap_text(folder: Path, c2w: np.ndarray, K: np.ndarray) -> Description:
    parameters = (K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    line = " ".join(map(repr, map(float, parameters)))
    (folder / "cameras.txt").write_text(f"7 PINHOLE {WIDTH} {HEIGHT} {line}\n")
    pose = " ".join(map(repr, map(float, colmap_pose(c2w))))
    rows = [f"{n + 1} {pose} 7 {n}.png\n1.0 2.0 -1\n" for n in range(N)]
    (folder / "images.txt").write_text("".join(rows))
    return read_colmap(folder / "cameras.txt")


def write_colmap_binary(folder: Path, c2w: np.ndarray, K: np.ndarray) -> Description:
    parameters = (K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    (folder / "cameras.bin").write_bytes(
        struct.pack("<QIiQQ4d", 1, 7, 1, WIDTH, HEIGHT, *parameters)
    )
    rows = [
        struct.pack("<I7dI", n + 1, *colmap_pose(c2w), 7) + f"{n}.png\0".encode()
        + struct.pack("<Q", 0) for n in range(N)
    ]  # fmt: skip
    (folder / "images.bin").write_bytes(struct.pack("<Q", N) + b"".join(rows))
    return read_colmap(folder / "cameras.bin")


def write_middlebury(folder: Path, c2w: np.ndarray, K: np.ndarray) -> Description:
    centred = K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    R = c2w[:3, :3].T
    numbers = [*centred.ravel(), *R.ravel(), *(-R @ c2w[:3, 3])]
    row = " ".join(map(repr, map(float, numbers)))
    file = folder / "image" / "x_par.txt"
    file.write_text("\n".join([str(N), *(f"{n}.png {row}" for n in range(N))]))
    return read_middlebury(file)


def write_npz(folder: Path, c2w: np.ndarray, K: np.ndarray) -> Description:
    P = np.eye(4)
    P[:3] = 3 * K @ np.linalg.inv(c2w)[:3]
    arrays = {f"world_mat_{n}": P for n in range(N)}
    arrays |= {f"scale_mat_{n}": np.eye(4) for n in range(N)}
    data = io.BytesIO()
    np.savez(data, **arrays)
    (folder / "cameras_sphere.npz").write_bytes(data.getvalue())
    return read_npz(folder / "cameras_sphere.npz")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("image", "images"):
        (folder / name).mkdir()
        for n in range(N):
            write_png(folder / name / f"{n}.png", rgba())
    return folder


@pytest.mark.parametrize(
    "write",
    [write_transforms, write_colmap_text, write_colmap_binary, write_middlebury, write_npz],
)
@settings(max_examples=40, deadline=None)
@given(camera=cameras)
def test_cameras_come_back(
    pictures: Path, write: Callable[[Path, np.ndarray, np.ndarray], Description], camera: dict
) -> None:
    c2w, K = numbers_of(camera)
    scene = write(pictures, c2w, K)
    views, notes = orthonormal(scene.views)
    assert len(views) == N
    assert not notes
    for view in views:
        check_camera(scene.file, view)
        assert view.size == (WIDTH, HEIGHT)
        np.testing.assert_allclose(view.c2w, c2w, atol=1e-6)
        np.testing.assert_allclose(view.K, K, rtol=1e-6, atol=1e-4)


@settings(max_examples=100, deadline=None)
@given(camera=cameras, seed=st.integers(0, 10**6), digits=st.integers(2, 6))
def test_a_rounded_rotation_comes_near_the_true_one(camera: dict, seed: int, digits: int) -> None:
    c2w, K = numbers_of(camera)
    rounded = c2w.copy()
    rounded[:3, :3] = c2w[:3, :3].round(digits)
    view = View("a", Path("a.png"), rounded, K, (WIDTH, HEIGHT))
    error = np.abs(rounded[:3, :3].T @ rounded[:3, :3] - np.eye(3)).max()
    assume(error < 0.019)
    (found,), notes = orthonormal([view])
    R = found.c2w[:3, :3]
    assert np.abs(R.T @ R - np.eye(3)).max() < (1e-12 if notes else 2.1e-4)
    assert np.abs(R - c2w[:3, :3]).max() < 2 * 10.0**-digits
    assert np.array_equal(found.c2w[:3, 3], c2w[:3, 3])


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 6)] * 3),
    low=st.tuples(*[st.floats(-1e3, 1e3, width=32)] * 3),
    size=st.tuples(*[st.floats(1, 50, width=32)] * 3),
    kind=st.sampled_from([".safetensors", ".npz"]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16]),
    seed=st.integers(0, 999),
)
def test_lattices_come_back(
    shape: tuple[int, int, int],
    low: tuple[float, float, float],
    size: tuple[float, float, float],
    kind: str,
    dtype: torch.dtype,
    seed: int,
) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    bounds = torch.tensor([low, [a + b for a, b in zip(low, size, strict=True)]]).double()
    lattice = Lattice(values, bounds)
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"a{kind}"
        save_lattice(file, lattice)
        again = load_lattice(file)
    assert again.values.dtype == dtype
    assert torch.equal(again.values, lattice.values)
    assert torch.equal(again.bounds, lattice.bounds)
