"""The pixels of a scene: each view's colour, silhouette and weights, at the size asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from multiview.scenes.lens import undistort
from multiview.scenes.masks import read_mask, threshold_silhouette
from multiview.scenes.scene import Description, View
from sdfrender.errors import InputError
from sdfrender.images import Image, area_average, image_mode, read_image, srgb_to_linear


@dataclass(frozen=True)
class Pixels:
    """What `Scene` holds per pixel; shapes and meaning as there."""

    images: Tensor
    silhouettes: Tensor
    silhouette_weights: Tensor
    image_weights: Tensor


def read_pixels(
    scene: Description, views: list[View], size: tuple[int, int], mask_threshold: float | None
) -> Pixels:
    """Read the images and masks of `views`.

    Where the object is comes from the first of these that there is: `mask_threshold`;
    `masks/NAME.png`, white = object; the image's alpha channel; the format's own threshold.

    Args:
        scene: whose views these are.
        views: N views whose images have the same size.
        size: `(width, height)` to average down to.
        mask_threshold: as in `load_scene`.

    Raises:
        InputError: a damaged image, a mask of another size or with no object in it, or nothing
            that says where the object is.
    """
    grey = all(image_mode(view.image)[0] in ("L", "LA", "I", "I;16") for view in views)
    N, (width, height) = len(views), size
    images = torch.zeros(N, height, width, 1 if grey else 3)
    silhouettes, weights = torch.zeros(N, height, width), torch.ones(N, height, width)
    partial = any(view.ignore or view.lens for view in views)
    image_weights = torch.ones((N, height, width) if partial else (1, 1, 1))
    reader = _Reader(scene, mask_threshold)
    for n, view in enumerate(tqdm(views, desc="images", disable=None if N > 8 else True)):
        planes = undistorted(reader.read(view), view, size)
        small = torch.from_numpy(area_average(planes, width, height))
        images[n], silhouettes[n], weights[n] = small[..., :-3], small[..., -3], small[..., -2]
        if partial:
            image_weights[n] = small[..., -1]
    if bool((silhouettes > 0.999).all()):
        raise InputError(
            f"{scene.file}: need to know where the object is, but every mask is white everywhere "
            f"and says that all is object: {_ways(scene, views[0])}"
        )
    return Pixels(images, silhouettes, weights, image_weights.expand(N, height, width))


def undistorted(planes: Image, view: View, size: tuple[int, int]) -> Image:
    """`[H, W, C]` planes without the distortion of the view's lens.

    What the lens does not show is 0 in all planes, also in those that are weights. The planes come
    out at most twice as large as the `size` that is wanted: enough, and large photographs take
    long.
    """
    if view.lens is None:
        return planes
    K = view.K.copy()
    width, height = (min(own, 2 * wanted) for own, wanted in zip(view.size, size, strict=True))
    K[:2] *= np.array([[width / view.size[0]], [height / view.size[1]]])
    return undistort(area_average(planes, width, height), view.lens, K)[0]


@dataclass(frozen=True)
class _Reader:
    scene: Description
    mask_threshold: float | None

    def read(self, view: View) -> Image:
        """`[H, W, C + 3]` at full size, as the lens shows it.

        Premultiplied colour, silhouette, the weight of the silhouette, the weight of the colour.
        """
        color, alpha = read_image(view.image)
        silhouette, known = self._silhouette(view, color, alpha)
        if silhouette.max() < 0.5:
            raise InputError(f"{view.image}: view '{view.name}' needs a mask, its mask is empty")
        if self.scene.color_space == "srgb":
            color = srgb_to_linear(color)
        coverage = silhouette if alpha is None else np.minimum(silhouette, alpha)
        keep = read_mask(view.ignore, view.size) if view.ignore else np.ones_like(silhouette)
        return np.dstack((color * coverage[..., None], silhouette, known * keep, keep))

    def _silhouette(self, view: View, color: Image, alpha: Image | None) -> tuple[Image, Image]:
        threshold = self.mask_threshold
        if threshold is None:
            if view.mask is not None:
                mask = read_mask(view.mask, view.size)
                return mask, np.ones_like(mask)
            if alpha is not None:
                return alpha, np.ones_like(alpha)
            threshold = self.scene.mask_threshold
        if threshold is None:
            raise InputError(
                f"{view.image}: need to know where the object is: {_ways(self.scene, view)}"
            )
        photo = color if alpha is None else color * alpha[..., None]
        return threshold_silhouette(photo, threshold)


def _ways(scene: Description, view: View) -> str:
    masks = scene.folder / "masks" / f"{view.name}.png"
    ignored = " (mask_path only says which pixels to ignore)" if view.ignore else ""
    return (
        f"give an alpha channel, or {masks} with the object in white, or a mask threshold "
        f"for a bright object before a dark background{ignored}"
    )
