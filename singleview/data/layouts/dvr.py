"""The dataset layout of Occupancy Networks and DVR (Mescheder et al. 2019, Niemeyer et al. 2020).

    DIR/CLASS/OBJECT/img_choy2016/   001.jpg …, cameras.npz: the whole object on white, no masks
    DIR/CLASS/OBJECT/image/ mask/    0001.png …, with cameras.npz beside: close views and masks
    DIR/CLASS/OBJECT/pointcloud.npz  points of the surface in a cube of side 1, and their scale
    DIR/CLASS/train.lst …            the names of the objects of a split, one a line

The pictures of `img_choy2016` are taken where they are, those of `image` otherwise. Without lists
the split is that of the protocol (`singleview.data.meshes.protocol_split`). The canonical frame is
the cube of the point cloud, in which the longest side is 1, times 1.5.

The layout has no mesh, and the normals of its point clouds have no consistent side. What stands in
for the true distances is the visual hull of the masks, those in `mask` where there are any: on 20
ShapeNet benches it keeps within half a cell of 99% of the points that are not inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from sdfrender.errors import InputError
from sdfrender.files.arrays import need_numbers
from sdfrender.files.expect import expect
from sdfrender.files.images import find_images, read_image, srgb_to_linear
from sdfrender.files.tables import read_text
from sdfrender.geometry.grid import UNIT_BOX
from sdfrender.io.cameras import (
    Doubles,
    camera_matrices,
    camera_to_world,
    ndc_to_pixels,
    read_arrays,
    with_translation,
)
from sdfrender.view.cameras import Cameras
from singleview.data.dataset import Dataset
from singleview.data.hull import visual_hull
from singleview.data.layouts.classes import class_name
from singleview.data.meshes import protocol_split
from singleview.data.objects import LONGEST_SIDE
from singleview.settings.choices import SPLITS, Split

Floats = NDArray[np.float32]

WHOLE = "img_choy2016"
RESOLUTION = 64  # samples along each side of the lattice that is made
SLACK = 1.0  # pixels; a quarter of a cell of the lattice
# Darker than this in some channel is object, not white paper; JPEG leaves a fringe above it.
WHITE = 245 / 255


@dataclass(frozen=True, eq=False)
class _Object:
    """One object's arrays: pictures `[V, H, W, 3]` and masks `[V, H, W]` uint8, cameras, values."""

    images: NDArray[np.uint8]
    silhouettes: NDArray[np.uint8]
    c2w: Doubles
    Ks: Doubles
    values: Tensor


