"""Whether a point can be surface: do all views that look at it show colours that it can have?

A matte point has one colour from everywhere; under a light at the camera it has the colours that
one normal gives it. Space carving asks the same (Kutulakos and Seitz, IJCV 38(3), 2000). A view is
taken to show any colour from the darkest to the brightest of 3 × 3 pixels: no finer than surfaces
are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d

from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from sdfrender import Lighting, Rendering
from sdfrender.kernels.compiled import kernel, scalar
from sdfrender.kernels.light_terms import irradiance
from sdfrender.kernels.threads import run_all
from sdfrender.rendering.ops import pack_light

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

# Of an icosahedron's faces: 162 normals, one of which is within 10° of any; or 642, within 5°.
SPLITS, SPLITS_FREE = 2, 3
RINGS = np.radians((8.0, 4.0, 2.0, 1.0))  # around the best of them, and the best of those, …
ON_A_RING = 6  # normals
FEWEST = 4  # views that can tell anything
BELIEVED = 0.7  # of the views; the worst others look at something in front
SLOPE = 0.15  # cosine; views that see the surface flatter than this say nothing
CHUNK = 512  # points for a thread at a time


@dataclass(frozen=True, eq=False)
class Looks:
    """The ways in which a point of the surface may look: one for each normal.

    Args:
        lights: `[L, K, 4 + C]` rows of `sdfrender.kernels.light_terms`, an albedo within;
            L = 1 unless each view has its own light.
        normals: `[Q, 3]` unit, to begin the search for the best one with.
        rings: angles at which to search around it, radians.
        free: whether the albedo may be any, which leaves how colours change from view to view.
    """

    lights: Doubles
    normals: Doubles
    rings: Doubles
    free: bool

    @classmethod
    def under(cls, appearance: Appearance, targets: Targets) -> Looks:
        """Those that a colour and the light of some views allow.

        If all light is fixed to the scene, every constant colour is allowed: an estimated light is
        not what surfaces that are wrong should be judged by.
        """
        light, albedo = appearance.lighting(targets), appearance.albedo
        if light.headlight is None and not light.varies:
            constant = Lighting(ambient=torch.ones(albedo.shape[-1]), headlight=None)
            rows, _ = pack_light(constant, 1.0, albedo)
            return cls(rows.numpy(), np.array([[0.0, 0, 1]]), np.zeros(0), free=True)
        free = albedo.ndim > 1
        rows, _ = pack_light(light, torch.ones(albedo.shape[-1]) if free else albedo, albedo)
        ball = trimesh.creation.icosphere(SPLITS_FREE if free else SPLITS)
        normals = np.ascontiguousarray(ball.vertices)
        return cls(rows.numpy(), normals, RINGS[1:] if free else RINGS, free)


class Photographs:
    """What N views show, and how far they see.

    Args:
        targets: N views.
        out: renderings of the surface as it stands, of the same views.
    """

    def __init__(self, targets: Targets, out: Rendering) -> None:
        planes = targets.images.movedim(-1, 1)  # (N, C, H, W)
        self.brightest = _packed(max_pool2d(planes, 3, 1, 1))
        self.darkest = _packed(-max_pool2d(-planes, 3, 1, 1))
        usable = torch.minimum(targets.silhouettes, targets.image_weights) > 0.99
        depths = torch.where(out.hit_mask, out.depths, math.inf)
        self.depths = torch.where(usable, depths, -math.inf).float().numpy()
        cameras = targets.cameras
        self.eyes, self.Ks = (x.double().numpy() for x in (cameras.centers, cameras.Ks))
        self.rotations = cameras.c2w[:, :3, :3].double().contiguous().numpy()

    def consistency(
        self, points: Tensor, normals: Tensor, slack: Tensor, looks: Looks, threads: int
    ) -> Floats:
        """How far the views are from agreeing: root mean square over views, in units of colour.

        Not differentiable.

        Args:
            points: `[P, J, 3]` J places for the surface at each of P points.
            normals: `[P, 3]` unit, of the surface as it stands.
            slack: `[J]` world units; a view sees a place if the surface as it stands is at most so
                far in front of it.
            looks: what is allowed.
            threads: to work on.

        Returns:
            `[P, J]`, inf where fewer than `FEWEST` views see the place.
        """
        out = np.full(points.shape[:2], np.inf, np.float32)
        places, facing = points.double().numpy(), normals.double().numpy()
        reach = slack.double().numpy()

        def some(first: int) -> None:
            part = slice(first, first + CHUNK)
            fill_consistency(
                places[part],
                facing[part],
                reach,
                (self.eyes, self.rotations, self.Ks),
                (self.darkest, self.brightest, self.depths),
                (looks.lights, looks.normals, looks.rings, looks.free),
                out[part],
            )

        run_all(some, range(0, len(out), CHUNK), threads)
        return out


def _packed(planes: Tensor) -> Floats:
    """`[N, C, H, W]` as `[N, H, W, C]`."""
    packed: Floats = planes.movedim(1, -1).contiguous().float().numpy()
    return packed


@kernel
def fill_consistency(
    points: Any, normals: Any, slack: Any, cameras: Any, pictures: Any, looks: Any, out: Any
) -> None:
    """`Photographs.consistency` of `[P, J, 3]` points into `[P, J]`, which is inf before."""
    N, C = len(cameras[0]), pictures[0].shape[3]
    seen = (np.zeros(N, np.int64), np.zeros((N, 4)), np.zeros((N, C)), np.zeros((N, C)))
    room = (np.zeros((N, C)), np.zeros(N), np.zeros(N, np.bool_))
    for p in range(points.shape[0]):
        for j in range(points.shape[1]):
            views = _look(points[p, j], normals[p], slack[j], cameras, pictures, seen)
            if views >= FEWEST:
                out[p, j] = math.sqrt(_least_disagreement(views, seen, looks, room))


@scalar
def _least_disagreement(views: int, seen: Any, looks: Any, room: Any) -> float:
    """Of all normals: the best of a few, the best on rings around it, and so on."""
    lights, normals, rings, free = looks
    best, nx, ny, nz = np.inf, 0.0, 0.0, 1.0
    for q in range(len(normals)):
        x, y, z = normals[q, 0], normals[q, 1], normals[q, 2]
        off = _disagreement((x, y, z), views, seen, lights, free, room)
        if off < best:
            best, nx, ny, nz = off, x, y, z
    for angle in rings:
        # Two directions across the best normal so far.
        if abs(nx) < 0.6:
            ax, ay, az = 0.0, nz, -ny
        else:
            ax, ay, az = -nz, 0.0, nx
        length = math.sqrt(ax * ax + ay * ay + az * az)
        ax, ay, az = ax / length, ay / length, az / length
        bx, by, bz = ny * az - nz * ay, nz * ax - nx * az, nx * ay - ny * ax
        mx, my, mz = nx, ny, nz
        for k in range(ON_A_RING):
            turn = 2 * math.pi * k / ON_A_RING
            along, a, b = math.cos(angle), math.cos(turn), math.sin(turn)
            a, b = a * math.sin(angle), b * math.sin(angle)
            x = along * mx + a * ax + b * bx
            y = along * my + a * ay + b * by
            z = along * mz + a * az + b * bz
            off = _disagreement((x, y, z), views, seen, lights, free, room)
            if off < best:
                best, nx, ny, nz = off, x, y, z
    return best


@scalar
def _look(point: Any, normal: Any, slack: Any, cameras: Any, pictures: Any, seen: Any) -> int:
    """Collect the views that see a point; returns how many.

    `seen` is filled: `[N]` which view it is, `[N, 4]` direction to the eye and distance from it,
    then the least and the most that its colour can be, `[N, C]` each.
    """
    eyes, rotations, Ks = cameras
    darkest, brightest, depths = pictures
    which, towards, least, most = seen
    _, H, W = depths.shape
    count = 0
    for v in range(len(eyes)):
        x, y, z = point[0] - eyes[v, 0], point[1] - eyes[v, 1], point[2] - eyes[v, 2]
        R, K = rotations[v], Ks[v]
        depth = R[0, 2] * x + R[1, 2] * y + R[2, 2] * z
        distance = math.sqrt(x * x + y * y + z * z)
        facing = -(x * normal[0] + y * normal[1] + z * normal[2])
        if depth <= 0 or facing < SLOPE * distance:
            continue
        right = (R[0, 0] * x + R[1, 0] * y + R[2, 0] * z) / depth
        down = (R[0, 1] * x + R[1, 1] * y + R[2, 1] * z) / depth
        column = math.floor(K[0, 0] * right + K[0, 1] * down + K[0, 2])
        row = math.floor(K[1, 1] * down + K[1, 2])
        if column < 0 or row < 0 or column >= W or row >= H:
            continue
        if depth > depths[v, row, column] + slack:
            continue
        which[count] = v
        towards[count, 0] = -x / distance
        towards[count, 1] = -y / distance
        towards[count, 2] = -z / distance
        towards[count, 3] = distance
        for c in range(least.shape[1]):
            least[count, c] = darkest[v, row, column, c]
            most[count, c] = brightest[v, row, column, c]
        count += 1
    return count


@scalar
def _disagreement(normal: Any, views: int, seen: Any, lights: Any, free: bool, room: Any) -> float:
    """Mean squared distance of one look from what the views show, over those that are believed."""
    which, towards, least, most = seen
    colors, squares, dropped = room
    C = colors.shape[1]
    for v in range(views):
        ray = (-towards[v, 0], -towards[v, 1], -towards[v, 2])
        light = lights[which[v] % len(lights)]
        irradiance(light, normal, ray, towards[v, 3], colors[v])
        dropped[v] = False
    believed = max(FEWEST, math.ceil(BELIEVED * views))
    total = 0.0
    for _ in range(2 if free else 1):
        if free:
            _fit_albedo(views, seen, colors, dropped)
        total = 0.0
        for v in range(views):
            square = 0.0
            for c in range(C):
                off = max(least[v, c] - colors[v, c], colors[v, c] - most[v, c], 0.0)
                square += off * off
            squares[v], dropped[v] = square / C, False
            total += square / C
        for _ in range(views - believed):
            worst = -1
            for v in range(views):
                if not dropped[v] and (worst < 0 or squares[v] > squares[worst]):
                    worst = v
            dropped[worst] = True
            total -= squares[worst]
    return max(total, 0.0) / believed


@scalar
def _fit_albedo(views: int, seen: Any, colors: Any, dropped: Any) -> None:
    """Scale each channel of `[views, C]` colours to what the views show in the middle."""
    _, _, least, most = seen
    for c in range(colors.shape[1]):
        shown, given = 0.0, 1e-12
        for v in range(views):
            if not dropped[v]:
                shown += 0.5 * (least[v, c] + most[v, c]) * colors[v, c]
                given += colors[v, c] * colors[v, c]
        scale = shown / given
        for v in range(views):
            colors[v, c] *= scale
