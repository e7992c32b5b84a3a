"""What an observation says by itself: an alpha shape of a cloud, a trilinear grid of voxels.

Each has one number, chosen for the best mean IoU over training objects, and for nothing else.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError
from torch import Tensor
from torch.nn.functional import grid_sample

from sdfrender.geometry.mesh_files import Doubles
from sdfrender.meshes.metrics import occupancy_iou
from singleview.data.objects import LONGEST_SIDE
from singleview.evaluate.occupancy_baselines import OccupancyMethod, PredictedOccupancy
from singleview.models.observations import Observer

TRAINED_ON = 60  # training objects, evenly chosen, that the number is chosen on
POINTS = 4000  # of each
ALPHAS = LONGEST_SIDE * np.geomspace(0.02, 0.6, 36)  # radii that are tried, canonical units
LEVELS = np.linspace(0.02, 0.98, 49)  # of a grid that are tried


def alpha_shape(judged: Observer, train: Observer, count: int) -> OccupancyMethod:
    """What a ball of radius α cannot roll into, from outside, between the points of the cloud.

    Edelsbrunner and Mücke, "Three-dimensional alpha shapes", 1994; cavities are filled, as the
    points are those of a surface.
    """
    alpha = best(train, radii_at, ALPHAS, lambda radii, a: radii < a)

    def guess(i: int, seed: int) -> PredictedOccupancy:
        points = judged.samples.points[i, :count]
        return PredictedOccupancy(radii_at(judged, i, seed, points) < alpha)

    return OccupancyMethod(f"alpha shape (α = {alpha / LONGEST_SIDE:.3f})", guess)


def trilinear_grid(judged: Observer, train: Observer, count: int) -> OccupancyMethod:
    """The input's voxels, interpolated trilinearly between their middles, above a level."""
    level = best(train, shares_at, LEVELS, lambda shares, t: shares > t)

    def guess(i: int, seed: int) -> PredictedOccupancy:
        points = judged.samples.points[i, :count]
        return PredictedOccupancy(shares_at(judged, i, seed, points) > level)

    return OccupancyMethod(f"the input's voxels, trilinear (above {level:.2f})", guess)


def best(
    train: Observer,
    values_at: Callable[[Observer, int, int, Tensor], Tensor],
    tried: Sequence[float] | NDArray[np.float64],
    inside: Callable[[Tensor, float], Tensor],
) -> float:
    """The number with the best mean IoU over training objects."""
    N = len(train.samples)
    chosen = np.unique(np.linspace(0, N - 1, min(N, TRAINED_ON)).round().astype(int)).tolist()
    scores = np.zeros((len(chosen), len(tried)))
    for row, i in enumerate(chosen):
        values = values_at(train, i, 0, train.samples.points[i, :POINTS])
        true = train.samples.inside[i, :POINTS]
        scores[row] = [float(occupancy_iou(inside(values, t), true, axes=1)) for t in tried]
    return float(tried[int(scores.mean(0).argmax())])


def radii_at(seen: Observer, i: int, seed: int, points: Tensor) -> Tensor:
    """`[P]` the radius of the largest ball that rolls from outside to each point, past a cloud.

    Infinite outside of the convex hull, and everywhere for a cloud that has no volume.
    """
    cloud = seen.fixed(i, seed)
    assert cloud is not None
    radii = np.full(len(points), np.inf)
    try:
        cells = Delaunay(cloud[0].double().numpy())
    except QhullError:
        return torch.from_numpy(radii)
    found = cells.find_simplex(points.double().numpy())
    radii[found >= 0] = entry_radii(cells)[found[found >= 0]]
    return torch.from_numpy(radii)


def entry_radii(cells: Delaunay) -> Doubles:
    """`[T]` of each tetrahedron the largest radius that gets there from outside through faces.

    A ball gets through a face whose circumscribed circle is larger. The best way is found as
    Dijkstra's, with the least radius on the way in place of a sum.
    """
    corners = cells.points[cells.simplices]  # (T, 4, 3)
    faces = [triangle_radii(corners[:, [n for n in range(4) if n != k]]) for k in range(4)]
    radii = np.stack(faces, 1)  # (T, 4); face k lies opposite of corner k
    heap = [(-radii[t, k], t) for t, k in np.argwhere(cells.neighbors < 0).tolist()]
    heapq.heapify(heap)
    entered = np.full(len(corners), -1.0)
    while heap:
        least, t = heapq.heappop(heap)
        if entered[t] >= 0:
            continue
        entered[t] = -least
        for k, other in enumerate(cells.neighbors[t].tolist()):
            if other >= 0 and entered[other] < 0:
                heapq.heappush(heap, (-min(-least, radii[t, k]), other))
    return entered


def triangle_radii(corners: Doubles) -> Doubles:
    """`[T]` radii of the circles through the corners `[T, 3, 3]` of triangles; inf of flat ones.

    Worked value: of an equilateral triangle of edge 1, 1/√3.
    """
    sides = [np.linalg.norm(corners[:, k] - corners[:, k - 1], axis=-1) for k in range(3)]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1
    )
    radii: Doubles = np.where(
        area > 1e-14, np.prod(sides, 0) / (2 * np.maximum(area, 1e-14)), np.inf
    )
    return radii


def shares_at(seen: Observer, i: int, seed: int, points: Tensor) -> Tensor:
    """`[P]` what object i's voxels say at points `[P, 3]`, interpolated between their middles."""
    grid = seen.fixed(i, seed)
    assert grid is not None
    where = (points.float() / seen.half).flip(-1)[None, :, None, None]
    found = grid_sample(grid[None].float(), where, padding_mode="border", align_corners=False)
    return found[0, 0, :, 0, 0]
