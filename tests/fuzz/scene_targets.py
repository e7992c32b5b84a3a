"""Files of scenes: cameras, points, maps, masks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from scene_folders import write_middlebury, write_transforms
from target import CORPUS, Target, corpus

from multiview.commands.cameras import summary
from multiview.photographs.find import MODEL, found_before
from multiview.scenes.maps.files import read_depths, read_normals
from multiview.scenes.masks.found import FoundRecord, read_box
from multiview.scenes.readers.colmap import read_colmap
from multiview.scenes.readers.llff import read_llff
from multiview.scenes.readers.middlebury import read_middlebury
from multiview.scenes.readers.mvsnet import read_mvsnet
from multiview.scenes.readers.npz import read_npz
from multiview.scenes.readers.points import read_sparse_points
from multiview.scenes.readers.strecha import read_strecha
from multiview.scenes.readers.transforms import read_transforms
from multiview.scenes.rotations import check_camera, orthonormal
from multiview.scenes.scene import Description


def _cameras(read: Callable[[Path], Description]) -> Callable[[Path], object]:
    """A scene's file of cameras, and the checks that each camera goes through."""

    def checked(path: Path) -> object:
        scene = read(path)
        for view in scene.views:
            check_camera(path, view)
        return orthonormal(scene.views)

    return checked


def _pictures(folder: Path) -> None:
    write_transforms(folder)
    for name in ("image", "images"):
        (folder / name).mkdir()
        for n in range(2):
            shutil.copy(folder / f"v_{n}.png", folder / name)


def _colmap(folder: Path) -> None:
    """The other of a model's two files is the one of the corpus."""
    _pictures(folder)
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    for file in ("cameras.txt", "images.txt", "cameras.bin", "images.bin"):
        shutil.copy(CORPUS / f"colmap_{file.replace('.', '_')}" / "plain", model / file)


def _archive(folder: Path) -> None:
    _pictures(folder)
    shutil.copy(CORPUS / "npz_cameras" / "plain", folder / "cameras.npz")


def _of_images(path: Path) -> object:
    return read_colmap(path.with_name(path.name.replace("images", "cameras")))


def _mvsnet(folder: Path) -> None:
    _pictures(folder)
    (folder / "cams").mkdir()
    for n in range(2):
        (folder / "cams" / f"v_{n}_cam.txt").write_bytes(corpus("mvsnet"))


MADE_FROM = {"files": [["photos/a.jpg", 9, 1]], "settings": {"seed": 0}}


def _found(folder: Path) -> None:
    """The model that belongs to what is told of it; only whether it is there is looked at."""
    (folder / MODEL).mkdir(parents=True)
    (folder / MODEL / "images.bin").write_bytes(b"-")


def _summary(path: Path) -> object:
    told = found_before(path.parent, MADE_FROM)
    return told and summary(told)


def _strecha(folder: Path) -> None:
    _pictures(folder)
    (folder / "v_1.png.camera").write_bytes(corpus("strecha"))
    shutil.rmtree(folder / "images")


SCENES: dict[str, Target] = {
    "transforms": Target(_cameras(read_transforms), "transforms.json", _pictures),
    "middlebury": Target(_cameras(read_middlebury), "x_par.txt", lambda f: write_middlebury(f, 2)),
    "colmap_cameras_txt": Target(_cameras(read_colmap), "sparse/0/cameras.txt", _colmap),
    "colmap_images_txt": Target(_of_images, "sparse/0/images.txt", _colmap),
    "colmap_cameras_bin": Target(_cameras(read_colmap), "sparse/0/cameras.bin", _colmap),
    "colmap_images_bin": Target(_of_images, "sparse/0/images.bin", _colmap),
    "colmap_points_txt": Target(read_sparse_points, "points3D.txt"),
    "colmap_points_bin": Target(read_sparse_points, "points3D.bin"),
    "npz_cameras": Target(_cameras(read_npz), "cameras.npz", _pictures),
    "npz_matrix": Target(_cameras(read_npz), "cameras.npz", _archive, member="world_mat_0.npy"),
    "llff": Target(_cameras(read_llff), "poses_bounds.npy", _pictures),
    "mvsnet": Target(_cameras(read_mvsnet), "cams/v_0_cam.txt", _mvsnet),
    "strecha": Target(_cameras(read_strecha), "v_0.png.camera", _strecha),
    "depths_npy": Target(lambda p: read_depths(p, 0.1), "d.npy"),
    "depths_npz": Target(lambda p: read_depths(p, 0.1), "d.npz"),
    "depths_exr": Target(lambda p: read_depths(p, 0.1), "d.exr", executions=100),
    "depths_png": Target(lambda p: read_depths(p, 0.1), "d.png"),
    "normals_png": Target(read_normals, "n.png"),
    "masks_json": Target(lambda p: FoundRecord.read(p.parent), "masks.json"),
    "found_cameras": Target(_summary, "cameras.json", _found),
    "box_json": Target(lambda p: read_box(p.parent), "box.json"),
}
