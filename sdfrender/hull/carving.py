"""Points as all views see them: how far outside the cones of sight through the outlines."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from sdfrender.geometry.grid import Resolution
from sdfrender.geometry.lattice import Lattice
from sdfrender.hull.outlines import Floats, Mask, Outline, checked, outlines_of
from sdfrender.view.cameras import Cameras

CHUNK = 1 << 20  # points projected at a time


def grid_to_carve(resolution: Resolution, bounds: Tensor) -> tuple[Lattice, NDArray[np.float32]]:
    """An empty lattice over a box `[2, 3]`, and its vertices, `[P, 3]` world units."""
    grid = Lattice.from_function(lambda p: torch.zeros(p.shape[:-1]), resolution, bounds)
    points: NDArray[np.float32] = grid.vertices.reshape(-1, 3).numpy()
    return grid, points


def farthest_cone(
    points: Floats, cameras: Cameras, outlines: list[Outline], enough: float
) -> tuple[Floats, NDArray[np.int64]]:
    """Maximum over views of the distance to the outline's cone, and how many views say anything.

    Args:
        points: `[P, 3]` world units.
        cameras: N views.
        outlines: of the N silhouettes.
        enough: world units; a point found to be farther outside is not followed any further.

    Returns:
        `[P]` world units, exact up to `enough`, −inf where no view has anything to say, and `[P]`
        counts.
    """
    distances = np.full(len(points), -math.inf, np.float32)
    views = np.zeros(len(points), np.int64)
    for start in range(0, len(points), CHUNK):
        open_ids = np.arange(start, min(start + CHUNK, len(points)))
        for n, outline in enumerate(outlines):
            cone, speaks = cone_distance(points[open_ids], cameras[n], outline)
            farthest = np.maximum(distances[open_ids], cone)
            distances[open_ids] = farthest
            views[open_ids] += speaks
            open_ids = open_ids[farthest <= enough]
    return distances, views


def outside_cone(
    points: Floats, cameras: Cameras, silhouettes: Tensor, weights: Tensor, reach: float
) -> Mask:
    """Which view leaves which point out, by more than a distance.

    Args:
        points: `[P, 3]` world units.
        cameras: N views.
        silhouettes: `[N, H, W]` coverage in [0, 1].
        weights: `[N, H, W]` 1 where the silhouette is known, 0 where it is not.
        reach: world units.

    Returns:
        `[N, P]` bool.
    """
    outside = np.zeros((len(cameras), len(points)), bool)
    for n, outline in enumerate(outlines_of(*checked(cameras, silhouettes, weights))):
        for start in range(0, len(points), CHUNK):
            part = slice(start, start + CHUNK)
            outside[n, part] = cone_distance(points[part], cameras[n], outline)[0] > reach
    return outside


def cone_distance(points: Floats, camera: Cameras, outline: Outline) -> tuple[Floats, Mask]:
    """One view's signed distances to the cone of sight through an outline.

    The distance in the image, times depth / focal length. Outside the frame of a whole silhouette
    the way back to the frame is added.

    Args:
        points: `[P, 3]` world units.
        camera: one view.
        outline: of its silhouette.

    Returns:
        `[P]` world units, −inf where the view says nothing, and `[P]` whether it says anything.
    """
    c2w, K = (x[0].detach().cpu().double().numpy() for x in (camera.c2w, camera.Ks))
    # As `Cameras.project`, on one thread: these are many short steps.
    local = np.einsum("pi,ij->pj", points - c2w[:3, 3], c2w[:3, :3])
    depths = local[:, 2]
    front = depths > 0
    uv = np.einsum("pi,ji->pj", local / np.where(front, depths, 1.0)[:, None], K)[:, :2]
    framed = uv.clip(0, (camera.width, camera.height))
    pixels = ndimage.map_coordinates(
        outline.distance, (framed[:, 1] - 0.5, framed[:, 0] - 0.5), order=1, mode="nearest"
    )
    beyond = np.linalg.norm(uv - framed, axis=-1)  # (P,) pixels
    focal = math.sqrt(K[0, 0] * K[1, 1])
    pixels = np.where(beyond > 0, np.maximum(pixels, 0) + beyond, pixels)
    cone = np.where(front, pixels * depths / focal, math.inf)
    in_frame = front & (beyond == 0)
    speaks = np.ones_like(front) if outline.whole else in_frame
    if outline.known is not None:
        row, column = framed[:, 1].astype(np.intp), framed[:, 0].astype(np.intp)
        known = outline.known[row.clip(max=camera.height - 1), column.clip(max=camera.width - 1)]
        speaks &= known | ~in_frame
    return np.where(speaks, cone, -math.inf), speaks
