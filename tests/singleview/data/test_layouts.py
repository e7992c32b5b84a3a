"""The NMR and the DVR layouts, against projections written out by their own formulas."""

import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import places
import pytest
import torch
from numpy.typing import NDArray

from sdfrender import Cameras, Lattice, render
from sdfrender.errors import InputError
from sdfrender.geometry.primitives import box, union
from sdfrender.meshes.metrics import occupancy_iou
from singleview.data.dataset import Dataset
from singleview.data.layouts.nmr import nmr_cameras
from singleview.data.open import open_dataset
from singleview.measures.shapes import true_inside

SHARED = places.DATA
# No symmetry: an L with a foot.
SHAPE = union(
    box((0.2, 0.7, 0.2), (-0.3, 0.0, 0.1)),
    box((0.5, 0.2, 0.2), (0.2, -0.5, 0.1)),
    box((0.2, 0.2, 0.4), (0.5, -0.5, 0.3)),
)
Floats = NDArray[np.float64]

# ---------------------------------------------------------------------- NMR and SoftRas


def nmr_pixels(points: Floats, view: int) -> Floats:
    """Pixels in [0, 1]² by the renderer's own steps, with its left-handed axes.

    Args:
        points: `[P, 3]` in its box [-0.5, 0.5]³.
        view: number of the camera.
    """
    azimuth, elevation, distance = np.radians(-15.0 * view), np.radians(30.0), 2.732
    eye = distance * np.array([
        np.cos(elevation) * np.sin(azimuth),
        np.sin(elevation),
        -np.cos(elevation) * np.cos(azimuth),
    ])  # fmt: skip
    z = -eye / np.linalg.norm(eye)
    x = np.cross((0, 1, 0), z)
    x /= np.linalg.norm(x)
    local = (points - eye) @ np.stack((x, np.cross(z, x), z)).T
    ndc = local[:, :2] / local[:, 2:] / np.tan(np.radians(15.0))
    return np.stack((1 + ndc[:, 0], 1 - ndc[:, 1]), -1) / 2


def test_nmr_cameras_project_as_the_renderer_does() -> None:
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3))
    ours = torch.from_numpy(2 * points * (1, 1, -1)).float()  # z mirrored, the box twice as large
    uv, depths = nmr_cameras(64, 64).project(ours)
    assert float(depths.min()) > 0
    for view in range(24):
        np.testing.assert_allclose(uv[view] / 64, nmr_pixels(points, view), atol=1e-5)


def write_nmr(folder: Path) -> Path:
    """Two splits of one class: the L, seen and voxelised as the layout has it."""
    folder.mkdir()
    lattice = Lattice.from_function(SHAPE, 32)
    seen = render(lattice, nmr_cameras(64, 64))
    rgba = torch.cat((seen.images.expand(-1, -1, -1, 3), seen.silhouettes[..., None]), -1)
    images = (rgba * 255).round().byte().permute(0, 3, 1, 2).numpy()[None]
    # Theirs: axes (y, x, z) of the mirrored box read backwards along z, which is ours forwards.
    voxels = (lattice.values < 0).permute(1, 0, 2).numpy()[None]
    for split, count in (("train", 3), ("test", 1)):
        np.savez(folder / f"02691156_{split}_images.npz", np.repeat(images, count, 0))
        np.savez(folder / f"02691156_{split}_voxels.npz", np.repeat(voxels, count, 0))
    return folder


@pytest.fixture(scope="module")
def nmr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nmr(tmp_path_factory.mktemp("layouts") / "nmr")


def test_nmr_files_are_read(nmr: Path) -> None:
    dataset = open_dataset(nmr)
    assert dataset.names[:2] == ("airplane/test_00000", "airplane/train_00000")
    assert dataset.splits == ("test", "train", "train", "train")
    assert dataset.images.shape == (4, 24, 64, 64, 3)
    assert dataset.shared_cameras is not None
    assert dataset.lighting is None
    assert dataset.values is None
    assert dataset[0].occupancy is not None
    true = Lattice.from_function(SHAPE, 32).values < 0
    assert torch.equal(dataset[0].occupancy, true)
    solids = true_inside(dataset, 32)
    assert solids is not None
    assert true_inside(dataset, 64) is None
    assert float(occupancy_iou(solids[0], true)) == 1
    assert open_dataset(nmr, 32).image_size == (32, 32)


