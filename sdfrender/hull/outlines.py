"""Outlines of silhouettes, as signed distances in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from sdfrender.view.cameras import Cameras

Floats = NDArray[np.float32] | NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outline:
    """A silhouette's edge.

    Args:
        distance: `[H, W]` signed distance to it, pixels.
        whole: whether all of the object is in frame.
        known: `[H, W]` where the silhouette says anything, None for everywhere.
    """

    distance: Floats
    whole: bool
    known: Mask | None = None


def outlines_of(silhouettes: Tensor, weights: Tensor) -> list[Outline]:
    """The outlines of N silhouettes; coverage counts as 1 where it is not known.

    Args:
        silhouettes: `[N, H, W]` coverage in [0, 1].
        weights: `[N, H, W]` 1 where the silhouette is known, 0 where it is not.
    """
    return [outline_of(*view) for view in zip(silhouettes, weights, strict=True)]


def outline_of(silhouette: Tensor, weights: Tensor) -> Outline:
    """The outline of one view `[H, W]`, see `outlines_of`."""
    coverage = torch.maximum(silhouette, 1 - weights)
    edge = torch.cat((coverage[0], coverage[-1], coverage[:, 0], coverage[:, -1]))
    whole = bool((edge < 0.5).all())
    says = torch.maximum(silhouette, weights) >= 0.5
    known = None if bool(says.all()) else says.numpy()
    return Outline(outline_distance(coverage).numpy(), whole, known)


def outline_distance(coverage: Tensor) -> Tensor:
    """Signed distance of pixel centres to the level 0.5 of a coverage image, sub-pixel.

    Good to a tenth of a pixel. Between neighbours on both sides of the level the crossing is found
    linearly; a pixel with crossings along both axes takes the line through the two (the start of
    fast marching methods). All other pixels measure to the nearest of those feet. Beyond the frame
    there is no outline: an object that the frame cuts has no edge there.

    Args:
        coverage: `[H, W]` in [0, 1].

    Returns:
        `[H, W]` pixels, negative inside; if there is no outline, the frame's diagonal throughout.

    Worked value: coverage 1, 1, 0.25, 0 along a row gives −1.67, −0.67, 0.33, 1.33.
    """
    f = 0.5 - coverage.detach().cpu().double().numpy()
    inside = f <= 0
    inverse = np.stack([_inverse_crossings(f, inside, axis) for axis in (0, 1)])  # (2, H, W)
    squared = (inverse**2).sum(0)
    at_outline = squared > 0
    if not at_outline.any():
        return torch.full(f.shape, math.hypot(*f.shape) * (-1 if inside.all() else 1))
    pixels = np.indices(f.shape)
    feet = pixels + inverse / np.where(at_outline, squared, 1.0)
    nearest = ndimage.distance_transform_edt(
        ~at_outline, return_distances=False, return_indices=True
    )
    distance = np.hypot(*(pixels - feet[:, nearest[0], nearest[1]]))
    return torch.from_numpy(np.where(inside, -distance, distance)).float()


def pixel_distance(coverage: NDArray[np.float32]) -> NDArray[np.float32]:
    """Signed distance of pixel centres to the level 0.5 of a coverage image, to half a pixel.

    Quicker than `outline_distance`. Next to the outline it is half a pixel minus coverage,
    elsewhere the distance to the nearest pixel on the other side, less half a pixel.

    Args:
        coverage: `[H, W]` in [0, 1].

    Returns:
        `[H, W]` pixels, negative inside; if there is no outline, the frame's longer side.

    Worked value: coverage 1, 1, 0.25, 0 along a row gives −1.5, −0.5, 0.25, 1.5.
    """
    inside = coverage > 0.5
    if inside.all() or not inside.any():
        return np.where(inside, -1, 1).astype(np.float32) * np.float32(max(coverage.shape))
    within, beyond = (ndimage.distance_transform_edt(x) for x in (inside, ~inside))
    distance = np.where(inside, 0.5 - within, beyond - 0.5)
    soft = (within + beyond < 1.5) & (coverage > 0) & (coverage < 1)
    mixed: NDArray[np.float32] = np.where(soft, 0.5 - coverage, distance).astype(np.float32)
    return mixed


def checked(
    cameras: Cameras, silhouettes: Tensor, silhouette_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Silhouettes and their weights as float32 on the CPU, `[N, H, W]` as the cameras have it.

    Raises:
        ValueError: shapes that do not belong together.
    """
    size = (len(cameras), cameras.height, cameras.width)
    for name, x in (("silhouettes", silhouettes), ("silhouette_weights", silhouette_weights)):
        if x.shape != size:
            raise ValueError(f"{name}: need {list(size)} as the cameras have, got {list(x.shape)}")
    return silhouettes.detach().float().cpu(), silhouette_weights.detach().float().cpu()


def _inverse_crossings(f: NDArray[np.float64], inside: Mask, axis: int) -> NDArray[np.float64]:
    """1 / (signed offset of the nearest zero of `f` along `axis`), 0 where there is none."""
    f, inside = np.moveaxis(f, axis, 0), np.moveaxis(inside, axis, 0)
    crossed = inside[1:] != inside[:-1]
    step = f[:-1] - f[1:]
    t = np.where(crossed, f[:-1] / np.where(crossed, step, 1.0), 0.5).clip(1e-6, 1 - 1e-6)
    ahead, behind = np.zeros_like(f), np.zeros_like(f)
    ahead[:-1] = crossed / t
    behind[1:] = -(crossed / (1 - t))
    return np.moveaxis(np.where(ahead >= -behind, ahead, behind), 0, axis)
