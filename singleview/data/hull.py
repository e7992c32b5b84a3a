"""The visual hull of an object seen by known cameras: the largest shape that all views allow."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.geometry.grid import grid_points
from sdfrender.geometry.lattice import Lattice
from sdfrender.view.cameras import Cameras

Floats = NDArray[np.float32]

FAR = 2.0  # cells; a vertex found to be farther outside is not followed any further


@torch.no_grad()
def visual_hull(
    silhouettes: Tensor,
    cameras: Cameras,
    bounds: Tensor,
    resolution: int,
    *,
    whole: bool = True,
    slack: float = 0.0,
) -> Lattice:
    """A lattice that is negative where every view is covered by more than half. By carving.

    Per vertex the largest over the views of the distance to the outline in the picture, times
    depth / focal length; redistancing makes it a distance everywhere.

    Args:
        silhouettes: `[V, H, W]` coverage in [0, 1].
        cameras: V views.
        bounds: `[2, 3]` box of the lattice, world units.
        resolution: samples along each side.
        whole: the pictures hold all of the object, so what is outside a picture is not object.
            Otherwise a view says nothing about what is outside its picture.
        slack: pixels by which every outline is moved outward. What is thinner than a few pixels
            needs it: many views, each a fraction of a pixel off, leave nothing of it.

    Raises:
        InputError: no vertex is inside all views.
    """
    box = bounds.float()
    lattice = Lattice(torch.zeros((resolution,) * 3), box)
    points = grid_points((resolution,) * 3, box).reshape(-1, 3)
    far = FAR * float(lattice.spacing.max())
    carved = torch.full((len(points),), -far)
    open_ids = torch.arange(len(points))  # not known to be far outside
    for v in range(len(cameras)):
        outline = outline_distance(silhouettes[v].numpy())
        uv, depths = (x[0] for x in cameras[v].project(points[open_ids]))  # (P, 2), (P,)
        pixels = _sample(outline, uv.numpy(), whole)
        width = depths.clamp(min=1e-6) / cameras.Ks[v, 0, 0]  # of a pixel, world units
        distances = torch.from_numpy(pixels - np.float32(slack)) * width
        distances = torch.where(depths > 0, distances, far if whole else -far)
        carved[open_ids] = torch.maximum(carved[open_ids], distances)
        open_ids = open_ids[carved[open_ids] < far]
    values = carved.clamp(max=far).reshape(lattice.resolution)
    if not bool((values < 0).any()):
        raise InputError(f"silhouettes: no point of the box is inside all {len(cameras)} views")
    return lattice.with_values(values).redistance()


def outline_distance(coverage: Floats) -> Floats:
    """Signed distance of pixel centres to the level 0.5 of a coverage picture, in pixels.

    Negative inside. Next to the outline it is half a pixel minus coverage, elsewhere the distance
    to the nearest pixel on the other side, less half a pixel.

    Worked value: coverage 1, 1, 0.25, 0 along a row gives −1.5, −0.5, 0.25, 1.5.
    """
    inside = coverage > 0.5
    if inside.all() or not inside.any():
        return np.where(inside, -1, 1).astype(np.float32) * np.float32(max(coverage.shape))
    within, beyond = (ndimage.distance_transform_edt(x) for x in (inside, ~inside))
    distance = np.where(inside, 0.5 - within, beyond - 0.5)
    soft = (within + beyond < 1.5) & (coverage > 0) & (coverage < 1)
    mixed: Floats = np.where(soft, 0.5 - coverage, distance).astype(np.float32)
    return mixed


def _sample(outline: Floats, uv: Floats, whole: bool) -> Floats:
    """The outline's distance `[P]` at pixels `uv` `[P, 2]`, bilinear; beyond the picture ±inf."""
    height, width = outline.shape
    pixels: Floats = ndimage.map_coordinates(
        outline, (uv[:, 1] - 0.5, uv[:, 0] - 0.5), order=1, mode="nearest"
    )
    seen = (uv >= 0).all(-1) & (uv[:, 0] <= width) & (uv[:, 1] <= height)
    pixels = np.where(seen, pixels, np.float32(np.inf if whole else -np.inf))
    return pixels
