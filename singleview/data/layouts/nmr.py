"""The dataset layout of Neural Mesh Renderer (Kato et al. 2018) and SoftRas (Liu et al. 2019).

    DIR/02691156_train_images.npz    [N, 24, 4, 64, 64] uint8 RGBA over black
    DIR/02691156_train_voxels.npz    [N, 32, 32, 32] occupancy
    and the same for val and test, and for other ShapeNet classes

Cameras, as in the published training code: view k at azimuth −15° k, elevation 30°, 2.732 from the
middle of a box of side 1, field of view 30° (half angle 15°). That renderer's camera axes are
left-handed. With z mirrored they are ours, the voxels' axes are (y, x, z), and sample 0 and 31 lie
on the faces of the box. The box is scaled by 2 here. Untested on the published files themselves.

The images are kept as they are stored; their light is not known.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdfrender.errors import InputError
from sdfrender.io.cameras import read_arrays
from sdfrender.view.cameras import Cameras
from singleview.data.dataset import Dataset
from singleview.data.layouts.classes import class_name
from singleview.settings.choices import SPLITS, Split

# The cameras of the Neural Mesh Renderer's pictures (Kato et al., CVPR 2018), whose objects are
# in a box of side 1; here it has side 2.
VIEWS = 24
ELEVATION = math.radians(30.0)
DISTANCE = 2 * 2.732  # canonical units, of the eye from the middle
FOV = math.radians(30.0)


def has_nmr(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return any(folder.glob("*_images.npz"))


def read_nmr(folder: Path) -> Dataset:
    """Read all classes and splits of a folder.

    Raises:
        InputError: a file that is missing, damaged, of another shape, or that has NaN; an object
            without a mask; images without voxels.
    """
    names: list[str] = []
    splits: list[Split] = []
    images: list[NDArray[np.uint8]] = []
    voxels: list[NDArray[np.bool_]] = []
    for file in sorted(folder.glob("*_images.npz")):
        number, split = _class_and_split(file)
        pixels = _read_images(file)
        inside = _read_voxels(file.with_name(f"{number}_{split}_voxels.npz"), len(pixels))
        names += [f"{class_name(number)}/{split}_{i:05d}" for i in range(len(pixels))]
        splits += [split] * len(pixels)
        images.append(pixels)
        voxels.append(inside)
    sizes = {(x.shape[1:], v.shape[1:]) for x, v in zip(images, voxels, strict=True)}
    if len(sizes) > 1:
        raise InputError(f"{folder}: need one shape of images and voxels, got {sorted(sizes)}")
    rgba = torch.from_numpy(np.concatenate(images))  # (N, V, H, W, 4)
    cameras = nmr_cameras(rgba.shape[3], rgba.shape[2])
    return Dataset(
        tuple(names),
        tuple(splits),
        rgba[..., :3].contiguous(),
        rgba[..., 3].contiguous(),
        cameras.c2w[None],
        cameras.Ks[None],
        occupancy=torch.from_numpy(np.concatenate(voxels)),
    )


def nmr_cameras(width: int, height: int) -> Cameras:
    """The 24 cameras of the layout, in the box [-1, 1]³."""
    ring = Cameras.orbit(VIEWS, DISTANCE, ELEVATION, width=width, height=height, fov=FOV)
    return ring[[-view % VIEWS for view in range(VIEWS)]]


def _class_and_split(file: Path) -> tuple[str, Split]:
    parts = file.name.removesuffix("_images.npz").rsplit("_", 1)
    for split in SPLITS:
        if len(parts) == 2 and parts[1] == split:
            return parts[0], split
    raise InputError(f"{file}: need a name like 02691156_train_images.npz")


def _read_images(file: Path) -> NDArray[np.uint8]:
    """`[N, V, H, W, 4]` RGBA."""
    stored = _only_array(file)
    if stored.ndim != 5 or stored.shape[1:3] != (VIEWS, 4):
        need = f"[N, {VIEWS}, 4, H, W]"
        raise InputError(f"{file}: need RGBA images {need}, got {list(stored.shape)}")
    if len(stored) == 0:
        raise InputError(f"{file}: need at least one object, the category is empty")
    if stored.dtype != np.uint8:
        if not np.isfinite(stored).all():
            i, v = np.argwhere(~np.isfinite(stored))[0][:2]
            raise InputError(f"{file}: need finite pixels, view {v} of object {i} has NaN")
        if stored.min() < 0 or stored.max() > 1:
            got = f"{stored.dtype} from {stored.min()} to {stored.max()}"
            raise InputError(f"{file}: need uint8, or numbers from 0 to 1, got {got}")
        stored = (stored * 255).round().astype(np.uint8)
    empty = ~stored[:, :, 3].any((1, 2, 3))
    if empty.any():
        raise InputError(f"{file}: object {int(empty.argmax())} has no mask, its alpha is 0")
    return np.ascontiguousarray(stored.transpose(0, 1, 3, 4, 2))


def _read_voxels(file: Path, count: int) -> NDArray[np.bool_]:
    """`[N, n, n, n]`, our axes."""
    stored = _only_array(file)
    if stored.ndim != 4 or len({*stored.shape[1:]}) != 1 or stored.shape[1] < 2:
        raise InputError(f"{file}: need voxels [N, n, n, n], got {list(stored.shape)}")
    if len(stored) != count:
        raise InputError(f"{file}: need voxels of {count} objects as there are images, "
                         f"got {len(stored)}")  # fmt: skip
    return np.ascontiguousarray(stored.transpose(0, 2, 1, 3) > 0)


def _only_array(file: Path) -> NDArray[Any]:
    arrays = read_arrays(file)
    if len(arrays) != 1:
        raise InputError(f"{file}: need one array, got {len(arrays)}")
    return next(iter(arrays.values()))
