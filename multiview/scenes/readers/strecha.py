"""Strecha's benchmark: a text file a view, `NAME.jpg.camera`, beside the picture or in a folder.

    K                3×3, pixels
    0 0 0            distortion, which is none
    R                3×3, camera to world, OpenCV axes
    C                3, the camera's place
    width height

It projects by K Rᵀ [I | −C]. Pixel centres are taken to be at +0.5; the benchmark does not say.

Strecha et al., "On Benchmarking Camera Calibration and Multi-View Stereo" (CVPR 2008).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multiview.scenes.readers.absent import present
from multiview.scenes.scene import Description, View
from multiview.scenes.selection import natural_key
from sdfrender.errors import InputError
from sdfrender.files.images import find_image, image_mode
from sdfrender.files.tables import numbers, read_text
from sdfrender.io.cameras import camera_to_world

ENDING = ".camera"
FOLDERS = (".", "images", "cameras", "gt_dense_cameras")


def strecha_file(folder: Path) -> Path | None:
    """The first file of a camera of a scene of this kind, or None if the folder is none."""
    for name in FOLDERS:
        found = sorted((folder / name).glob(f"*{ENDING}"))
        if found:
            return found[0]
    return None


def read_strecha(file: Path) -> Description:
    """Read all `NAME.camera` of a folder.

    Args:
        file: one of them.

    Raises:
        InputError: a malformed file, a picture of another size, or under half of the pictures.
    """
    folder = file.resolve().parent
    files = sorted(folder.glob(f"*{ENDING}"), key=lambda each: natural_key(each.name))
    scene = folder.parent if folder.name in FOLDERS else folder
    pictures = scene / "images" if (scene / "images").is_dir() else folder
    there, notes = present(folder, files, lambda each: pictures / each.name.removesuffix(ENDING))
    return Description(file, scene, [_view(each, pictures) for each in there], notes=notes)


def _view(file: Path, pictures: Path) -> View:
    words = read_text(file).split()
    table = numbers(words, [(26,)], f"{file}: K, 0 0 0, R, C, width and height")
    K, R, place = table[:9].reshape(3, 3), table[12:21].reshape(3, 3), table[21:24]
    if table[9:12].any():
        raise InputError(f"{file}: need no distortion, 0 0 0, got {table[9:12].tolist()}")
    if not (K[0, 0] > 0 and K[1, 1] > 0 and np.allclose(K[2], (0, 0, 1))):
        raise InputError(f"{file}: need focal lengths and 0 0 1 in K, got {K.tolist()}")
    image = find_image(pictures / file.name.removesuffix(ENDING), str(file))
    size = image_mode(image)[1]
    if size != (int(table[24]), int(table[25])):
        need = f"{table[24]:g}×{table[25]:g}"
        raise InputError(f"{image}: need {need} pixels as {file} states, got {size[0]}×{size[1]}")
    c2w = camera_to_world(file, R.T[None], (-R.T @ place)[None])[0]
    return View(image.stem, image, c2w, K, size)
