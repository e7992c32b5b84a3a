"""The lattice that dense stereo starts a fit from, and how much of it was seen."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from multiview.dense.aggregation import depth_map
from multiview.dense.consistency import CONFIRMED, confirmations
from multiview.dense.fusion import TRUNCATION, fuse
from multiview.dense.sources import choose_sources
from multiview.dense.sweep import sweep
from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.stereo.pictures import Pictures
from sdfrender import InputError, Lattice
from sdfrender.geometry.grid import samples_per_axis
from sdfrender.kernels.threads import run_all

log = logging.getLogger("multiview")

PIXELS_PER_CELL = 2.5  # of the photographs compared
LARGEST = 768  # their longer side, pixels: finer ones are what the steps after this are for
AT_ONCE = 4  # views: each takes up to half a gigabyte
MOST_VIEWS = 48  # from all sides, are enough for a start
LEAST_FLOOR, MOST_FLOOR = 1 / 255, 0.01  # of a window's deviation: at least a step of 8 bits
NOISES = 2.0  # times the noise of the photographs: windows that vary less say nothing
LEAST, FEW = 0.1, 0.4  # of the depths, that others confirm; of noise it is .03, of walls .8

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Dense:
    """What dense stereo found.

    Args:
        lattice: the surface; what no view looks into is solid.
        observed: `[X, Y, Z]` how many views saw the surface near each vertex, about.
    """

    lattice: Lattice
    observed: Tensor


def dense_start(targets: Targets, bounds: Tensor, resolution: int) -> Dense:
    """A surface from photographs and cameras alone. Not differentiable.

    Args:
        targets: N views, as large as they are; colours as a screen shows them.
        bounds: `[2, 3]` the box, world units.
        resolution: samples along its longest side.

    Raises:
        InputError: hardly any depth is confirmed by other views.
    """
    shape = samples_per_axis(resolution, bounds)
    grid = Lattice(torch.zeros(shape), bounds)
    some = take_turns(targets.cameras, bounds.mean(0), MOST_VIEWS)[0]
    views = targets[some].for_lattice(grid, PIXELS_PER_CELL).within(LARGEST)
    depths, kept = confirmed_depths(views, bounds)
    share = float((kept > 0).sum()) / max(int((depths > 0).sum()), 1)
    log.info(
        "dense stereo: %d views of %d×%d pixels, %.0f %% of the depths confirmed by others",
        len(views.cameras), views.cameras.width, views.cameras.height, 100 * share,
    )  # fmt: skip
    if share < LEAST or not (kept > 0).any():
        raise InputError(
            f"photographs: need neighbouring views that agree on depths in the box, {share:.1%} of "
            "the depths are confirmed by other views: look at cameras and box (--bounds), or give "
            "masks"
        )
    if share < FEW:
        log.warning(
            "dense stereo: other views confirm only %.0f %% of the depths in the box; is it where "
            "the views look, and do neighbours overlap?", 100 * share,
        )  # fmt: skip
    values, weights, near = fuse(
        kept, (kept > 0).astype(np.float32), views.cameras, bounds, resolution
    )
    cell = float(grid.spacing.max())
    filled = largest_parts(np.where(weights > 0, values, -TRUNCATION * cell), cell)
    return Dense(grid.with_values(torch.from_numpy(filled)).redistance(), torch.from_numpy(near))


def confirmed_depths(views: Targets, bounds: Tensor) -> tuple[Floats, Floats]:
    """Depth maps of N views `[N, H, W]`, 0 where there is none; and those that others confirm."""
    pictures, cameras = Pictures.of(views), views.cameras
    sources = choose_sources(cameras, bounds)
    floor = contrast_floor(views.noise)
    shape = (cameras.height, cameras.width)

    def one(view: int) -> Floats:
        volume = sweep(view, cameras, pictures, bounds, sources[view], floor)
        return np.zeros(shape, np.float32) if volume is None else depth_map(volume, shape)[0]

    threads, ids = min(torch.get_num_threads(), AT_ONCE), range(len(cameras))
    depths = np.stack(run_all(one, ids, threads))
    counts = run_all(lambda n: confirmations(n, depths, cameras, sources[n]), ids, threads)
    # A view with a single neighbour can have no more than its word.
    needed = [min(CONFIRMED, max(1, len(near))) for near in sources]
    kept = [np.where(counts[n] >= needed[n], depths[n], 0) for n in ids]
    return depths, np.stack(kept).astype(np.float32)


def contrast_floor(noise: float) -> float:
    """Floor of a window's deviation for photographs of such noise, units of colour."""
    return min(max(NOISES * noise, LEAST_FLOOR), MOST_FLOOR)


def largest_parts(values: Floats, cell: float) -> Floats:
    """Distances with one body and one space: other parts of either become the other.

    Args:
        values: `[X, Y, Z]` distances, world units.
        cell: spacing, world units.
    """
    out = values.astype(np.float32)
    for sign in (-1, 1):
        parts, count = ndimage.label(out * sign > 0 if sign > 0 else out <= 0)
        if count < 2:
            continue
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        apart = (parts > 0) & (parts != sizes.argmax())
        out[apart] = -sign * np.maximum(np.abs(out[apart]), cell)
    return out


def as_shown(targets: Targets, linear: bool) -> Targets:
    """The views in colours whose noise is about as large in the dark as in the light.

    Args:
        targets: the views.
        linear: whether their colours are linear, as a scene's are that states sRGB files.
    """
    if not linear:
        return targets
    return replace(targets, images=targets.images.clamp(min=0).pow(1 / 2.2))
