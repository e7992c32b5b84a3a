"""Image files of 8 bits per channel to arrays."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from sdfrender.errors import InputError
from sdfrender.files import one_line

Floats = NDArray[np.float32]

EXTENSIONS = (".png", ".jpg", ".jpeg")
# Pillow's modes that are read as they are; all others become RGB.
PLAIN = ("L", "LA", "RGB", "RGBA")


def find_pictures(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name.

    Raises:
        InputError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: need a folder of images, there is no such folder")
    found = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in EXTENSIONS]
    if not found:
        raise InputError(f"{folder}: need images ({' '.join(EXTENSIONS)}), it has none")
    return found


def read_picture(path: Path) -> tuple[Floats, Floats | None]:
    """Colour and alpha of an image file.

    Returns:
        `[H, W, C]` in [0, 1] as stored, C = 1 or 3, not multiplied by alpha; and `[H, W]` alpha in
        [0, 1], or None if the file has none.

    Raises:
        InputError: missing, or not a complete image.
    """
    if not path.is_file():
        raise InputError(f"{path}: need an image, there is no such file")
    try:
        with iio.imopen(path, "r", plugin="pillow") as file:
            mode = str(file.metadata()["mode"])
        pixels = iio.imread(path, plugin="pillow", mode=mode if mode in PLAIN else "RGB")
    except Exception as error:  # each decoder has its own kinds
        raise InputError(f"{path}: not a complete image: {one_line(error)}") from None
    channels: Floats = pixels.reshape(*pixels.shape[:2], -1).astype(np.float32)
    channels /= 255
    if channels.shape[-1] in (2, 4):
        return channels[..., :-1], channels[..., -1]
    return channels, None


def decode_srgb(encoded: Floats) -> Floats:
    """The sRGB decoding function (IEC 61966-2-1), elementwise on [0, 1]."""
    curve = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    linear: Floats = curve.astype(np.float32)
    return linear
