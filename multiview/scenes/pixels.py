"""The pixels of a scene: each view's colour, silhouette and weights, at the size asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from multiview.scenes.distortion import undistort
from multiview.scenes.frames import in_frame
from multiview.scenes.masks.matte import soften
from multiview.scenes.scene import Description, View
from sdfrender.errors import InputError
from sdfrender.files.images import (
    Image,
    area_average,
    image_mode,
    is_linear,
    read_image,
    srgb_to_linear,
)
from sdfrender.masks.silhouettes import luminance, read_mask, threshold_silhouette

Source = Literal["file", "alpha", "threshold", "background", "none"]

SOURCES: tuple[Source, ...] = get_args(Source)

OPAQUE = 0.98  # an alpha channel above this everywhere says nothing
FRAME = 0.15  # of the shorter side: how far a frame of transparent pixels reaches in
LARGE = 40_000_000  # pixels; larger pictures are averaged down as they are read


@dataclass(eq=False)
class Pixels:
    """What `Scene` holds per pixel; shapes and meaning as there.

    `sources` tells for each view where its silhouette is from. A view with none has weights of 0.
    """

    images: Tensor
    silhouettes: Tensor
    silhouette_weights: Tensor
    image_weights: Tensor
    sources: list[Source]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.silhouettes.shape[2], self.silhouettes.shape[1]

    def put(self, n: int, planes: Image, source: Source) -> None:
        """Take the planes of a view, `[H, W, C + 3]` as `read_view` gives them, averaged down."""
        small = torch.from_numpy(area_average(planes, *self.size))
        self.images[n], self.sources[n] = small[..., :-3], source
        self.silhouettes[n], self.silhouette_weights[n] = small[..., -3], small[..., -2]
        self.image_weights[n] = small[..., -1]


def read_pixels(
    scene: Description,
    views: Sequence[View],
    size: tuple[int, int],
    threshold: float | None,
    without: bool = False,
    grey: bool | None = None,
) -> Pixels:
    """Read the images and masks of `views`; those that have no mask keep weights of 0.

    Args:
        scene: whose views these are.
        views: N views, with frames if their images have several sizes.
        size: `(width, height)` to average down to.
        threshold: fraction of full scale above which a pixel is object, or None.
        without: read no silhouettes: they are 1, with weights of 0. Pixels that an alpha channel
            leaves open have a colour that does not count.
        grey: whether one channel holds them; by default whether all files are grey.

    Raises:
        InputError: a damaged image, a mask of another size or with no object in it.
    """
    if grey is None:
        grey = have_one_channel(views)
    N, (width, height) = len(views), size
    planes = torch.zeros(3, N, height, width)
    images = torch.zeros(N, height, width, 1 if grey else 3)
    pixels = Pixels(images, planes[0], planes[1], planes[2], ["none" for _ in views])
    for n, view in enumerate(tqdm(views, desc="images", disable=None if N > 8 else True)):
        read = read_whole(scene, view, size) if without else read_view(scene, view, size, threshold)
        pixels.put(n, *read)
    return pixels


def have_one_channel(views: Sequence[View]) -> bool:
    """Whether all files of some views are grey."""
    return all(image_mode(view.image)[0] in ("L", "LA", "I", "I;16") for view in views)


def read_view(
    scene: Description, view: View, size: tuple[int, int], threshold: float | None
) -> tuple[Image, Source]:
    """`[H, W, C + 3]`, at least as large as `size`, and where the silhouette is from.

    Premultiplied colour, silhouette, the weight of the silhouette, the weight of the colour.
    """
    color, alpha = _read(view, size)
    if view.framed:  # what the alpha channel leaves out is not known
        alpha = None
    silhouette, known, source = _silhouette(view, color, alpha, threshold)
    if source != "none" and silhouette.max() < 0.5:
        darkest = float(silhouette.max()) if source == "file" else 0.0
        raise InputError(
            f"{view.image}: view '{view.name}' needs a mask, its mask is empty (white = object)"
            + (f": nothing in it is brighter than {darkest:.2g} of white" if darkest else "")
            + (
                f": nothing is brighter than the threshold of {threshold:g}, which "
                "--mask-threshold sets"
                if source == "threshold"
                else ""
            )
        )
    if scene.color_space == "srgb" and not is_linear(view.image):
        color = srgb_to_linear(color)
    coverage = silhouette if alpha is None else np.minimum(silhouette, alpha)
    if source == "threshold" and alpha is None:
        silhouette, coverage = soften(luminance(color), silhouette, known)
    keep = _kept(view, color.shape[:2])
    planes = np.dstack((color * coverage[..., None], silhouette, known * keep, keep))
    return undistorted(planes, view, size), source


def read_whole(scene: Description, view: View, size: tuple[int, int]) -> tuple[Image, Source]:
    """The same of a view whose silhouette is not looked at: 1, with a weight of 0."""
    color, alpha = _read(view, size)
    if scene.color_space == "srgb" and not is_linear(view.image):
        color = srgb_to_linear(color)
    keep = _kept(view, color.shape[:2])
    if alpha is not None:
        keep = keep * (alpha > OPAQUE)
    one = np.ones_like(keep)
    return undistorted(np.dstack((color, one, 0 * one, keep)), view, size), "none"


def read_photo(view: View, size: tuple[int, int]) -> tuple[Image, Image]:
    """`[H, W, C]` colour as stored and `[H, W]` its weight, as large as `read_view` has them."""
    color, alpha = _read(view, size)
    if alpha is not None:
        color = color * alpha[..., None]
    planes = undistorted(np.dstack((color, _kept(view, color.shape[:2]))), view, size)
    return planes[..., :-1], planes[..., -1]


def undistorted(planes: Image, view: View, size: tuple[int, int]) -> Image:
    """`[H, W, C]` planes without the distortion of the view's lens.

    What the lens does not show is 0 in all planes, also in those that are weights. The planes come
    out at most twice as large as the `size` that is wanted: enough, and large photographs take
    long. Where pictures have several sizes they come in their frame, none made smaller.
    """
    if view.lens is None:
        return in_frame(planes, view)
    K = view.K.copy()
    width, height = view.size
    if view.frame is None:
        own = planes.shape[1::-1]
        width, height = (min(has, 2 * wanted) for has, wanted in zip(own, size, strict=True))
    K[:2] *= np.array([[width / view.size[0]], [height / view.size[1]]])
    return in_frame(undistort(area_average(planes, width, height), view.lens, K)[0], view)


def _silhouette(
    view: View, color: Image, alpha: Image | None, threshold: float | None
) -> tuple[Image, Image, Source]:
    """Silhouette, its weight, and what told it."""
    if threshold is not None:
        photo = color if alpha is None else color * alpha[..., None]
        return *threshold_silhouette(photo, threshold), "threshold"
    if view.mask is not None:
        own = color.shape[1::-1]
        mask = read_mask(view.mask, view.size, own, view.upright)
        if view.mask_weights is None:
            return mask, np.ones_like(mask), "file"
        return mask, read_mask(view.mask_weights, view.size, own, view.upright), "file"
    if alpha is not None and alpha.min() < OPAQUE:
        return alpha, np.ones_like(alpha), "alpha"
    nothing = np.zeros(color.shape[:2], np.float32)
    return nothing, nothing, "none"


def _kept(view: View, shape: tuple[int, ...]) -> Image:
    """`[H, W]` 0 where the view's ignore-mask says so, or its frame of transparent pixels."""
    height, width = shape
    keep: Image = np.ones((height, width), np.float32)
    if view.ignore is not None:
        mask = read_mask(view.ignore, view.size, (width, height), view.upright)
        # instant-ngp ignores what is not quite black.
        keep = (mask < 0.5 / 255).astype(np.float32) if view.ignore_white else mask
    if view.framed:
        alpha = _read(view, (width, height))[1]
        keep = keep * (1 if alpha is None else alpha)
    return keep


def _read(view: View, size: tuple[int, int]) -> tuple[Image, Image | None]:
    """Colour and alpha; large pictures averaged down to not less than twice the size wanted."""
    width, height = view.size
    scale = 1.0
    if width * height > LARGE:
        scale = min(1.0, 2 * max(size[0] / width, size[1] / height))
    read = max(1, round(width * scale)), max(1, round(height * scale))
    return read_image(view.image, read, view.upright, max_pixels=None)


def without_copies(images: Tensor) -> Tensor:
    """`[N, H, W, 1]` of grey pictures that are stored in colour: a third of all that follows."""
    return images[..., :1].clone() if are_grey(images) else images


def are_grey(images: Tensor) -> bool:
    """Whether all channels of `[N, H, W, C]` are the same."""
    return bool((images == images[..., :1]).all())


def is_frame(alpha: Tensor) -> bool:
    """Whether an alpha channel `[H, W]` is transparent along its rim only, as undistortion leaves
    it: no object fills the middle of a picture to the corners.
    """
    H, W = alpha.shape
    rim = math.ceil(FRAME * min(H, W))
    return H > 2 * rim < W and float(alpha[rim : H - rim, rim : W - rim].min()) > 0.5
