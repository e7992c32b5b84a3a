"""The visual hull: the largest shape that all silhouettes allow, and the box that holds it.

A silhouette that keeps off the edge of the frame shows the whole object: what projects outside the
frame, or lies behind the camera, is not object. One that reaches the edge is cut there: such a view
says nothing about points outside its frame. Nor does any view where its silhouette weight is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate

from sdfrender.errors import InputError
from sdfrender.geometry.grid import Resolution
from sdfrender.geometry.lattice import Lattice
from sdfrender.view.cameras import Cameras

BOUNDS_PIXELS = 256  # longest side of the silhouettes that `bounds_from_masks` looks at
BOUNDS_RESOLUTION = 48  # samples along the longest side of the box it searches
CHUNK = 1 << 20  # points projected at a time

Floats = NDArray[np.float32] | NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Outline:
    """A silhouette's edge.

    Args:
        distance: `[H, W]` signed distance to it, pixels.
        whole: whether all of the object is in frame.
        known: `[H, W]` where the silhouette says anything, None for everywhere.
    """

    distance: Floats
    whole: bool
    known: Mask | None = None


def visual_hull(
    cameras: Cameras,
    silhouettes: Tensor,
    silhouette_weights: Tensor,
    resolution: Resolution,
    bounds: Tensor,
) -> Lattice:
    """The smooth visual hull as a signed distance lattice. Not differentiable.

    Per vertex the maximum over views of the signed distance to the outline in the image, in pixels,
    times depth / focal length: near the surface that is the distance to the nearest cone of
    sight. Redistancing makes it one everywhere.

    Args:
        cameras: N views.
        silhouettes: `[N, H, W]` coverage in [0, 1]; the outline is its level 0.5.
        silhouette_weights: `[N, H, W]` 1 where the silhouette is known, 0 where it is not.
        resolution: samples along the longest side, or along each axis.
        bounds: `[2, 3]` world box.

    Raises:
        ValueError: shapes that do not belong together.
        InputError: no vertex of the box is inside all silhouettes.
    """
    silhouettes, known = _checked(cameras, silhouettes, silhouette_weights)
    coverage = torch.maximum(silhouettes, 1 - known)  # nothing is carved where it is not known
    outlines = _outlines(coverage, torch.ones_like(known))
    box = torch.as_tensor(bounds, dtype=torch.float32)
    grid = _grid(resolution, box)
    # Where the outermost view changes the distance may jump: no vertex is taken to be farther away.
    far = 2 * float(grid.spacing.max())
    distances, views = _farthest_outline(_points(grid), cameras, outlines, far)
    values = np.where(views > 0, distances, far).clip(-far, far)  # what no view sees is outside
    hull = grid.with_values(torch.from_numpy(values).float().reshape(grid.resolution))
    if not bool((hull.values < 0).any()):
        raise InputError(
            f"silhouettes: need an object inside the box {box.tolist()}, but none of its "
            f"{'×'.join(map(str, hull.resolution))} vertices is inside all {len(cameras)} "
            "silhouettes (masks or cameras of another scene?)"
        )
    return hull.redistance()


def bounds_from_masks(
    cameras: Cameras, silhouettes: Tensor, silhouette_weights: Tensor, padding: float = 0.08
) -> Tensor:
    """The world box of the object that the silhouettes show.

    A coarse visual hull in a cube about the point nearest to the lines of sight through the middle
    of each silhouette; twice again in the box of what was found. Only points count that more than a
    quarter of the views speak of, in frame and where their silhouettes are known, so that the space
    outside most frames is not taken for the object.

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
    masks = _checked(cameras, silhouettes, silhouette_weights)
    scale = min(1.0, BOUNDS_PIXELS / max(cameras.width, cameras.height))
    width, height = round(cameras.width * scale), round(cameras.height * scale)
    small, known = (interpolate(x[:, None], (height, width), mode="area")[:, 0] for x in masks)
    views = cameras.to(torch.zeros((), dtype=torch.float32)).resized(width, height)
    outlines = _outlines(small, known)
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


def _grid(resolution: Resolution, box: Tensor) -> Lattice:
    """An empty lattice, for its vertices."""
    return Lattice.from_function(lambda p: torch.zeros(p.shape[:-1]), resolution, box)


def _points(grid: Lattice) -> Floats:
    points: Floats = grid.vertices.reshape(-1, 3).numpy()
    return points


def _outlines(silhouettes: Tensor, weights: Tensor) -> list[_Outline]:
    """The outlines of N views; coverage counts as 1 where it is not known."""
    return [_outline(*view) for view in zip(silhouettes, weights, strict=True)]


