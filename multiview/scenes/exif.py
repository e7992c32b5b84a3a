"""What EXIF tells of pictures: how they are turned, and how they were exposed.

Phones store what the sensor saw and say in EXIF how to turn it. Viewers and most libraries turn it;
COLMAP does not, and its cameras are for the picture as stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multiview.scenes.scene import View
from sdfrender.errors import InputError
from sdfrender.files.pictures import read_exif, read_header

TIME, F_NUMBER, ISO = 0x829A, 0x829D, 0x8827  # tags: seconds, of the aperture, of the sensor
DIFFER = 1.05  # times: exposures that differ by less are the same
MOST = 5.0  # times their mean; larger ones are told of something else

REMOVE = "remove the tag (exiftool -Orientation= FILE)"


def check_size(path: Path, stated: tuple[float | None, float | None], where: str) -> None:
    """Check a picture, upright, against the width and height that a camera file states.

    Raises:
        InputError: it has others; names EXIF where that explains it.
    """
    header = read_header(path)
    for name, got, pixels in zip("wh", stated, header.size, strict=True):
        if got is None or got == pixels:
            continue
        if header.size != header.stored and stated in (
            header.stored, (header.stored[0], None), (None, header.stored[1])
        ):  # fmt: skip
            raise InputError(
                f"{where}: '{name}' is {got:g}, the image has {pixels}: EXIF orientation "
                f"{header.orientation} turns it from {header.stored[0]}×{header.stored[1]} to "
                f"{header.size[0]}×{header.size[1]}. If the camera is for the picture as stored, "
                f"{REMOVE}; else state the sizes of the upright one"
            )
        turned = stated == header.size[::-1] and header.size[0] != header.size[1]
        why = " (turned by 90 degrees, by its EXIF orientation?)" if turned else ""
        raise InputError(f"{where}: '{name}' is {got:g}, the image has {pixels}{why}")


def orientation_notes(views: Sequence[View]) -> list[str]:
    """What EXIF orientation does to the pictures of a scene, if it says anything."""
    oriented = [view for view in views if read_header(view.image).orientation != 1]
    notes = []
    for upright in (True, False):
        some = [view for view in oriented if view.upright == upright]
        if some:
            names = ", ".join(view.image.name for view in some[:3])
            more = ", …" if len(some) > 3 else ""
            count = f"{len(some)} of {len(views)} pictures ({names}{more})"
            masks = [v.mask for v in some if v.mask and read_header(v.mask).orientation == 1]
            told = "; their masks have none, and are taken as upright" if masks and upright else ""
            notes.append(
                f"EXIF: {count} are turned upright as their orientation says{told}: if the cameras "
                f"are for the pictures as stored, {REMOVE}"
                if upright
                else f"EXIF: {count} have an orientation, but their cameras are for the pictures "
                "as stored, and so they are taken"
            )
    return notes


def exposures_told(views: Sequence[View]) -> tuple[float, ...] | None:
    """Exposures of N pictures, in units of their geometric mean, as EXIF tells them.

    What light makes of a pixel goes with `t S / F²`, of the exposure time t, the ISO speed S, and
    the F-number. Speed and F-number count where all pictures have them.

    Returns:
        N numbers; None where a picture has no exposure time, or all exposures are the same.
    """
    tags = np.full((len(views), 3), np.nan)
    for row, view in zip(tags, views, strict=True):
        found = read_exif(view.image)
        row[:] = [positive(found.get(tag)) or np.nan for tag in (TIME, ISO, F_NUMBER)]
        if np.isnan(row[0]):
            return None
    logs = np.log(tags) * (1, 1, -2)
    total = logs[:, ~np.isnan(logs).any(0)].sum(1)
    total -= total.mean()
    if np.ptp(total) < math.log(DIFFER) or np.abs(total).max() > math.log(MOST):
        return None
    return tuple(np.exp(total).tolist())


def positive(value: Any) -> float | None:
    """A number of EXIF, None where it is missing or nonsense, as 0/0."""
    if isinstance(value, tuple) and value:
        value = value[0]
    try:
        number = float(value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if 0 < number < math.inf else None
