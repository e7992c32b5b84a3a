"""Which of a sparse model's points are the object, and the box that holds them.

The cameras look at the object (the fixation constraint of Campbell et al. 2010, "Automatic 3D
object segmentation in multiple views using volumetric graph-cuts"); mostly it stands on a plane
that they all look down on. What rises from the plane near the point that they look at is it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import ransac

from multiview.scenes.readers.points import SparsePoints
from multiview.segmentation.photograph import Array, Mask, Photograph
from sdfrender.errors import InputError

# Lengths are fractions of the cameras' distance from the point that they look at.
NEAR = 1.0  # points farther from that point are not looked at
REACH = 0.6  # the object is nearer to it
FLAT = 0.008  # how far the plane's points lie off it
LIFT = 0.012  # how far the object's points rise from it, at least
CELL = 0.03  # points within a cell and its neighbours hang together
PADDING = 0.12  # of the box's longest side
LEAST_POINTS = 30  # that tell an object, or a plane
TRIALS = 2000


@dataclass(frozen=True, eq=False)
class Plane:
    """What the object stands on: `normal · x = offset`, the normal towards the cameras."""

    normal: Array
    offset: float

    def heights(self, points: Array) -> Array:
        """`[...]` of points `[..., 3]` above it, world units."""
        found: Array = points @ self.normal - self.offset
        return found


@dataclass(frozen=True, eq=False)
class Fixation:
    """Where the cameras look: a point `[3]`, and their median distance from it, world units."""

    point: Array
    distance: float


@dataclass(frozen=True, eq=False)
class ObjectBox:
    """A box about the object, its third axis along the plane's normal.

    Args:
        axes: `[3, 3]` unit vectors in its rows.
        lower, upper: `[3]` along the axes, world units.
        points: `[P, 3]` of the object.
    """

    axes: Array
    lower: Array
    upper: Array
    points: Array

    @property
    def corners(self) -> Array:
        """`[8, 3]` world units."""
        ends = np.stack((self.lower, self.upper))
        ids = np.indices((2, 2, 2)).reshape(3, 8).T
        found: Array = np.take_along_axis(ends, ids, 0) @ self.axes
        return found

    def grid(self, resolution: int) -> tuple[Array, float, tuple[int, ...]]:
        """Centres `[P, 3]` of cubic cells, their side, and how many along each axis."""
        size = self.upper - self.lower
        spacing = float(size.max()) / resolution
        counts = np.ceil(size / spacing).astype(int)
        cells = np.indices(tuple(counts.tolist())).reshape(3, -1).T + 0.5
        return (self.lower + cells * spacing) @ self.axes, spacing, tuple(counts.tolist())


def find_fixation(photographs: list[Photograph]) -> Fixation:
    """The point nearest to the cameras' optical axes, by least squares.

    Raises:
        InputError: axes that are parallel, or meet behind most cameras.
    """
    centers = np.stack([photo.center for photo in photographs])
    axes = np.stack([photo.c2w[:3, 2] for photo in photographs])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]  # (N, 3, 3)
    A = across.sum(0)
    if np.linalg.eigvalsh(A)[0] < 1e-3 * len(axes):
        raise InputError(
            "cameras: need photographs that look at the object from different directions, these "
            "all look the same way: give masks"
        )
    point = np.linalg.solve(A, np.einsum("nij,nj->i", across, centers))
    if np.median(((point - centers) * axes).sum(-1)) <= 0:
        raise InputError(
            "cameras: need photographs that look at one object, these look away from each other: "
            "give masks"
        )
    return Fixation(point, float(np.median(np.linalg.norm(centers - point, axis=-1))))


def find_plane(points: Array, photographs: list[Photograph], fixation: Fixation) -> Plane | None:
    """The plane with the most points that the cameras look down on, or None.

    It has to pass near the point that they look at, and all but a few of them are above it.

    Args:
        points: `[P, 3]` near that point.
        photographs: their cameras.
        fixation: where they look.
    """
    if len(points) < 2 * LEAST_POINTS:
        return None
    centers = np.stack([photo.center for photo in photographs])
    flat, distance = FLAT * fixation.distance, fixation.distance

    class Support:
        """A plane as `ransac` fits it."""

        def __init__(self, plane: Plane) -> None:
            self.plane = plane

        @classmethod
        def from_estimate(cls, data: Array) -> Support:
            middle = data.mean(0)
            *_, axes = np.linalg.svd(data - middle, full_matrices=False)
            normal = axes[2] * (1.0 if (centers - middle).mean(0) @ axes[2] >= 0 else -1.0)
            return cls(Plane(normal, float(normal @ middle)))

        def residuals(self, data: Array) -> Array:
            return np.abs(self.plane.heights(data))

    def supports(model: Support, *_: Array) -> bool:
        above = (model.plane.heights(centers) > 0.05 * distance).mean()
        return bool(above >= 0.9 and abs(model.plane.heights(fixation.point)) < 0.5 * distance)

    found, inliers = ransac(  # type: ignore[no-untyped-call]
        points, Support, 3, flat, is_model_valid=supports, max_trials=TRIALS, rng=0
    )
    if found is None or inliers.sum() < LEAST_POINTS:
        return None
    plane: Plane = found.plane
    return plane


def find_box(
    sparse: SparsePoints, photographs: list[Photograph], fixation: Fixation, plane: Plane | None
) -> ObjectBox:
    """The box of the cluster of points that the cameras look at.

    Raises:
        InputError: too few points near the point that they look at.
    """
    points = good_points(sparse)
    near = np.linalg.norm(points - fixation.point, axis=-1) < REACH * fixation.distance
    if plane is not None:
        near &= plane.heights(points) > LIFT * fixation.distance
    rising = points[near]
    if len(rising) < LEAST_POINTS:
        on = "above the plane" if plane is not None else "of the model"
        raise InputError(
            f"points: need {LEAST_POINTS} points {on} where the cameras look, got {len(rising)}: "
            "take more photographs of an object with more texture, or give masks"
        )
    cluster = rising[_nearest_cluster(rising, fixation)]
    normal = plane.normal if plane is not None else np.array([0.0, 0.0, 1.0])
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    first /= np.linalg.norm(first)
    axes = np.stack((first, np.cross(normal, first), normal))
    along = cluster @ axes.T
    lower, upper = np.percentile(along, (1, 99), axis=0)
    padding = PADDING * (upper - lower).max()
    lower, upper = lower - padding, upper + padding
    if plane is not None:
        lower[2] = max(lower[2], plane.offset)
    return ObjectBox(axes, lower, upper, cluster)


def good_points(sparse: SparsePoints) -> Array:
    """`[P, 3]` those that three views or more show within 1.5 pixels."""
    good = (sparse.views >= 3) & (sparse.errors < 1.5)
    return sparse.positions[good]


def _nearest_cluster(points: Array, fixation: Fixation) -> Mask:
    """`[P]` the points that hang together, many of them, near where the cameras look."""
    cells = np.floor((points - points.min(0)) / (CELL * fixation.distance)).astype(int) + 1
    filled = np.zeros(cells.max(0) + 2, bool)
    filled[tuple(cells.T)] = True
    labels, count = ndimage.label(filled, np.ones((3, 3, 3)))
    own = labels[tuple(cells.T)]
    scores = []
    for label in range(1, count + 1):
        part = points[own == label]
        away = np.linalg.norm(np.median(part, 0) - fixation.point) / (0.2 * fixation.distance)
        scores.append(len(part) / (1 + away**2))
    chosen: Mask = own == 1 + int(np.argmax(scores))
    return chosen
