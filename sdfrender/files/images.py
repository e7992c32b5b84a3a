"""Image files to arrays: every bit depth and channel layout to float in [0, 1]."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sdfrender.errors import InputError
from sdfrender.files.extensions import IMAGES
from sdfrender.files.pngs import read_png

Image = NDArray[np.float32]

# Pillow's modes that need converting, and to what; L, LA, RGB and RGBA are read as they are.
_CONVERT = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}


def find_image(path: Path, named_by: str) -> Path:
    """`path`, or the file with an image extension where `path` leaves it out.

    Raises:
        InputError: no such file, or an extension that is not read. `named_by` says who wants it.
    """
    if path.is_file():
        if path.suffix.lower() not in IMAGES:
            need = ", ".join(IMAGES)
            raise InputError(f"{path}: need an image with extension {need}, got '{path.suffix}'")
        return path
    for extension in IMAGES:
        candidate = path.with_name(path.name + extension)
        if candidate.is_file():
            return candidate
    raise InputError(f"{path}: need the image that {named_by} names, there is no such file")


def find_images(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name.

    Raises:
        InputError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: need a folder of images, there is no such folder")
    found = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGES]
    if not found:
        raise InputError(f"{folder}: need images ({', '.join(IMAGES)}), it has none")
    return found


def image_mode(path: Path) -> tuple[str, tuple[int, int]]:
    """Mode to decode to, such as "RGB", and `(width, height)`, from the file's header alone.

    Raises:
        InputError: missing, or not an image.
    """
    try:
        with iio.imopen(path, "r", plugin="pillow") as file:
            header = file.metadata()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # each decoder has its own kinds
        raise _unreadable(path, error) from None
    mode = _CONVERT.get(header["mode"], header["mode"])
    if "transparency" in header and header["mode"] == "P":
        mode = "RGBA"
    width, height = header["shape"]
    return mode, (int(width), int(height))


def read_image(path: Path) -> tuple[Image, Image | None]:
    """Colour and alpha of an image file.

    PNG files of 16 bits per channel keep them.

    Returns:
        `[H, W, C]` in [0, 1] with C = 1 or 3, straight (not multiplied by alpha), and `[H, W]`
        alpha in [0, 1], or None if the file has none.

    Raises:
        InputError: missing, not an image, or its end is missing.
    """
    mode, (width, height) = image_mode(path)
    try:
        # Pillow cuts 16-bit colour down to 8 bits.
        deep = _png_bits(path) == 16
        pixels = read_png(path) if deep else iio.imread(path, plugin="pillow", mode=mode)
    except Exception as error:  # each decoder has its own kinds
        raise _unreadable(path, error) from None
    channels: Image = pixels.reshape(height, width, -1).astype(np.float32)
    channels /= 65535 if deep else 255
    if channels.shape[-1] in (2, 4):
        return channels[..., :-1], channels[..., -1]
    return channels, None


def srgb_to_linear(encoded: Image) -> Image:
    """The sRGB decoding function (IEC 61966-2-1), elementwise on `[...]` in [0, 1]."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def area_average(pixels: Image, width: int, height: int) -> Image:
    """Exact box averages: each output pixel is the mean of `pixels` over the area it covers.

    Args:
        pixels: `[H, W]` or `[H, W, C]`. Multiply colour by alpha first.
        width: output columns, at most W.
        height: output rows, at most H.

    Returns:
        `[height, width]` or `[height, width, C]`.
    """
    H, W = pixels.shape[:2]
    if (width, height) == (W, H):
        return pixels
    shorter = _overlaps(H, height) @ pixels.reshape(H, -1)  # (height, W * C)
    columns = np.ascontiguousarray(shorter.reshape(height, W, -1).swapaxes(0, 1))  # (W, height, C)
    small = (_overlaps(W, width) @ columns.reshape(W, -1)).reshape(width, height, -1)
    average: Image = small.swapaxes(0, 1).reshape(height, width, *pixels.shape[2:])
    return average


@lru_cache(maxsize=4)
def _overlaps(before: int, after: int) -> sparse.csr_array:
    """`[after, before]` share of each old sample in each new one; rows sum to 1."""
    edges = np.arange(after + 1) * (before / after)
    old = np.arange(before)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return sparse.csr_array((overlap.clip(0) * (after / before)).astype(np.float32))


def _png_bits(path: Path) -> int | None:
    """Bits per channel of a PNG file (byte 24, in its header), None for other files."""
    with path.open("rb") as file:
        head = file.read(25)
    return head[24] if head.startswith(b"\x89PNG") else None


def _unreadable(path: Path, error: Exception) -> InputError:
    if path.is_file() and path.stat().st_size == 0:
        return InputError(f"{path}: need an image, the file is empty (0 bytes)")
    reason = " ".join(str(error).split())
    return InputError(f"{path}: need a complete image, cannot decode it: {reason}")
