"""The Middlebury multi-view data sets: `NAME_par.txt` beside the photographs.

The first line counts the views; each further one is `image k11 … k33 r11 … r33 t1 t2 t3` with the
projection `K [R | t]`, world to camera, OpenCV axes. Pixel centres are on integers there, so the
principal point moves by half a pixel.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from multiview.scenes.readers.absent import present
from multiview.scenes.scene import Description, View
from sdfrender.errors import InputError
from sdfrender.files.images import find_image, image_mode, is_image
from sdfrender.files.tables import numbers, read_text, shown

MASK_THRESHOLD = 0.14  # of full scale; the photographs have no masks


def read_middlebury(file: Path) -> Description:
    """Read a `*_par.txt`.

    Raises:
        InputError: a malformed line, under half of the images, or counts that differ: of the first
            line, of the camera lines, and of the images in the folder.
    """
    first, *lines = [
        (i, line.split()) for i, line in enumerate(read_text(file).splitlines(), 1) if line.strip()
    ]
    count = first[1][0]
    if len(first[1]) != 1 or not re.fullmatch(r"[0-9]{1,9}", count):
        raise InputError(
            f"{file}: line {first[0]} needs the number of views, got {shown(' '.join(first[1]))}"
        )
    if int(count) != len(lines) or not lines:
        raise InputError(f"{file}: need {count} camera lines as line 1 says, got {len(lines)}")
    there, notes = present(file, lines, lambda line: file.parent / line[1][0])
    views = [_view(file, line, words) for line, words in there]
    _check_images(file, views)
    return Description(file, file.parent, views, mask_threshold=MASK_THRESHOLD, notes=notes)


def _view(file: Path, line: int, words: list[str]) -> View:
    where = f"{file}: line {line}"
    if len(words) != 22:
        raise InputError(f"{where}: need an image name and 21 numbers, got {len(words)} words")
    image = find_image(file.parent / words[0], where)
    parameters = numbers(words[1:], [(21,)], f"{where} ({words[0]})")
    K, R, t = parameters[:9].reshape(3, 3), parameters[9:18].reshape(3, 3), parameters[18:]
    if K[2, 2] == 0:
        raise InputError(f"{where} ({words[0]}): need k33 = 1, got 0")
    c2w = np.eye(4)
    with np.errstate(all="ignore"):  # what is not finite is refused as a camera
        K = K / K[2, 2]
        K[:2, 2] += 0.5  # pixel centres from integers to +0.5
        c2w[:3, :3] = R.T
        c2w[:3, 3] = -R.T @ t
    return View(image.stem, image, c2w, K, image_mode(image)[1])


def _check_images(file: Path, views: list[View]) -> None:
    named = {view.image for view in views}
    # Masks may lie beside, see `multiview.scenes.masks.find`.
    beside = {p for p in file.parent.iterdir() if is_image(p) and "mask" not in p.stem.lower()}
    beside |= named
    unnamed = sorted(p.name for p in beside - named)
    if unnamed:
        raise InputError(
            f"{file}: need a camera line for each of the {len(beside)} images in its folder, got "
            f"{len(named)}; without one: {', '.join(unnamed[:3])}"
        )
