"""DeepSDF in a report: unseen shapes whose codes are found, and the way between known ones."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from sdfrender import Cameras, InputError, Lattice
from sdfrender.latent.field import LatentField
from sdfrender.meshes.metrics import occupancy_iou
from sdfrender.meshes.mise import mise
from sdfrender.report.turntable import in_clay
from singleview.data.distances import Distances, is_warped
from singleview.data.samples import PADDED_BOX
from singleview.models.latent import find_code
from singleview.report.dots import draw_points
from singleview.report.gallery import SIZE, Gallery, Guess
from singleview.settings.choices import Split

SEEN = 4096  # points of a shape that its code is found from
CLOSE = 0.01  # distance of points that stand for the true surface
REACH = 0.03  # and of those that tell how it lies
NEIGHBOURS = 12  # of a point that do
COARSE = 32  # cells of the first grid; halved once
STRIPS, STEPS = 3, 7  # ways between known shapes, and pictures of each


class Family(Gallery):
    """A DeepSDF network, and shapes given as points with signed distances.

    Args:
        field: the network.
        distances: the shapes.
        split: theirs.
    """

    measure = "IoU at sampled points, most of them near the surface"

    def __init__(self, field: LatentField, distances: Distances, split: Split) -> None:
        self.field, self.split = field, split
        own = [i for i, name in enumerate(distances.names) if not is_warped(name)]
        self.distances = distances.subset(own)
        self.names = self.distances.names
        self.clamp = float(field.about.get("clamp", 0.1))

    def guess(self, i: int) -> Guess:
        """The shape whose code agrees best with the first points, judged at the others."""
        points, values = self.distances.points[i].float(), self.distances.values[i].float()
        seen, rest = slice(0, SEEN), slice(SEEN, None) if len(points) > SEEN else slice(None)
        code = find_code(self.field, points[seen], values[seen], self.clamp).code.detach()
        with torch.no_grad():
            inside = self.field(code[None], points[None, rest])[0] < 0
        solid = values[rest] < 0
        iou = float(occupancy_iou(inside, solid, axes=1))
        shown = draw_points(points[seen][values[seen].abs() < CLOSE], None, self.sides(i)[0])
        return Guess(shown, lattice_from_code(self.field, code), iou, iou)

    def truth(self, i: int) -> Tensor:
        """`[SIDES, H, W, 4]` points of the true surface, as far as distances around it tell."""
        cameras = self.sides(i)
        given = self.distances.points[i].float(), self.distances.values[i].float()
        points, normals = surface_near(*given)
        return torch.stack([draw_points(points, normals, cameras[k]) for k in range(len(cameras))])


@dataclass(frozen=True, eq=False)
class Strip:
    """The way from one known shape to another: `[STEPS, H, W, 4]` for a screen, with alpha."""

    start: str
    end: str
    pictures: Tensor


def strips(field: LatentField) -> list[Strip]:
    """Straight lines between the codes of some known shapes."""
    known = [k for k, name in enumerate(field.names) if not is_warped(name)]
    picked = [known[round(k * (len(known) - 1) / STRIPS)] for k in range(STRIPS + 1)]
    camera = Cameras.orbit(3, width=SIZE)[1]
    found = []
    for a, b in itertools.pairwise(picked):
        if a == b:
            continue
        codes = field.codes.detach()[[a, b]]
        way = [torch.lerp(codes[0], codes[1], t) for t in np.linspace(0, 1, STEPS).tolist()]
        shapes = [lattice_from_code(field, code) for code in way]
        empty = torch.zeros(SIZE, SIZE, 4)
        pictures = torch.stack([empty if x is None else in_clay(x, camera) for x in shapes])
        found.append(Strip(field.names[a], field.names[b], pictures))
    return found


def lattice_from_code(field: LatentField, code: Tensor) -> Lattice | None:
    """The shape of a code `[C]` in the padded box; None where it is empty."""
    try:
        return mise(field.field(code), PADDED_BOX, COARSE, 1).lattice.redistance()
    except InputError:
        return None


def surface_near(points: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Points of the surface, and its normals, from signed distances around it: both `[Q, 3]`.

    The gradient at a point is that of the linear function closest to its neighbours' distances.

    Args:
        points: `[P, 3]`.
        values: `[P]` signed distances.
    """
    close = values.abs() < REACH
    points, values = points[close], values[close]
    if len(points) < NEIGHBOURS:
        return points[:0], points[:0]
    near = torch.from_numpy(KDTree(points.numpy()).query(points.numpy(), NEIGHBOURS)[1])
    offsets, changes = points[near] - points[:, None], values[near] - values[:, None]
    scale = offsets.square().mean((1, 2))[:, None, None]
    matrix = offsets.mT @ offsets + 1e-3 * NEIGHBOURS * scale * torch.eye(3)  # (P, 3, 3)
    slopes = torch.linalg.solve(matrix, (offsets * changes[..., None]).sum(1))
    normals = torch.nn.functional.normalize(slopes, dim=1)
    kept = values.abs() < CLOSE
    return (points - values[:, None] * normals)[kept], normals[kept]