def has_dvr(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return any(folder.glob("*/*/cameras.npz")) or any(folder.glob(f"*/*/{WHOLE}/cameras.npz"))


def read_dvr(folder: Path) -> Dataset:
    """Read all classes of a folder.

    Raises:
        InputError: an empty class, an object without masks or cameras, cameras that disagree with
            the number of images, a damaged file, or objects that differ in what they have.
    """
    found = find_objects(folder)
    splits = read_splits(folder, found)
    paths = tqdm(found.values(), desc="dataset", unit="object", disable=len(found) < 5)
    objects = [_read_object(path) for path in paths]
    first = objects[0]
    for path, item in zip(found.values(), objects, strict=True):
        if item.images.shape != first.images.shape:
            need, got = list(first.images.shape), list(item.images.shape)
            raise InputError(f"{path}: need images {need} as the first object has, got {got}")
    return Dataset(
        tuple(found),
        tuple(splits[name] for name in found),
        torch.from_numpy(np.stack([item.images for item in objects])),
        torch.from_numpy(np.stack([item.silhouettes for item in objects])),
        torch.from_numpy(np.stack([item.c2w for item in objects])).float(),
        torch.from_numpy(np.stack([item.Ks for item in objects])).float(),
        values=torch.stack([item.values for item in objects]),
    )


def find_objects(folder: Path) -> dict[str, Path]:
    """The folder of each object, by its name `CATEGORY/OBJECT`."""
    found: dict[str, Path] = {}
    for group in sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."):
        members = sorted(p for p in group.iterdir() if p.is_dir())
        if not members:
            raise InputError(f"{group}: need a folder per object, the category is empty")
        found.update({f"{class_name(group.name)}/{p.name}": p for p in members})
    return found


def read_splits(folder: Path, found: dict[str, Path]) -> dict[str, Split]:
    """From the lists of each class, or the protocol's where a class has none."""
    splits = protocol_split(list(found))
    for group in {path.parent for path in found.values()}:
        lists: dict[Split, Path] = {split: group / f"{split}.lst" for split in SPLITS}
        listed = {split: path for split, path in lists.items() if path.is_file()}
        if not listed:
            continue
        category = class_name(group.name)
        stated: dict[str, Split] = {}
        for split, path in listed.items():
            for word in read_text(path).split():
                if f"{category}/{word}" not in found:
                    raise InputError(f"{path}: {word!r} is not there")
                stated[f"{category}/{word}"] = split
        for name, path in found.items():
            if path.parent == group and name not in stated:
                raise InputError(f"{path}: need the object in one of the lists of {group}")
        splits.update(stated)
    return splits


def _read_object(path: Path) -> _Object:
    """Pictures, masks, cameras and distances of one object."""
    with expect(path, "pictures of an object and its cameras"), np.errstate(all="ignore"):
        return _seen(path)


def _seen(path: Path) -> _Object:
    """The same; cameras may be none."""
    if not (path / WHOLE).is_dir():
        images, silhouettes, c2w, Ks = _close_views(path)
        return _Object(images, silhouettes, c2w, Ks, _hull(silhouettes, c2w, Ks, whole=False))
    images, silhouettes = _read_pictures(path / WHOLE, None)
    c2w, Ks = _pixel_cameras(path, len(images))
    if (path / "mask").is_dir():
        values = _hull(*_close_views(path)[1:], whole=False)
    else:
        values = _hull(silhouettes, c2w, Ks, whole=True)
    return _Object(images, silhouettes, c2w, Ks, values)


def _close_views(
    path: Path,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Doubles, Doubles]:
    """Pictures, masks and cameras of `image` and `mask`."""
    images, silhouettes = _read_pictures(path / "image", path / "mask")
    c2w, Ks = _ndc_cameras(path / "cameras.npz", images)
    return images, silhouettes, c2w, Ks


def _hull(silhouettes: NDArray[np.uint8], c2w: Doubles, Ks: Doubles, whole: bool) -> Tensor:
    """`[R, R, R]` float16 signed distances to the hull of the masks over the box."""
    _, height, width = silhouettes.shape
    cameras = Cameras(torch.from_numpy(c2w).float(), torch.from_numpy(Ks).float(), width, height)
    coverage = torch.from_numpy(silhouettes).float() / 255
    box = torch.tensor(UNIT_BOX)
    hull = visual_hull(coverage, cameras, box, RESOLUTION, whole=whole, slack=SLACK)
    return hull.values.half()


def _read_pictures(folder: Path, masks: Path | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`[V, H, W, 3]` linear premultiplied colour and `[V, H, W]` coverage, uint8."""
    images, silhouettes = [], []
    for file in find_images(folder):
        color, _ = read_image(file)
        if masks is None:
            mask: Floats = (color.min(-1) < WHITE).astype(np.float32)
        else:
            if not (masks / f"{file.stem}.png").is_file():
                raise InputError(f"{file}: need a mask, there is no {masks / f'{file.stem}.png'}")
            mask = read_image(masks / f"{file.stem}.png")[0].mean(-1)
        if mask.shape != color.shape[:2]:
            raise InputError(f"{file}: need a mask of its size, got {list(mask.shape)}")
        if masks is None and not mask.any():
            raise InputError(f"{file}: need an object on white, the picture is empty")
        images.append(np.broadcast_to(srgb_to_linear(color) * mask[..., None], (*mask.shape, 3)))
        silhouettes.append(mask)
        if images[-1].shape != images[0].shape:
            raise InputError(f"{file}: need pictures of one size, got {list(color.shape[:2])}")
    if not any(mask.any() for mask in silhouettes):
        raise InputError(f"{masks}: need an object in its masks, all of them are empty")
    return _to_bytes(images), _to_bytes(silhouettes)


def _to_bytes(pictures: list[Floats]) -> NDArray[np.uint8]:
    stacked: NDArray[np.uint8] = (np.stack(pictures) * 255).round().astype(np.uint8)
    return stacked


# ---------------------------------------------------------------------- cameras


def _pixel_cameras(path: Path, count: int) -> tuple[Doubles, Doubles]:
    """Cameras that state pixels: X = scale · point + loc, x = K (R X + t)."""
    file = path / WHOLE / "cameras.npz"
    matrices = camera_matrices(file, ("world_mat", "camera_mat"), count)
    cloud = read_arrays(path / "pointcloud.npz", ("loc", "scale"))
    where = path / "pointcloud.npz"
    loc = need_numbers(where, "loc", cloud["loc"], (3,))
    scale = float(need_numbers(where, "scale", cloud["scale"], (), (1,)).item())
    if not scale > 0:
        raise InputError(f"{where}: 'scale' needs a number above 0, got {scale}")
    world = np.stack(with_translation(file, matrices["world_mat"]))
    R, t = world[:, :, :3], world[:, :, 3] + world[:, :, :3] @ loc
    Ks = np.stack([matrix[:3, :3] for matrix in matrices["camera_mat"]])
    return camera_to_world(file, R, t * (LONGEST_SIDE / scale)), Ks


def _ndc_cameras(file: Path, images: NDArray[np.uint8]) -> tuple[Doubles, Doubles]:
    """Cameras that state the square [-1, 1]², y down, in the frame of the point cloud."""
    count, height, width = images.shape[:3]
    matrices = camera_matrices(file, ("world_mat", "camera_mat"), count)
    world = np.stack(with_translation(file, matrices["world_mat"]))
    half = ndc_to_pixels(width, height)
    Ks = np.stack([half @ matrix[:3, :3] for matrix in matrices["camera_mat"]])
    return camera_to_world(file, world[:, :3, :3], world[:, :3, 3] * LONGEST_SIDE), Ks
