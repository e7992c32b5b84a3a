"""Pictures from outside as the network wants them: linear, object over black, in the middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate, pad

from sdfrender.errors import InputError
from sdfrender.files.images import Image, is_linear, read_image, srgb_to_linear

RIM = 0.04  # of the picture's side: where a plain background is looked at
PLAIN = 0.06  # spread of colours in the rim that still counts as plain
DIFFERENT = 0.1  # from the background: object
USUAL_SIZE = (0.3, 0.98)  # longest side of the object in a picture of the training set, of its side
FIT_SIZE = 0.68  # what it is brought to if it is not within that
USUAL_OFFSET = 0.15  # of the object's middle from the picture's


def load_picture(path: Path, mask: str, linear: bool) -> Tensor:
    """A picture as the network was taught: `[S, S, C]`, linear, over black, object in the middle.

    Args:
        path: any format that imageio reads, 8 or 16 bits, grey or colour, with or without alpha.
        mask: auto, alpha, plain, none, or the path of a picture that is white on the object.
        linear: the numbers are linear in light, not sRGB.

    Raises:
        InputError: no picture, or no object to be found in it.
    """
    colors, alpha = read_image(path)  # (H, W, C) in [0, 1]
    if min(colors.shape[:2]) < 4:
        raise InputError(f"{path}: need at least 4×4 pixels, got {colors.shape[:2]}")
    coverage = find_object(path, colors, alpha, mask)
    if not linear and not is_linear(path):
        colors = srgb_to_linear(colors)
    if float(coverage.max()) < 0.5:
        raise InputError(f"{path}: need an object in the picture, the mask is empty")
    image = np.concatenate((colors * coverage[..., None], coverage[..., None]), -1)
    framed = frame(torch.from_numpy(image.astype(np.float32)))
    return framed[..., :-1]


def find_object(path: Path, colors: Image, alpha: Image | None, mask: str) -> Image:
    """Coverage `[H, W]` in [0, 1]."""
    if mask == "alpha" or (mask == "auto" and alpha is not None):
        if alpha is None:
            raise InputError(f"{path}: need an alpha channel for --mask alpha, it has none")
        return alpha
    if mask == "none":
        lit: Image = (colors.max(-1) > 0).astype(np.float32)
        return lit
    if mask in ("auto", "plain"):
        return plain_background(path, colors)
    other = read_image(Path(mask))[0]
    if other.shape[:2] != colors.shape[:2]:
        sideways = other.shape[1::-1] == colors.shape[:2]
        turn = " (EXIF turns one of them: remove the tag, or make the mask again)"
        raise InputError(
            f"{mask}: need the size of {path}, {colors.shape[1]}×{colors.shape[0]}, "
            f"got {other.shape[1]}×{other.shape[0]}{turn if sideways else ''}"
        )
    return other[..., 0]


def plain_background(path: Path, colors: Image) -> Image:
    """What differs from the colour of the picture's rim, with its holes as they are."""
    H, W, _ = colors.shape
    border = max(1, round(RIM * min(H, W)))
    rim = np.ones((H, W), bool)
    rim[border:-border, border:-border] = False
    background = np.median(colors[rim], 0)
    spread = float(np.quantile(np.abs(colors[rim] - background).max(-1), 0.9))
    if spread > PLAIN:
        raise InputError(
            f"{path}: need a plain background to tell the object from, its rim varies by "
            f"{spread:.2f} (at most {PLAIN}): give a mask with --mask, or an alpha channel"
        )
    different = np.abs(colors - background).max(-1) > DIFFERENT
    labels, count = ndimage.label(different)
    if count == 0:
        return np.zeros((H, W), np.float32)
    sizes = np.bincount(labels.ravel())[1:]
    kept = 1 + np.flatnonzero(sizes >= 0.02 * sizes.max())  # no specks
    mask: Image = np.isin(labels, kept).astype(np.float32)
    return mask


def frame(image: Tensor) -> Tensor:
    """Make `[H, W, C + 1]` square, its last channel the coverage: `[S, S, C + 1]`, size as usual.

    A square picture whose object is in the middle and of a usual size is left as it is.
    """
    H, W, _ = image.shape
    rows = (image[..., -1].amax(1) > 0.5).nonzero()[:, 0]
    columns = (image[..., -1].amax(0) > 0.5).nonzero()[:, 0]
    top, bottom, left, right = (
        float(x) for x in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)
    )
    longest = max(bottom - top, right - left)
    middle = ((top + bottom) / 2, (left + right) / 2)
    offset = max(abs(middle[0] - H / 2), abs(middle[1] - W / 2)) / max(H, W)
    low, high = USUAL_SIZE
    if H == W and low <= longest / H <= high and offset <= USUAL_OFFSET:
        return image
    side = max(round(longest / FIT_SIZE), 2)
    y, x = round(middle[0] - side / 2), round(middle[1] - side / 2)
    grown = pad(image.permute(2, 0, 1), (side, side, side, side))  # room on every side
    cut = grown[:, y + side : y + 2 * side, x + side : x + 2 * side]
    return cut.permute(1, 2, 0)


def resize(image: Tensor, size: int) -> Tensor:
    """`[S, S, C]` to `[size, size, C]`, averaged down."""
    if image.shape[0] == size:
        return image
    x = image.permute(2, 0, 1)[None]
    x = interpolate(x, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return x[0].permute(1, 2, 0)
