"""Linear pictures as PNG files: one, or one of many, a row per object and a column per view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.files.atomic import atomic_write
from sdfrender.files.formats.pngs import write_png

GAP = 2  # pixels between pictures
GREY = 96  # of the gaps


def write_contact_sheet(path: Path, pictures: Sequence[NDArray[Any]]) -> None:
    """Write the pictures of objects as one PNG file, brightened for the eye by the sRGB curve.

    Args:
        path: of the file.
        pictures: `[V, H, W, C]` uint8, linear, of each object.
    """
    rows = np.stack(list(pictures))  # (N, V, H, W, C)
    framed = np.pad(encode_srgb(rows), ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)),
                    constant_values=GREY)  # fmt: skip
    N, V, H, W, C = framed.shape
    sheet = framed.transpose(0, 2, 1, 3, 4).reshape(N * H, V * W, C)
    with atomic_write(path) as partial:
        write_png(partial, sheet)


def write_picture(path: Path, picture: Tensor) -> None:
    """Write `[H, W, C]`, linear, in [0, 1], as a PNG file, encoded as sRGB."""
    with atomic_write(path) as partial:
        write_png(partial, screen_pixels(picture))


def screen_pixels(linear: Tensor) -> NDArray[np.uint8]:
    """Linear `[..., H, W, C]`, clamped to [0, 1], as sRGB uint8 `[..., H, W, C]`."""
    return encode_srgb((linear.clamp(0, 1) * 255).round().byte().numpy())


def encode_srgb(linear: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Linear uint8 `[...]` to sRGB uint8 `[...]` (IEC 61966-2-1)."""
    x = np.arange(256) / 255
    table = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    encoded: NDArray[np.uint8] = (table * 255).round().astype(np.uint8)[linear]
    return encoded
