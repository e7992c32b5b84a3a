"""OpenEXR files to arrays, with the library of the extra `exr`."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdfrender.errors import InputError
from sdfrender.files.atomic import read_bytes
from sdfrender.files.expect import readable

MOST_NUMBERS = 2**30  # of all channels: 4 GiB


def exr_header(path: Path) -> tuple[tuple[str, ...], tuple[int, int]]:
    """The names of an OpenEXR file's channels, and width and height; no pixel is unpacked.

    Raises:
        InputError: missing or damaged, or the library is not installed.
    """
    library = _library(path)
    read_bytes(path)  # for its errors
    with readable(path, "OpenEXR file"), library.File(str(path), header_only=True) as opened:
        header = opened.header()
        low, high = (corner.tolist() for corner in header["dataWindow"])
        names = tuple(channel.name for channel in header["channels"])
    return names, (high[0] - low[0] + 1, high[1] - low[1] + 1)


def read_exr(path: Path) -> dict[str, NDArray[np.float32]]:
    """The channels of an OpenEXR file by name, `[H, W]` each, in the file's order.

    Raises:
        InputError: missing or damaged, without channels, of more than 2^30 numbers, or the library
            is not installed.
    """
    names, (width, height) = exr_header(path)
    if len(names) * width * height > MOST_NUMBERS:
        raise InputError(
            f"{path}: need at most {MOST_NUMBERS:,} numbers, got {width}×{height} of "
            f"{len(names)} channels"
        )
    with (
        readable(path, "OpenEXR file"),
        redirect_stdout(io.StringIO()),  # where the library says what is wrong with pixels
        _library(path).File(str(path), separate_channels=True) as opened,
    ):
        if not opened.parts:
            raise ValueError("its pixels are damaged or cut off")
        found = {
            name: np.asarray(channel.pixels, dtype=np.float32)
            for name, channel in opened.channels().items()
        }
    if not found:
        raise InputError(f"{path}: not a readable OpenEXR file: it has no channels")
    return found


def _library(path: Path) -> Any:
    try:
        import OpenEXR
    except ImportError:
        raise InputError(
            f'{path}: OpenEXR files need a library: pip install "sdfrender[exr]" '
            "(or pip install openexr)"
        ) from None
    return OpenEXR