def test_nmr_damage_is_named(nmr: Path, tmp_path: Path) -> None:
    images = np.load(nmr / "02691156_test_images.npz")["arr_0"]
    voxels = np.load(nmr / "02691156_test_voxels.npz")["arr_0"]
    nan = np.where(np.arange(24)[:, None, None, None] == 5, np.nan, images / 255.0)
    no_mask = images.copy()
    no_mask[:, :, 3] = 0
    for changed, other, problem in (
        (nan, voxels, r"02691156_test_images.npz: need finite pixels, view 5 of object 0 has NaN"),
        (no_mask, voxels, "object 0 has no mask"),
        (images[:0], voxels, "the category is empty"),
        (images[:, :23], voxels, r"need RGBA images \[N, 24, 4, H, W\]"),
        (images * 2.0, voxels, "need uint8, or numbers from 0 to 1"),
        (images, voxels.repeat(2, 0), r"voxels.npz: need voxels of 1 objects .* got 2"),
        (images, voxels[:, :5], "need voxels"),
    ):
        np.savez(tmp_path / "02691156_test_images.npz", changed)
        np.savez(tmp_path / "02691156_test_voxels.npz", other)
        with pytest.raises(InputError, match=problem):
            open_dataset(tmp_path)
    (tmp_path / "02691156_test_voxels.npz").unlink()
    np.savez(tmp_path / "02691156_test_images.npz", images)
    with pytest.raises(InputError, match=r"02691156_test_voxels.npz: no such file"):
        open_dataset(tmp_path)
    (tmp_path / "02691156_test_images.npz").rename(tmp_path / "planes_images.npz")
    with pytest.raises(InputError, match=r"need a name like 02691156_train_images.npz"):
        open_dataset(tmp_path)


# ---------------------------------------------------------------------- DVR and Occupancy Networks

LOC, SCALE = np.array([0.1, -0.2, 0.05]), 0.9
VIEWS = 6


def write_dvr(folder: Path, whole: bool = True, objects: int = 2) -> Path:
    """The L as benches, with close views on white and masks, and with whole views if asked."""
    lattice = Lattice.from_function(SHAPE, 48)
    cameras = Cameras.orbit(VIEWS, 3.2, 0.4, width=64)
    seen = render(lattice, cameras)
    w2c = torch.linalg.inv(cameras.c2w.double()).numpy()
    on_white = 1 - seen.silhouettes[..., None] * (1 - 0.5 * seen.images)
    pixels = (on_white.expand(-1, -1, -1, 3) * 255).byte().numpy()
    masks = (seen.silhouettes > 0.5).byte().numpy() * 255
    for i in range(objects):
        path = folder / "02828884" / f"bench{i}"
        for name in ("image", "mask", *(("img_choy2016",) if whole else ())):
            (path / name).mkdir(parents=True)
        close, far = {}, {}
        for v in range(VIEWS):
            iio.imwrite(path / "image" / f"{v:04d}.png", pixels[v])
            iio.imwrite(path / "mask" / f"{v:04d}.png", masks[v])
            K, R, t = cameras.Ks[v].double().numpy(), w2c[v, :3, :3], w2c[v, :3, 3]
            # A point of the cube of side 1 is 2/3 of ours.
            ndc = np.diag([K[0, 0] / 32, K[1, 1] / 32, 1.0, 1.0])
            close[f"camera_mat_{v}"] = ndc
            world = np.eye(4)
            world[:3, :3], world[:3, 3] = R, t / 1.5
            close[f"world_mat_{v}"] = world
            # X = SCALE · point + LOC, and x = K (R X + t'), one scale for all of a camera.
            far[f"camera_mat_{v}"] = K
            far[f"world_mat_{v}"] = np.column_stack((R, t * SCALE / 1.5 - R @ LOC))
            if whole:
                iio.imwrite(path / "img_choy2016" / f"{v:03d}.png", pixels[v])
        np.savez(path / "cameras.npz", **close)
        np.savez(path / "pointcloud.npz", points=np.zeros((9, 3)), loc=LOC, scale=SCALE)
        if whole:
            np.savez(path / "img_choy2016" / "cameras.npz", **far)
    return folder


