"""MVSNet, BlendedMVS: a text file a view, `cams/NAME_cam.txt`, and pictures `NAME.jpg`.

    extrinsic        4×4, world to camera, OpenCV axes
    intrinsic        3×3, pixels
    depth range      two to four numbers, which are not looked at

Pictures lie in `images` or `blended_images`, or beside the folder `cams`. Pixel centres are taken
to be at +0.5, as in the COLMAP models that these files are made from.

https://github.com/YoYo000/MVSNet#file-formats
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multiview.scenes.readers.absent import present
from multiview.scenes.scene import Array, Description, View
from multiview.scenes.selection import natural_key
from sdfrender.errors import InputError
from sdfrender.files.images import find_image, image_mode
from sdfrender.files.tables import numbers, read_text, shown
from sdfrender.io.cameras import camera_to_world

ENDING = "_cam.txt"
FOLDERS = ("cams", "cameras")
PICTURES = ("images", "blended_images", "image", ".")


def mvsnet_file(folder: Path) -> Path | None:
    """The first file of a camera of an MVSNet scene, or None if the folder is none."""
    for name in FOLDERS:
        found = sorted((folder / name).glob(f"*{ENDING}"))
        if found:
            return found[0]
    return None


def read_mvsnet(file: Path) -> Description:
    """Read all `NAME_cam.txt` of a folder.

    Args:
        file: one of them.

    Raises:
        InputError: a malformed file, intrinsics of a picture of another size, or under half of the
            pictures.
    """
    files = sorted(file.parent.glob(f"*{ENDING}"), key=lambda each: natural_key(each.name))
    scene = file.resolve().parent.parent
    pictures = next(scene / name for name in PICTURES if (scene / name).is_dir())
    there, notes = present(
        file.parent, files, lambda each: pictures / each.name.removesuffix(ENDING)
    )
    return Description(file, scene, [_view(each, pictures) for each in there], notes=notes)


def _view(file: Path, pictures: Path) -> View:
    words = read_text(file).split()
    if len(words) < 27 or words[0] != "extrinsic" or words[17] != "intrinsic":
        need = "'extrinsic' and 4×4 numbers, then 'intrinsic' and 3×3"
        raise InputError(f"{file}: need {need}, got {shown(' '.join(words))}")
    name = file.name.removesuffix(ENDING)
    image = find_image(pictures / name, str(file))
    size = image_mode(image)[1]
    world = numbers(words[1:17], [(16,)], f"{file}: extrinsic").reshape(4, 4)
    K = numbers(words[18:27], [(9,)], f"{file}: intrinsic").reshape(3, 3)
    _check_size(file, K, size, image)
    c2w = camera_to_world(file, world[None, :3, :3], world[None, :3, 3])[0]
    return View(name, image, c2w, K, size)


def _check_size(file: Path, K: Array, size: tuple[int, int], image: Path) -> None:
    """Refuse intrinsics of a picture of another size: some are for a quarter of it."""
    if not (K[0, 0] > 0 and K[1, 1] > 0 and np.allclose(K[2], (0, 0, 1))):
        raise InputError(
            f"{file}: intrinsic needs focal lengths and 0 0 1, got {shown(K.tolist())}"
        )
    off = 2 * K[:2, 2] / size
    if not ((off > 0.6) & (off < 1.6)).all():
        raise InputError(
            f"{file}: need intrinsics of a picture of {size[0]}×{size[1]} as {image.name} is, "
            f"these are of one of about {2 * K[0, 2]:.0f}×{2 * K[1, 2]:.0f}"
        )
