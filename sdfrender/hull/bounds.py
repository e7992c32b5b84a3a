"""The box of the object that silhouettes show."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sdfrender.errors import InputError
from sdfrender.hull.carving import farthest_cone, grid_to_carve
from sdfrender.hull.completed import completed
from sdfrender.hull.outlines import Outline, checked, outlines_of
from sdfrender.view.cameras import Cameras

BOUNDS_PIXELS = 256  # longest side of the silhouettes that `bounds_from_masks` looks at
BOUNDS_RESOLUTION = 48  # samples along the longest side of the box it searches


def bounds_from_masks(
    cameras: Cameras, silhouettes: Tensor, silhouette_weights: Tensor, padding: float = 0.08
) -> Tensor:
    """The world box of the object that the silhouettes show.

    A coarse visual hull in a cube about the point nearest to the lines of sight through the middle
    of each silhouette; twice again in the box of what was found. Only points count that more than a
    quarter of the views speak of, in frame and where their silhouettes are known, so that the space
    outside most frames is not taken for the object. Silhouettes that nearly all views cut a little
    go on beyond the frame (`sdfrender.hull.completed`).

    Args:
        cameras: N ≥ 2 views.
        silhouettes: `[N, H, W]` coverage in [0, 1].
        silhouette_weights: `[N, H, W]` 1 where the silhouette is known, 0 where it is not.
        padding: margin on every side, as a fraction of the longest side.

    Returns:
        `[2, 3]` float32, world units.

    Raises:
        ValueError: shapes that do not belong together.
        InputError: lines of sight that do not meet, or no point inside all silhouettes.
    """
    masks = checked(cameras, silhouettes, silhouette_weights)
    cameras, silhouettes, weights = completed(cameras, *masks)
    cameras = cameras.to(torch.zeros((), dtype=torch.float32))
    views, small, known = made_small(BOUNDS_PIXELS, cameras, silhouettes, weights)
    outlines = outlines_of(small, known)
    box = search_cube(views, small * known)
    needed = max(2, int((known > 0).flatten(1).any(1).sum()) // 4 + 1)
    for _ in range(4):  # until the cube holds all of it
        found, inside = _occupied(box, views, outlines, needed)
        if inside:
            break
        box = box.mean(0) + 1.6 * (box - box.mean(0))
    for _ in range(2):
        found, _ = _occupied(found, views, outlines, needed)
    margin = padding * (found[1] - found[0]).max()
    return torch.stack((found[0] - margin, found[1] + margin))


def made_small(
    longest: int, cameras: Cameras, silhouettes: Tensor, weights: Tensor
) -> tuple[Cameras, Tensor, Tensor]:
    """N cameras, their silhouettes and weights `[N, H, W]`, no side over `longest` pixels."""
    scale = min(1.0, longest / max(cameras.width, cameras.height))
    width, height = (max(1, round(n * scale)) for n in (cameras.width, cameras.height))
    small, known = (
        interpolate(x[:, None], (height, width), mode="area")[:, 0] for x in (silhouettes, weights)
    )
    return cameras.resized(width, height), small, known


def search_cube(cameras: Cameras, coverage: Tensor) -> Tensor:
    """`[2, 3]` a cube that should hold the object.

    Centred where the lines of sight through the silhouettes' centroids come closest to each other
    (least squares); its half side is 1.5 times the largest half extent that any view shows there.
    Views that show nothing have no part in it.

    Args:
        cameras: N views.
        coverage: `[N, H, W]` of the object, 0 where it is not known.

    Raises:
        InputError: lines of sight that are parallel, or meet behind all cameras; cameras that are
            all in one place.
    """
    shown = (coverage > 0.5).flatten(1).any(1)
    cameras, coverage = cameras[shown], coverage[shown]
    N = len(cameras)
    solid = (coverage > 0.5).double()
    v, u = torch.meshgrid(
        *(torch.arange(n).double() + 0.5 for n in coverage.shape[1:]), indexing="ij"
    )
    area = solid.sum((1, 2)).clamp(min=1)
    centroids = torch.stack(((solid * u).sum((1, 2)), (solid * v).sum((1, 2))), -1) / area[:, None]
    Ks, c2w = cameras.Ks.detach().double(), cameras.c2w.detach().double()
    homogeneous = torch.cat((centroids, torch.ones(N, 1, dtype=torch.float64)), -1)
    d = torch.einsum("nij,nj->ni", c2w[:, :3, :3] @ torch.linalg.inv(Ks), homogeneous)
    d = d / d.norm(dim=-1, keepdim=True)
    across = torch.eye(3, dtype=torch.float64) - d[:, :, None] * d[:, None, :]  # (N, 3, 3)
    A, b = across.sum(0), (across @ c2w[:, :3, 3:]).sum(0)
    if not N or float(torch.linalg.eigvalsh(A)[0]) < 1e-6 * N:
        raise InputError(
            "cameras: need lines of sight in different directions to find the object, all "
            f"{N} are parallel: state the bounds"
        )
    places = c2w[:, :3, 3]
    apart = float((places - places.mean(0)).norm(dim=-1).max())
    if not apart > 1e-9 * float(places.abs().max()):
        raise InputError(
            f"cameras: need pictures from different places, all {N} cameras are at "
            f"{[round(x, 6) for x in places.mean(0).tolist()]}"
        )
    center = torch.linalg.solve(A, b)[:, 0]
    depths = ((center - c2w[:, :3, 3]) * c2w[:, :3, 2]).sum(-1)
    if not bool((depths > 0).any()):
        raise InputError("cameras: need views towards one object, but their lines of sight diverge")
    reach = torch.hypot(u - centroids[:, 0, None, None], v - centroids[:, 1, None, None])
    extents = (solid * reach).amax((1, 2)) * depths.clamp(min=0) / Ks[:, 0, 0]
    half = 1.5 * extents.max()
    box = torch.stack((center - half, center + half)).float()
    if not bool((box[1] > box[0]).all()):
        raise InputError(
            "cameras: need pictures from different places, their lines of sight meet where they "
            f"are, at {[round(x, 6) for x in center.tolist()]}"
        )
    return box


def _occupied(
    box: Tensor, cameras: Cameras, outlines: list[Outline], needed: int
) -> tuple[Tensor, bool]:
    """Box of the coarse hull in `box`, grown by half a cell; whether it keeps off all faces."""
    grid, points = grid_to_carve(BOUNDS_RESOLUTION, box)
    h = grid.spacing
    reach = 0.5 * float(h.norm())  # half a cell's diagonal: parts thinner than a cell are found too
    distances, views = farthest_cone(points, cameras, outlines, reach)
    ids = np.argwhere(((distances <= reach) & (views >= needed)).reshape(grid.resolution))
    if not len(ids):
        raise InputError(
            f"silhouettes: need an object that {needed} views or more see, but no point is inside "
            f"all {len(cameras)} silhouettes (masks or cameras of another scene?)"
        )
    first, last = torch.from_numpy(ids.min(0)), torch.from_numpy(ids.max(0))
    found = torch.stack((box[0] + (first - 0.5) * h, box[0] + (last + 0.5) * h))
    return found, bool((first > 0).all() and (last + 1 < torch.tensor(grid.resolution)).all())
