"""LLFF: `poses_bounds.npy` beside `images`, the views in the order of their names.

A row of 17 numbers a view: a 3×5 matrix, row by row, whose columns are the camera's axes in the
world (down, right, towards the viewer), its place, and height, width and focal length in pixels;
then the nearest and the farthest depth, which are not looked at. The principal point is the middle.

https://github.com/Fyusion/LLFF#using-your-own-poses-without-running-colmap
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multiview.scenes.scene import Array, Description, View
from multiview.scenes.selection import natural_key
from sdfrender.errors import InputError
from sdfrender.files.images import find_images, image_mode
from sdfrender.files.tables import numbers
from sdfrender.io.cameras import read_array

NAME = "poses_bounds.npy"
SMALLER = ("images", "images_2", "images_4", "images_8")
SHAPES = 0.02  # by which the sides' ratio of a picture may differ from the stated one
SMALLEST, LONGEST = 1e-6, 1e9  # pixels
UNIT = 1e-3  # by which axes may differ from a rotation


def llff_file(folder: Path) -> Path | None:
    """The file of cameras of an LLFF scene, or None if the folder is none."""
    return folder / NAME if (folder / NAME).is_file() else None


def read_llff(file: Path) -> Description:
    """Read a `poses_bounds.npy`; pictures may be smaller than it states.

    Raises:
        InputError: a damaged or pickled file, another number of rows than of pictures, axes that
            are no rotation, or a picture of another shape.
    """
    table = read_array(file)
    if table.ndim != 2 or table.shape[1] != 17:
        raise InputError(f"{file}: need rows of 17 numbers, got {list(table.shape)}")
    folder = next((file.parent / x for x in SMALLER if (file.parent / x).is_dir()), None)
    images = find_images(folder or file.parent / SMALLER[0])
    images.sort(key=lambda image: natural_key(image.stem))
    if len(images) != len(table):
        raise InputError(
            f"{file}: need a row for each of the {len(images)} images in {images[0].parent.name}, "
            f"got {len(table)}"
        )
    views = [
        _view(f"{file}: row {n}", numbers(row, [(17,)], f"{file}: row {n}"), image)
        for n, (row, image) in enumerate(zip(table, images, strict=True))
    ]
    return Description(file, file.parent, views)


def _view(where: str, row: Array, image: Path) -> View:
    matrix = row[:15].reshape(3, 5)
    c2w = np.eye(4)
    c2w[:3, :3] = np.column_stack((matrix[:, 1], matrix[:, 0], -matrix[:, 2]))
    c2w[:3, 3] = matrix[:, 3]
    R = c2w[:3, :3]
    at_right_angles = bool((np.abs(R) < 2).all()) and np.allclose(R.T @ R, np.eye(3), atol=UNIT)
    if not (at_right_angles and np.linalg.det(R) > 0):
        raise InputError(f"{where} needs three axes at right angles: down, right, backwards")
    height, width, focal = matrix[:, 4]
    size = image_mode(image)[1]
    if not all(SMALLEST < x < LONGEST for x in (height, width, focal)):
        got = f"{height:g}, {width:g}, {focal:g}"
        raise InputError(f"{where} needs a positive height, width and focal length, got {got}")
    if abs(size[0] / size[1] * height / width - 1) > SHAPES:
        raise InputError(
            f"{image}: need the shape that {where} states, {width:g}×{height:g}, got "
            f"{size[0]}×{size[1]}"
        )
    fx, fy = focal * size[0] / width, focal * size[1] / height
    K = np.array([[fx, 0, size[0] / 2], [0, fy, size[1] / 2], [0, 0, 1]])
    return View(image.stem, image, c2w, K, size)
