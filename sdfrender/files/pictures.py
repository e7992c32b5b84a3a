"""Picture files by what is in them, whatever they are called: headers and stored pixels.

Pillow reads most kinds. PNG and TIFF of 16 bits go to pypng and tifffile, which keep them; OpenEXR
and HEIC need the libraries of the extras `exr` and `photos`.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from sdfrender.errors import InputError
from sdfrender.files.expect import expect
from sdfrender.files.formats.exr import exr_header, read_exr
from sdfrender.files.formats.pngs import read_png

# What Pillow's modes are read as; others are as they are.
_READ_AS = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB",
            "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB"}  # fmt: skip
_WITH_TRANSPARENCY = {"L": "LA", "RGB": "RGBA"}
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")  # more than 8 bits a channel, grey
KNOWN = ("L", "LA", "RGB", "RGBA", *DEEP)
TIFF_COLORS = (0, 1, 2)  # white is 0, black is 0, RGB: the others are inks, Lab, raw and the like
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
ORIENTATION = 0x0112  # the EXIF tag
EXPOSURE = 0x8769  # of EXIF: where what a camera was set to is
HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
PNG = b"\x89PNG"
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by kind of colour
DEFLATED = 1032  # bytes that one byte of a zlib stream can stand for, at most
NOT_PICTURES = {
    b"\x00\x05\x16\x07": "it is the AppleDouble file that macOS puts beside another: delete it",
    b"\x00\x05\x16\x00": "it is an AppleSingle file, not a picture",
    b"version https://git-lfs": "it is a Git LFS pointer: fetch the file itself (git lfs pull)",
    b"<!DOCTYPE html": "it is a web page, not a picture",
    b"<html": "it is a web page, not a picture",
    b"%PDF": "it is a PDF, not a picture",
}


@dataclass(frozen=True)
class Header:
    """What a picture file says before its pixels.

    Args:
        kind: "exr", "tiff", or "pillow" for whatever that reads.
        mode: what pixels are read as: L, LA, RGB, RGBA, or one of `DEEP`.
        stored: width and height of the pixels as they are stored.
        orientation: of EXIF, 1 to 8; 1 is upright.
        frames: of an animation; the first is read.
        deep: whether it is a PNG of 16 bits a channel.
    """

    kind: str
    mode: str
    stored: tuple[int, int]
    orientation: int = 1
    frames: int = 1
    deep: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return self.stored[::-1] if self.orientation in SIDEWAYS else self.stored


def read_header(path: Path) -> Header:
    """The header of a picture file.

    Raises:
        InputError: missing, empty, or no picture; or its library is not installed.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    head = _head(path)
    if not head:
        raise InputError(f"{path}: need an image, the file is empty (0 bytes)")
    if head.startswith(b"\x76\x2f\x31\x01"):
        channels, size = exr_header(path)
        names, alpha = _exr_names(path, channels)
        C = len(names) + alpha
        return Header("exr", {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[C], size)
    for start, what in NOT_PICTURES.items():
        if head.startswith(start):
            raise InputError(f"{path}: need an image, {what}")
    if head.startswith(PNG):
        _need_held(path, head)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        found = _tiff_header(path)
        if found is not None:
            return found
    with _opened(path) as image:
        mode = _READ_AS.get(image.mode, image.mode)
        if "transparency" in image.info or image.has_transparency_data:
            mode = _WITH_TRANSPARENCY.get(mode, mode)
        if mode not in KNOWN:
            raise InputError(f"{path}: need grey or RGB pixels, got {mode}: convert it to RGB")
        width, height = image.size
        deep = head.startswith(PNG) and len(head) > 24 and head[24] == 16
        frames = int(getattr(image, "n_frames", 1))
        return Header("pillow", mode, (width, height), _orientation(image), frames, deep)


def decode(path: Path, header: Header, upright: bool) -> NDArray[Any]:
    """`[H, W, C]` uint8, uint16 or float32 (0 to 1) pixels, C = 1 to 4, of the first frame.

    Args:
        path: the file.
        header: of it.
        upright: as EXIF says that it is to be seen, not as it is stored.

    Raises:
        InputError: damaged, or numbers that are not fractions of what is white.
    """
    if header.kind == "exr":
        return exr_channels(path)
    if header.kind == "tiff":
        tiff = _tiff_pixels(path)
        return turned(tiff, header.orientation) if upright else tiff
    if header.deep:
        pixels: NDArray[Any] = read_png(path)
        return turned(pixels, header.orientation) if upright else pixels
    with _opened(path) as image:
        wanted = image if header.mode == image.mode else image.convert(header.mode)
        pixels = np.asarray(wanted)
    H, W = pixels.shape[:2]
    pixels = pixels.reshape(H, W, -1)
    if header.mode == "F":
        pixels = _cut(path, pixels)
    elif header.mode in DEEP:
        pixels = pixels.clip(0, 65535).astype(np.uint16)
    return turned(pixels, header.orientation) if upright else pixels


def _cut(path: Path, numbers: NDArray[Any]) -> NDArray[np.float32]:
    """Numbers of a picture, cut to [0, 1], where highlights may be above.

    Raises:
        InputError: most of what is not black is above, so that 1 is not white.
    """
    known = np.nan_to_num(numbers.astype(np.float32), posinf=np.inf)
    lit = known[known > 0]
    if lit.size and float(np.median(lit)) > 1:
        raise InputError(
            f"{path}: need numbers from 0 to 1, most are above, up to {lit.max():.4g}: divide them "
            "by the number of white"
        )
    cut: NDArray[np.float32] = known.clip(0, 1)
    return cut


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """`[H, W, C]` pixels as an EXIF orientation says that they are to be seen."""
    if orientation in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    across = orientation in (2, 3, 6, 7)
    down = orientation in (3, 4, 7, 8)
    return pixels[:: -1 if down else 1, :: -1 if across else 1]


def _need_held(path: Path, head: bytes) -> None:
    """Refuse a PNG that is too small for what it says it has, before that is made room.

    Pillow asks for as many bytes as a chunk of pixels says that it holds.

    Raises:
        InputError: it is too small for its pixels, or for one of these chunks.
    """
    width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
    bits = head[24] * PNG_CHANNELS.get(head[25], 1) if len(head) > 25 else 1
    rows, size = height * (width * bits // 8), path.stat().st_size
    if rows > DEFLATED * size:
        raise InputError(
            f"{path}: need a complete image, its {size:,} bytes cannot hold {width}×{height} pixels"
        )
    with expect(path, "a complete image"), path.open("rb", buffering=0) as file:
        file.seek(8)
        while (start := file.read(8))[4:] not in (b"", b"IEND"):
            length = int.from_bytes(start[:4], "big")
            if start[4:] in (b"IDAT", b"fdAT") and length > size:
                raise InputError(
                    f"{path}: need a complete image, its {size:,} bytes cannot hold a chunk of "
                    f"{length:,}"
                )
            file.seek(length + 4, os.SEEK_CUR)


def exr_channels(path: Path) -> NDArray[np.float32]:
    """`[H, W, C]` of an OpenEXR picture, straight colour, cut to [0, 1]; C = 1 to 4."""
    channels = read_exr(path)
    short = {_short(name): x for name, x in channels.items()}
    names, has_alpha = _exr_names(path, channels)
    color = np.nan_to_num(np.stack([short[name] for name in names], -1), posinf=1, neginf=0)
    cut = _cut(path, color)
    if not has_alpha:
        return cut
    alpha = np.nan_to_num(short["A"])[..., None].clip(0, 1)
    straight = np.where(alpha > 0, color / np.maximum(alpha, 1e-6), 0).clip(0, 1)
    return np.concatenate((straight, alpha), -1).astype(np.float32)


def _exr_names(path: Path, channels: Iterable[str]) -> tuple[str, bool]:
    """The channels that are a picture's colour, without their layer, and whether it has alpha."""
    short = {_short(name) for name in channels}
    names = "RGB" if set("RGB") <= short else "Y" if "Y" in short else ""
    if not names:
        raise InputError(f"{path}: need channels R, G, B or Y, it has {', '.join(channels)}")
    return names, "A" in short


def _short(channel: str) -> str:
    return channel.rpartition(".")[2].upper()


# ---------------------------------------------------------------------- Pillow


@contextmanager
def _opened(path: Path) -> Iterator[Pillow.Image]:
    """A picture opened by Pillow, of any size: who decodes it looks at that."""
    if _brand(path) in HEIC:
        try:
            import pillow_heif
        except ImportError:
            raise InputError(
                f'{path}: HEIC pictures need a library: pip install "sdfrender[photos]", or '
                "convert it to JPEG"
            ) from None
        pillow_heif.register_heif_opener()
    before = Pillow.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of EXIF that is damaged, and the like
        try:
            Pillow.MAX_IMAGE_PIXELS = None
            with expect(path, "a complete image"):
                try:
                    image = Pillow.open(path)
                except UnidentifiedImageError:
                    kind = "HEIC, and damaged" if _brand(path) in HEIC else "of no known kind"
                    raise InputError(
                        f"{path}: need a complete image, cannot decode it: its contents are {kind}"
                    ) from None
                with image:
                    yield image
        finally:
            Pillow.MAX_IMAGE_PIXELS = before


def _orientation(image: Pillow.Image) -> int:
    if image.format in ("TIFF", "HEIF"):  # these are turned as they are opened
        return 1
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF says nothing
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def read_exif(path: Path) -> dict[int, Any]:
    """The tags of a photograph's EXIF, of its exposure too, by number; none if it is damaged.

    Raises:
        InputError: no picture.
    """
    if read_header(path).kind != "pillow":
        return {}
    with _opened(path) as image:
        try:
            exif = image.getexif()
            return {**exif, **exif.get_ifd(EXPOSURE)}
        except Exception:  # damaged EXIF says nothing
            return {}


def _head(path: Path) -> bytes:
    with expect(path, "a readable file"), path.open("rb") as file:
        return file.read(64)


def _brand(path: Path) -> bytes:
    head = _head(path)
    return head[8:12] if head[4:8] == b"ftyp" else b""


# ---------------------------------------------------------------------- TIFF


def _tiff_header(path: Path) -> Header | None:
    """Of a TIFF with more than 8 bits a channel; Pillow reads the others."""
    tifffile = _tifffile()

    with expect(path, "a complete image"), tifffile.TiffFile(path) as file:
        page = file.pages.first
        if page.dtype is None or page.dtype.itemsize == 1:
            return None
        if page.photometric not in TIFF_COLORS:
            kind = getattr(page.photometric, "name", page.photometric)
            raise ValueError(f"TIFF of {kind}; grey or RGB, convert it")
        if page.dtype not in (np.uint16, np.float16, np.float32, np.float64):
            raise ValueError(f"TIFF of {page.dtype}; 8 or 16 bits and floats are read")
        channels = page.samplesperpixel
        if channels > 4 or len(page.shape) > 3:
            raise ValueError(f"TIFF of shape {page.shape}; grey or RGB, with or without alpha")
        mode = {1: "I;16", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
        orientation = page.tags.valueof(ORIENTATION, 1)
        size = int(page.imagewidth), int(page.imagelength)
        return Header("tiff", mode, size, orientation if orientation in range(1, 9) else 1)


def _tifffile() -> Any:
    """The library, without what it logs of each damaged tag: what is wrong is told once."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return tifffile


def _tiff_pixels(path: Path) -> NDArray[Any]:
    tifffile = _tifffile()

    with expect(path, "a complete image"), tifffile.TiffFile(path) as file:
        page = file.pages.first
        pixels: NDArray[Any] = page.asarray()
        if pixels.ndim == 3 and page.planarconfig == 2:
            pixels = np.moveaxis(pixels, 0, -1)
        pixels = pixels.reshape(page.imagelength, page.imagewidth, -1)
        if pixels.dtype.kind == "f":
            pixels = _cut(path, pixels)
        if page.photometric == 0:  # white is 0
            pixels = (65535 if pixels.dtype == np.uint16 else 1) - pixels
        if page.extrasamples and page.extrasamples[0] == 1:  # multiplied by alpha
            full = 65535 if pixels.dtype == np.uint16 else 1
            scaled = pixels.astype(np.float32) / full
            alpha = scaled[..., -1:]
            straight = np.where(alpha > 0, scaled[..., :-1] / np.maximum(alpha, 1e-6), 0)
            pixels = np.concatenate((straight, alpha), -1).clip(0, 1).astype(np.float32)
        return pixels
