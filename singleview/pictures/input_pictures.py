"""Pictures from outside as the network wants them: linear, object over black, in the middle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from sdfrender.errors import InputError
from sdfrender.files.images import Image, is_linear, read_image, srgb_to_linear
from sdfrender.masks.one_picture import object_in_picture
from sdfrender.masks.silhouettes import read_mask

USUAL_SIZE = (0.3, 0.98)  # longest side of the object in a picture of the training set, of its side
FIT_SIZE = 0.68  # what it is brought to if it is not within that
USUAL_OFFSET = 0.15  # of the object's middle from the picture's
BRIGHT = 0.9  # share of the object's pixels that are darker than its bright parts
USUAL_BRIGHTNESS = (0.6, 1.0)  # of the bright parts of white objects in a training set's light
FIT_BRIGHTNESS = 0.75  # what it is brought to if it is not within that


class NoObject(InputError):
    """No object was found in a picture.

    Args:
        message: what is told.
        coverage: `[H, W]` what was found instead.
    """

    def __init__(self, message: str, coverage: Image) -> None:
        super().__init__(message)
        self.coverage = coverage


@dataclass(frozen=True, eq=False)
class Picture:
    """One object as a network was taught to see it.

    Args:
        image: `[S, S, C]` linear, over black, object in the middle.
        coverage: `[S, S]` how much of each pixel is object, in [0, 1].
    """

    image: Tensor
    coverage: Tensor

    def planes(self, size: int) -> Tensor:
        """`[size, size, C + 1]` image and coverage, averaged down."""
        return resize(torch.cat((self.image, self.coverage[..., None]), -1), size)


def load_picture(path: Path, mask: str, linear: bool) -> Picture:
    """A picture as the network was taught: the object cut out, in the middle, as bright as usual.

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
    linear = linear or is_linear(path)
    coverage = find_object(path, colors, alpha, mask, linear)
    if float(coverage.max()) <= 0.5:
        raise InputError(f"{path}: need an object in the picture, the mask is empty")
    if not linear:
        colors = srgb_to_linear(colors)
    image = np.concatenate((colors * coverage[..., None], coverage[..., None]), -1)
    framed = frame(torch.from_numpy(image.astype(np.float32)))
    return Picture(exposed(framed[..., :-1], framed[..., -1]), framed[..., -1])


def find_object(
    path: Path, colors: Image, alpha: Image | None, mask: str, linear: bool = False
) -> Image:
    """Coverage `[H, W]` in [0, 1] of the object in colours `[H, W, C]`; see `load_picture`."""
    if mask == "alpha" or (mask == "auto" and alpha is not None):
        if alpha is None:
            raise InputError(f"{path}: need an alpha channel for --mask alpha, it has none")
        return alpha
    if mask == "none":
        lit: Image = (colors.max(-1) > 0).astype(np.float32)
        return lit
    if mask in ("auto", "plain"):
        found = object_in_picture(colors, linear)
        if found.doubt:
            raise NoObject(
                f"{path}: need an object in the picture that differs from what is around it, and "
                f"{found.doubt}: give a mask with --mask FILE, or an alpha channel",
                found.coverage,
            )
        return found.coverage
    return read_mask(Path(mask), colors.shape[1::-1])


def exposed(image: Tensor, coverage: Tensor) -> Tensor:
    """An image `[S, S, C]` over black as bright as those of training; usual ones stay as they are.

    Its bright parts are those that a share `BRIGHT` of the object's pixels, `coverage` `[S, S]`,
    are darker than. What is dark in a photograph, by its paint or by its light, is as bright to the
    network as what it was taught; hues and differences of brightness stay.
    """
    light = image.mean(-1)[coverage > 0.5]
    bright = float(torch.quantile(light[:: 1 + len(light) // 100_000], BRIGHT))
    if USUAL_BRIGHTNESS[0] <= bright <= USUAL_BRIGHTNESS[1] or bright <= 0:
        return image
    return image * (FIT_BRIGHTNESS / bright)


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
