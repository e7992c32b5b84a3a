"""The smooth visual hull."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.geometry.grid import Resolution
from sdfrender.geometry.lattice import Lattice
from sdfrender.hull.carving import farthest_cone, grid_to_carve
from sdfrender.hull.completed import completed
from sdfrender.hull.outlines import checked, outlines_of
from sdfrender.view.cameras import Cameras


def visual_hull(
    cameras: Cameras,
    silhouettes: Tensor,
    silhouette_weights: Tensor,
    resolution: Resolution,
    bounds: Tensor,
    least_views: int = 1,
) -> Lattice:
    """The smooth visual hull as a signed distance lattice. Not differentiable.

    Per vertex the maximum over views of the signed distance to the outline in the image, in pixels,
    times depth / focal length: near the surface that is the distance to the nearest cone of
    sight. Redistancing makes it one everywhere. Silhouettes that nearly all views cut a little go
    on beyond the frame (`sdfrender.hull.completed`).

    Args:
        cameras: N views.
        silhouettes: `[N, H, W]` coverage in [0, 1]; the outline is its level 0.5.
        silhouette_weights: `[N, H, W]` 1 where the silhouette is known, 0 where it is not.
        resolution: samples along the longest side, or along each axis.
        bounds: `[2, 3]` world box.
        least_views: what fewer views than this have in frame is outside.

    Raises:
        ValueError: shapes that do not belong together.
        InputError: no vertex of the box is inside all silhouettes.
    """
    silhouettes, known = checked(cameras, silhouettes, silhouette_weights)
    cameras, silhouettes, known = completed(cameras, silhouettes, known)
    coverage = torch.maximum(silhouettes, 1 - known)  # nothing is carved where it is not known
    outlines = outlines_of(coverage, torch.ones_like(known))
    box = torch.as_tensor(bounds, dtype=torch.float32)
    grid, points = grid_to_carve(resolution, box)
    # Where the outermost view changes the distance may jump: no vertex is taken to be farther away.
    far = 2 * float(grid.spacing.max())
    distances, views = farthest_cone(points, cameras, outlines, far)
    seen = views >= least_views
    values = np.where(seen, distances, far).clip(-far, far)  # what is not seen is outside
    hull = grid.with_values(torch.from_numpy(values).float().reshape(grid.resolution))
    if not bool((hull.values < 0).any()):
        raise InputError(
            f"silhouettes: need an object inside the box {box.tolist()}, but none of its "
            f"{'×'.join(map(str, hull.resolution))} vertices is inside all {len(cameras)} "
            "silhouettes (masks or cameras of another scene?)"
        )
    return hull.redistance()
