"""Image files to arrays: every kind, bit depth and channel layout to float in [0, 1]."""

from __future__ import annotations

import logging
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sdfrender.errors import InputError
from sdfrender.files.expect import expect
from sdfrender.files.extensions import IMAGES
from sdfrender.files.find import existing, is_litter
from sdfrender.files.pictures import decode, read_header

log = logging.getLogger("sdfrender")

Image = NDArray[np.float32]

MAX_PIXELS = 250_000_000  # of a picture, unless a command is told another number
STRIP = 4_000_000  # pixels that are averaged at once


def find_image(path: Path, named_by: str) -> Path:
    """`path`, or the file with an image extension where `path` leaves it out.

    Any other spelling of the name is found as well, see `sdfrender.files.find`.

    Raises:
        InputError: no such file. `named_by` says who wants it.
    """
    candidates = [path]
    if path.name:
        candidates += [path.with_name(path.name + extension) for extension in IMAGES]
    try:
        found = [file for file in candidates if file.is_file()]
        found += [file for file in map(existing, candidates if not found else ()) if file]
        for file in found:
            if file.is_file():
                return file
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        pass
    raise InputError(f"{path}: need the image that {named_by} names, there is no such file")


def find_images(folder: Path) -> list[Path]:
    """The image files of a folder, or of the folders in it if it has none, sorted by path.

    Raises:
        InputError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: need a folder of images, there is no such folder")
    found = [p for p in sorted(folder.iterdir()) if is_image(p)]
    found = found or [p for p in sorted(folder.rglob("*")) if is_image(p)]
    if not found:
        raise InputError(f"{folder}: need images ({', '.join(IMAGES)}), it has none")
    return found


def is_image(path: Path) -> bool:
    """Whether a file is called as an image; what macOS puts beside one (`._NAME`) is not."""
    return path.suffix.lower() in IMAGES and not is_litter(path)


def image_mode(path: Path) -> tuple[str, tuple[int, int]]:
    """Mode to decode to, such as "RGB", and upright `(width, height)`, from the file's header.

    Raises:
        InputError: missing, or not an image.
    """
    header = read_header(path)
    return header.mode, header.size


def is_linear(path: Path) -> bool:
    """Whether a picture's numbers are linear in light by its kind: OpenEXR."""
    return read_header(path).kind == "exr"


def read_image(
    path: Path,
    size: tuple[int, int] | None = None,
    upright: bool = True,
    max_pixels: int | None = MAX_PIXELS,
) -> tuple[Image, Image | None]:
    """Colour and alpha of an image file; of an animation the first frame.

    PNG and TIFF files of 16 bits per channel keep them, OpenEXR is cut to [0, 1].

    Args:
        path: the file; its contents tell its kind, not its name.
        size: `(width, height)` to average down to, premultiplied, a strip at a time: large pictures
            need no more memory than their stored pixels. Default: as it is.
        upright: turned as EXIF says.
        max_pixels: larger pictures are refused; None: any.

    Returns:
        `[H, W, C]` in [0, 1] with C = 1 or 3, straight (not multiplied by alpha), and `[H, W]`
        alpha in [0, 1], or None if the file has none.

    Raises:
        InputError: missing, not an image, too large, or its end is missing.
    """
    header = read_header(path)
    check_pixels(path, header.stored, max_pixels)
    if header.frames > 1:
        log.info("%s: has %d frames, the first is read", path, header.frames)
    with expect(path, "a complete image"):
        stored = decode(path, header, upright)
    if size is None or size == stored.shape[1::-1]:
        channels = _floats(stored)
    else:
        channels = _averaged(stored, *size)
    if channels.shape[-1] in (2, 4):
        return channels[..., :-1], channels[..., -1]
    return channels, None


def check_pixels(path: Path, size: tuple[int, int], max_pixels: int | None) -> None:
    """Refuse a picture that is too large to be one.

    Raises:
        InputError: it is.
    """
    if max_pixels is not None and math.prod(size) > max_pixels:
        raise InputError(
            f"{path}: need at most {max_pixels:,} pixels, got {size[0]}×{size[1]}: --max-pixels "
            "raises the limit where a command has it; else make the picture smaller"
        )


def _floats(stored: NDArray[np.generic]) -> Image:
    """`[H, W, C]` in [0, 1]."""
    channels: Image = stored.astype(np.float32)
    if stored.dtype.kind == "u":
        channels /= 255 if stored.dtype == np.uint8 else 65535
    return channels


def _averaged(stored: NDArray[np.generic], width: int, height: int) -> Image:
    """`area_average` of stored pixels `[H, W, C]`, premultiplied, in strips; straight again."""
    H, W, C = stored.shape
    rows = max(1, STRIP // W)
    total: Image = np.zeros((height, width * C), np.float32)
    overlaps = _overlaps(H, height).tocsc()
    for top in range(0, H, rows):
        strip = _floats(stored[top : top + rows])
        if C in (2, 4):
            strip[..., :-1] *= strip[..., -1:]
        narrow = area_average(strip, width, len(strip)).reshape(len(strip), -1)
        total += overlaps[:, top : top + rows] @ narrow
    channels = total.reshape(height, width, C)
    if C in (2, 4):
        channels[..., :-1] /= np.maximum(channels[..., -1:], 1e-6)
    cut: Image = channels.clip(0, 1)
    return cut


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
