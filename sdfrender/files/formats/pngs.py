"""PNG files with 8 or 16 bits per channel.

Pillow, and all that builds on it, cuts 16-bit colour to 8 bits without a word; pypng keeps it.
"""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import png
from numpy.typing import NDArray

from sdfrender.errors import InputError

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def write_png(path: Path, pixels: Pixels) -> None:
    """Write `[H, W, C]` pixels: C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.

    Args:
        path: the file to write.
        pixels: uint8 or uint16; the file has as many bits.

    Raises:
        ValueError: another dtype or shape.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"pixels: need uint8 or uint16, got {pixels.dtype}")
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise ValueError(f"pixels: need [H, W, C] with C of 1 to 4, got {pixels.shape}")
    H, W, C = pixels.shape
    if pixels.dtype == np.uint8:  # Pillow filters the rows, which makes smaller files
        iio.imwrite(path.absolute(), pixels.squeeze(-1) if C == 1 else pixels, optimize=True)
        return
    writer = png.Writer(W, H, greyscale=C < 3, alpha=C % 2 == 0, bitdepth=16, compression=9)
    with path.open("wb") as file:
        writer.write(file, pixels.reshape(H, W * C))


def read_png(path: Path) -> Pixels:
    """Read a PNG file as `[H, W, C]`: uint16 if it has more than 8 bits, else uint8.

    Palettes become RGB or RGBA; other depths are scaled to 8 or 16 bits.

    Raises:
        FileNotFoundError: no such file.
        InputError: not a PNG file, or a damaged one.
    """
    try:
        with path.open("rb") as file:
            width, height, rows, info = png.Reader(file).asDirect()
            stored = np.stack([np.asarray(row, dtype=np.uint16) for row in rows])
    except Exception as error:  # pypng raises whatever its parsing runs into
        if isinstance(error, OSError):
            raise
        raise InputError(f"{path}: not a readable PNG file ({error})") from error
    pixels = stored.reshape(height, width, info["planes"])
    # A file may state fewer significant bits than it stores (sBIT), and pypng drops the others.
    dtype = np.uint16 if info["bitdepth"] > 8 else np.uint8
    scale = np.iinfo(dtype).max / (2 ** info["bitdepth"] - 1)
    scaled: Pixels = (pixels * scale).round().astype(dtype)
    return scaled
