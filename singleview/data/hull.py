"""The visual hull of an object seen by known cameras, carved with outlines to half a pixel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.geometry.lattice import Lattice
from sdfrender.hull.carving import farthest_cone, grid_to_carve
from sdfrender.hull.outlines import Outline, pixel_distance
from sdfrender.view.cameras import Cameras

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
    grid, points = grid_to_carve((resolution,) * 3, bounds.float())
    far = FAR * float(grid.spacing.max())
    distances = (pixel_distance(x) - np.float32(slack) for x in silhouettes.numpy())
    outlines = [Outline(x, whole) for x in distances]
    carved, views = farthest_cone(points, cameras, outlines, far)
    # what no view sees may be object
    values = torch.from_numpy(np.where(views > 0, carved, -far).clip(-far, far))
    values = values.float().reshape(grid.resolution)
    if not bool((values < 0).any()):
        raise InputError(f"silhouettes: no point of the box is inside all {len(cameras)} views")
    return grid.with_values(values).redistance()
