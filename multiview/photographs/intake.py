"""Which pictures there are, as upright files in the scene's folder `images`.

A JPEG or PNG file that is stored upright is linked there, not written again. What a phone stores
turned (EXIF), or in a format that little else reads (HEIC, AVIF), is written as JPEG, upright. A
video gives the sharpest picture of each of equal intervals.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from multiview.photographs.extra import load_extra
from multiview.scenes.exif import positive
from multiview.scenes.selection import natural_key
from sdfrender.errors import InputError
from sdfrender.files.atomic import atomic_write
from sdfrender.files.extensions import IMAGES
from sdfrender.files.pictures import ORIENTATION, SIDEWAYS

PHOTOGRAPHS = (*IMAGES, ".hif")  # what photographs are called
HEIF = (".heic", ".heif", ".hif", ".avif")
MASKS = ("mask", "masks")  # folders whose pictures are no photographs
QUALITY = 95  # of JPEG, percent
MAKE, MODEL, EXIF = 0x010F, 0x0110, 0x8769
FOCAL_MM, FOCAL_35 = 0x920A, 0xA405
FILM_DIAGONAL = 43.2666  # millimetres, of 36 × 24
PLAUSIBLE = (0.3, 6.0)  # focal lengths over the longer side; a fisheye, a long lens


@dataclass(frozen=True)
class Picture:
    """A picture as it lies in the scene's folder `images`.

    Args:
        name: path in `images`.
        source: what it was made from.
        size: width and height, upright, pixels.
        camera: what tells its camera from others: size, make, model, focal length.
        focal: pixels, as EXIF tells; None where it does not, or implausibly.
    """

    name: str
    source: Path
    size: tuple[int, int]
    camera: tuple[Any, ...]
    focal: float | None


def take_pictures(photos: Path, images: Path, video_frames: int) -> list[Picture]:
    """Bring photographs, or pictures of a video, to the folder `images`, upright.

    Args:
        photos: folder of photographs, which may lie in folders of it, or a video.
        images: folder to fill.
        video_frames: pictures to take from a video.

    Returns:
        The pictures in natural order of their names.

    Raises:
        InputError: neither photographs nor a video, a damaged one, or two of the same name.
    """
    if photos.is_file():
        from multiview.photographs.video import take_frames

        taken = take_frames(photos, images, video_frames)
        return [
            Picture(name, photos, size, (*size, None, None, None), None) for name, size in taken
        ]
    pictures: dict[str, Picture] = {}
    for file in find_photographs(photos, images):
        picture = _take(file, file.relative_to(photos), images)
        if picture.name in pictures:
            both = f"{pictures[picture.name].source.name} and {file.name}"
            raise InputError(f"{photos}: need one photograph a name, got {both}")
        pictures[picture.name] = picture
    return list(pictures.values())


def find_photographs(folder: Path, images: Path) -> list[Path]:
    """The photographs of a folder and of the folders in it, in natural order.

    Hidden files, folders of masks, and what is in `images` itself are passed over.

    Raises:
        InputError: no such folder, or no photograph in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: need a folder of photographs or a video, there is neither")
    own = images.resolve()
    in_place = own == folder.resolve()
    files = []
    for file in folder.rglob("*"):
        parts = file.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        masks = any(part.lower() in MASKS for part in parts[:-1])
        written = own in file.resolve().parents and not in_place
        if file.suffix.lower() in PHOTOGRAPHS and not (hidden or masks or written):
            files.append(file)
    if not files:
        raise InputError(f"{folder}: need photographs ({', '.join(PHOTOGRAPHS)}), it has none")
    return sorted(files, key=lambda file: natural_key(file.relative_to(folder).as_posix()))


def _take(file: Path, relative: Path, images: Path) -> Picture:
    """One photograph, linked or written."""
    # Phones and programs also give such files the name of a JPEG.
    if file.suffix.lower() in HEIF or find_spec("pillow_heif"):
        load_extra("pillow_heif", f"{file}").register_heif_opener()
    try:
        with Pillow.open(file) as picture:
            exif = picture.getexif()
            turned = exif.get(ORIENTATION, 1) != 1
            rewrite = turned or picture.format not in ("JPEG", "PNG")
            target = images / (relative.with_suffix(".jpg") if rewrite else relative)
            target.parent.mkdir(parents=True, exist_ok=True)
            size = picture.size
            if exif.get(ORIENTATION, 1) in SIDEWAYS:
                size = (size[1], size[0])
            if rewrite and file.resolve().is_relative_to(images.resolve()):
                raise InputError(
                    f"{file}: need --out another folder, the photograph is not stored upright as "
                    "JPEG or PNG and would have to be written again"
                )
            if rewrite:
                _write_upright(picture, target)
            else:
                link_file(file, target)
    except InputError:
        raise
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise InputError(f"{file}: need a complete image, cannot decode it: {error}") from None
    lens = positive(exif.get_ifd(EXIF).get(FOCAL_MM))
    camera = (*size, exif.get(MAKE), exif.get(MODEL), lens)
    return Picture(target.relative_to(images).as_posix(), file, size, camera, _focal(exif, size))


def _write_upright(picture: Pillow.Image, target: Path) -> None:
    """As JPEG, with the EXIF that tells of camera and lens."""
    upright = ImageOps.exif_transpose(picture)
    with atomic_write(target) as partial:
        upright.convert("RGB").save(partial, "JPEG", quality=QUALITY, exif=upright.getexif())


def link_file(file: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system cannot."""
    if target.exists() and target.samefile(file):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(file.resolve(), target)
    except OSError:
        shutil.copyfile(file, target)


def _focal(exif: Pillow.Exif, size: tuple[int, int]) -> float | None:
    """Pixels, from the focal length that film of 36 × 24 mm would need for the same view."""
    equivalent = positive(exif.get_ifd(EXIF).get(FOCAL_35))
    if equivalent is None:
        return None
    focal = equivalent / FILM_DIAGONAL * float(np.hypot(*size))
    return focal if PLAUSIBLE[0] < focal / max(size) < PLAUSIBLE[1] else None
