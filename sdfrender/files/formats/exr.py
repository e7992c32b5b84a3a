"""OpenEXR files to arrays, with the library of the extra `exr`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdfrender.errors import InputError
from sdfrender.files.atomic import read_bytes
from sdfrender.files.expect import readable


def read_exr(path: Path) -> dict[str, NDArray[np.float32]]:
    """The channels of an OpenEXR file by name, `[H, W]` each, in the file's order.

    Raises:
        InputError: missing or damaged, without channels, or the library is not installed.
    """
    try:
        import OpenEXR
    except ImportError:
        raise InputError(
            f'{path}: OpenEXR files need a library: pip install "sdfrender[exr]" '
            "(or pip install openexr)"
        ) from None
    read_bytes(path)  # for its errors
    with (
        readable(path, "OpenEXR file"),
        OpenEXR.File(str(path), separate_channels=True) as opened,
    ):
        found = {
            name: np.asarray(channel.pixels, dtype=np.float32)
            for name, channel in opened.channels().items()
        }
    if not found:
        raise InputError(f"{path}: not a readable OpenEXR file: it has no channels")
    return found
