"""Where the object is in an image: silhouettes, and how far each pixel of them is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.morphology import isotropic_closing

from sdfrender.errors import InputError
from sdfrender.files.images import Image, read_image
from sdfrender.files.pictures import read_header

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

# As fractions of the longest side of the image; the pixels are those of a 640×480 photograph.
CLOSING_RADIUS = 1 / 64  # 10 pixels; closes shadows up to twice as wide
POCKET_RADIUS = 1 / 32  # 20 pixels; larger enclosed gaps are taken for gaps in the object
GREY = 0.1  # of what is opaque in a mask: more is a picture that is cut out
NOISE_SIDE = 1 / 320  # 2 pixels; smaller bright specks are noise


def threshold_silhouette(photo: Image, threshold: float) -> tuple[Image, Image]:
    """The silhouette of a bright object before a dark stage.

    1. Pixels whose luminance is above `threshold`, without specks of noise.
    2. A closing recovers shadowed parts, which are as dark as the stage.
    3. Parts smaller than a hundredth of all are dropped.
    4. Small pockets of background that the object encloses, alone or together with the frame, are
       filled: shadows or gaps, which of the two is not known.

    Beyond the frame the picture is continued, not taken for background: an object that leaves the
    frame reaches its edge.

    Args:
        photo: `[H, W, C]` in [0, 1], C = 1 or 3.
        threshold: fraction of full scale.

    Returns:
        `[H, W]` silhouette, 0 or 1, and `[H, W]` weights: 0 at the pixels that steps 2 and 4 added.
    """
    return closed_silhouette(luminance(photo) > threshold)


def luminance(photo: Image) -> Image:
    """`[H, W]` of a photograph `[H, W, C]`, C = 1 or 3."""
    grey: Image = rgb2gray(photo) if photo.shape[-1] == 3 else photo[..., 0]
    return grey


def closed_silhouette(seen: Mask) -> tuple[Image, Image]:
    """Steps 2 to 4 of `threshold_silhouette`, and the noise of step 1, for pixels seen as object.

    Returns:
        `[H, W]` silhouette, 0 or 1, and `[H, W]` weights: 0 at the pixels that were added.
    """
    longest = max(seen.shape)
    bright = _components(seen, at_least=(NOISE_SIDE * longest) ** 2)
    border = math.ceil(2 * CLOSING_RADIUS * longest)
    padded = np.pad(bright, border, mode="edge")
    closed = isotropic_closing(padded, CLOSING_RADIUS * longest)  # type: ignore[no-untyped-call]
    closed = closed[border:-border, border:-border] | bright
    closed = _components(closed, at_least=0.01 * np.count_nonzero(closed))
    filled = closed | _pockets(~closed, POCKET_RADIUS * longest)
    known = bright | ~filled
    return filled.astype(np.float32), known.astype(np.float32)


def read_mask(
    path: Path, view: tuple[int, int], size: tuple[int, int] | None = None, upright: bool = True
) -> Image:
    """`[H, W]` in [0, 1] from a mask file, white = 1.

    Of a file with one dark colour on black, as labels 0 and 1 or red on black, that colour is 1. A
    file with an alpha channel that is of one colour, or a picture that is cut out, is its alpha.

    Args:
        path: the file.
        view: `(width, height)` of its picture, which it must have as well.
        size: to average down to. Default: as it is.
        upright: whether EXIF turns it, as it turns the picture.

    Raises:
        InputError: not an image, or not of the size of its picture.
    """
    header = read_header(path)
    found = header.size if upright else header.stored
    if found != view:
        turn = " (EXIF turns one of them: remove the tag, or make the mask again)"
        raise InputError(
            f"{path}: need a mask of the size of its image, {view[0]}×{view[1]}, "
            f"got {found[0]}×{found[1]}{turn if found == view[::-1] else ''}"
        )
    color, alpha = read_image(path, size, upright, max_pixels=None)
    if alpha is not None and alpha.min() < alpha.max():
        grey: Mask = np.any((color > 0.1) & (color < 0.9), axis=-1)
        share = grey[alpha > 0.5]
        if color.min() == color.max() or (share.size and share.mean() > GREY):
            return alpha
    mask: Image = color.mean(-1)
    if mask.max() < 0.5:
        lit: Mask = np.any(color > 0, axis=-1)
        if lit.any() and (color[lit] == color[lit][0]).all():
            only: Image = lit.astype(np.float32)
            return only
    return mask


def _components(mask: Mask, at_least: float) -> Mask:
    """The connected parts (8 neighbours) of `mask` that have `at_least` so many pixels."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(labels.ravel())
    areas[0] = 0  # the background
    kept: Mask = (areas >= max(at_least, 1))[labels]
    return kept


def _pockets(background: Mask, radius: float) -> Mask:
    """The connected parts of `background` in which no disk larger than `radius` pixels fits."""
    if background.all():
        return np.zeros_like(background)
    labels, count = ndimage.label(background)
    widths = ndimage.maximum(ndimage.distance_transform_edt(background), labels, range(count + 1))
    small = np.asarray(widths) <= radius
    small[0] = False  # the object
    small[np.argmax(widths)] = False  # there is a background
    pockets: Mask = small[labels]
    return pockets