@pytest.mark.parametrize("whole", [True, False])
def test_dvr_folders_are_read(tmp_path: Path, whole: bool) -> None:
    dataset = open_dataset(write_dvr(tmp_path, whole))
    assert dataset.names == ("bench/bench0", "bench/bench1")
    assert dataset.images.shape == (2, VIEWS, 64, 64, 3)
    assert dataset.shared_cameras is None
    cameras, true = dataset.cameras(1), Cameras.orbit(VIEWS, 3.2, 0.4, width=64)
    torch.testing.assert_close(cameras.c2w, true.c2w, atol=1e-5, rtol=0)
    torch.testing.assert_close(cameras.Ks, true.Ks, atol=1e-4, rtol=0)
    item = dataset[0]
    seen = render(Lattice.from_function(SHAPE, 48), cameras)
    error = (item.views.silhouettes - seen.silhouettes).abs()
    assert float(error.max()) <= 1.0
    assert float(error.mean()) < 0.03  # the masks have no soft edges
    assert float(item.views.images[item.views.silhouettes == 0].max()) == 0
    assert item.values is not None
    # The hull of six views holds the shape.
    solid = Lattice.from_function(SHAPE, 64).values < -0.05
    assert bool((item.values[solid] < 0).all())


def test_dvr_lists_split_the_objects(tmp_path: Path) -> None:
    folder = write_dvr(tmp_path)
    (folder / "02828884" / "train.lst").write_text("bench1\n")
    (folder / "02828884" / "test.lst").write_text("bench0\n")
    assert open_dataset(folder).splits == ("test", "train")
    (folder / "02828884" / "test.lst").write_text("bench7\n")
    with pytest.raises(InputError, match=r"test.lst: 'bench7' is not there"):
        open_dataset(folder)
    (folder / "02828884" / "test.lst").unlink()
    with pytest.raises(InputError, match=r"bench0: need the object in one of the lists"):
        open_dataset(folder)


def test_dvr_damage_is_named(tmp_path: Path) -> None:
    source = write_dvr(tmp_path / "whole", whole=False, objects=1)

    def fails(problem: str, change: object, name: str) -> None:
        folder = Path(shutil.copytree(source, tmp_path / name))
        path = folder / "02828884" / "bench0"
        assert callable(change)
        change(path)
        with pytest.raises(InputError, match=problem):
            open_dataset(folder)

    def drop(*names: str) -> object:
        return lambda path: [(path / n).unlink() for n in names]

    fails(r"0003.png: need a mask", drop("mask/0003.png"), "a")
    fails(r"cameras.npz: need 5 cameras as there are images, got 6",
          drop("image/0005.png", "mask/0005.png"), "b")  # fmt: skip
    fails(r"0002.png: need a complete image",
          lambda path: (path / "image/0002.png").write_bytes(b"\x89PNG"), "c")  # fmt: skip
    fails(r"mask: need an object in its masks, all of them are empty",
          lambda path: [iio.imwrite(p, np.zeros((64, 64), np.uint8))
                        for p in (path / "mask").iterdir()], "d")  # fmt: skip
    fails(r"0001.png: need a mask of its size",
          lambda path: iio.imwrite(path / "mask/0001.png", np.zeros((8, 8), np.uint8)),
          "e")  # fmt: skip
    fails(r"02999999: need a folder per object, the category is empty",
          lambda path: (path.parents[1] / "02999999").mkdir(), "f")  # fmt: skip

    def spoil(path: Path) -> None:
        with np.load(path / "cameras.npz") as stored:
            arrays = {key: stored[key] for key in stored.files}
        arrays["world_mat_2"][0, 0] = np.nan
        np.savez(path / "cameras.npz", **arrays)

    fails(r"cameras.npz: 'world_mat_2' needs a finite matrix", spoil, "g")


def test_whole_views_need_their_scale(tmp_path: Path) -> None:
    folder = write_dvr(tmp_path, objects=1)
    (folder / "02828884" / "bench0" / "pointcloud.npz").unlink()
    with pytest.raises(InputError, match=r"pointcloud.npz: no such file"):
        open_dataset(folder)


@pytest.mark.skipif(
    not (SHARED / "shapenet_bench").is_dir(), reason="the ShapeNet benches are not here"
)
def test_points_of_a_real_bench_fall_into_its_masks(tmp_path: Path) -> None:
    source = sorted((SHARED / "shapenet_bench" / "02828884").iterdir())[0]
    shutil.copytree(source, tmp_path / "02828884" / source.name)
    dataset = open_dataset(tmp_path, 64)
    item, cloud = dataset[0], np.load(source / "pointcloud.npz")
    points = torch.from_numpy(1.5 * cloud["points"].astype(np.float32))
    uv, _ = item.views.cameras.project(points)
    ids = uv.floor().long().clamp(0, 63)
    for v in range(dataset.views):
        hit = item.views.silhouettes[v, ids[v, :, 1], ids[v, :, 0]] > 0
        assert float(hit.float().mean()) > 0.97
    assert isinstance(dataset, Dataset)