def _outline(silhouette: Tensor, weights: Tensor) -> _Outline:
    coverage = torch.maximum(silhouette, 1 - weights)
    edge = torch.cat((coverage[0], coverage[-1], coverage[:, 0], coverage[:, -1]))
    whole = bool((edge < 0.5).all())
    says = torch.maximum(silhouette, weights) >= 0.5
    known = None if bool(says.all()) else says.numpy()
    return _Outline(outline_distance(coverage).numpy(), whole, known)


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


def _checked(
    cameras: Cameras, silhouettes: Tensor, silhouette_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Both as float32 on the CPU, `[N, H, W]` as the cameras have it."""
    size = (len(cameras), cameras.height, cameras.width)
    for name, x in (("silhouettes", silhouettes), ("silhouette_weights", silhouette_weights)):
        if x.shape != size:
            raise ValueError(f"{name}: need {list(size)} as the cameras have, got {list(x.shape)}")
    return silhouettes.detach().float().cpu(), silhouette_weights.detach().float().cpu()


def _farthest_outline(
    points: Floats, cameras: Cameras, outlines: list[_Outline], enough: float
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
            cone, speaks = _cone_distance(points[open_ids], cameras[n], outline)
            farthest = np.maximum(distances[open_ids], cone)
            distances[open_ids] = farthest
            views[open_ids] += speaks
            open_ids = open_ids[farthest <= enough]
    return distances, views


def _cone_distance(points: Floats, camera: Cameras, outline: _Outline) -> tuple[Floats, Mask]:
    """One view's signed distances `[P]` in world units, −inf where it says nothing; `[P]` whether.

    Outside the frame of a whole silhouette the way back to the frame is added.
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
    cone = np.where(front, (pixels + beyond) * depths / focal, math.inf)
    in_frame = front & (beyond == 0)
    speaks = np.ones_like(front) if outline.whole else in_frame
    if outline.known is not None:
        row, column = framed[:, 1].astype(np.intp), framed[:, 0].astype(np.intp)
        known = outline.known[row.clip(max=camera.height - 1), column.clip(max=camera.width - 1)]
        speaks &= known | ~in_frame
    return np.where(speaks, cone, -math.inf), speaks


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
    for n, outline in enumerate(_outlines(*_checked(cameras, silhouettes, weights))):
        for start in range(0, len(points), CHUNK):
            part = slice(start, start + CHUNK)
            outside[n, part] = _cone_distance(points[part], cameras[n], outline)[0] > reach
    return outside


def search_cube(cameras: Cameras, coverage: Tensor) -> Tensor:
    """`[2, 3]` a cube that should hold the object.

    Centred where the lines of sight through the silhouettes' centroids come closest to each other
    (least squares); its half side is 1.5 times the largest half extent that any view shows there.
    Views that show nothing have no part in it.

    Args:
        cameras: N views.
        coverage: `[N, H, W]` of the object, 0 where it is not known.

    Raises:
        InputError: lines of sight that are parallel, or meet behind all cameras.
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
    center = torch.linalg.solve(A, b)[:, 0]
    depths = ((center - c2w[:, :3, 3]) * c2w[:, :3, 2]).sum(-1)
    if not bool((depths > 0).any()):
        raise InputError("cameras: need views towards one object, but their lines of sight diverge")
    reach = torch.hypot(u - centroids[:, 0, None, None], v - centroids[:, 1, None, None])
    extents = (solid * reach).amax((1, 2)) * depths.clamp(min=0) / Ks[:, 0, 0]
    half = 1.5 * extents.max()
    return torch.stack((center - half, center + half)).float()


def _occupied(
    box: Tensor, cameras: Cameras, outlines: list[_Outline], needed: int
) -> tuple[Tensor, bool]:
    """Box of the coarse hull in `box`, grown by half a cell; whether it keeps off all faces."""
    grid = _grid(BOUNDS_RESOLUTION, box)
    h = grid.spacing
    reach = 0.5 * float(h.norm())  # half a cell's diagonal: parts thinner than a cell are found too
    distances, views = _farthest_outline(_points(grid), cameras, outlines, reach)
    ids = np.argwhere(((distances <= reach) & (views >= needed)).reshape(grid.resolution))
    if not len(ids):
        raise InputError(
            f"silhouettes: need an object that {needed} views or more see, but no point is inside "
            f"all {len(cameras)} silhouettes (masks or cameras of another scene?)"
        )
    first, last = torch.from_numpy(ids.min(0)), torch.from_numpy(ids.max(0))
    found = torch.stack((box[0] + (first - 0.5) * h, box[0] + (last + 0.5) * h))
    return found, bool((first > 0).all() and (last + 1 < torch.tensor(grid.resolution)).all())
