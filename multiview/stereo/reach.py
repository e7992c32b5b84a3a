"""How far an object reaches along the line of sight, where masks leave that open.

Views that are all on one side, of an object that leaves their frames, have masks that say nothing
of what is behind: the box of these masks is open there. Depths at which patches of photographs
agree do say it. Each of a few views is swept by planes that face it, from the near end of a box to
the far end; what agrees best is a point. The box keeps what is as far away as these points.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.stereo.matching import Matching, match
from multiview.stereo.pictures import INSIDE, Pictures
from sdfrender import Rendering
from sdfrender.hull.visual_hull import visual_hull

ONE_SIDE = 0.7  # length of the mean direction to the cameras: they are within some 45° of it
CUT = 0.7  # of what masks leave along the line of sight, at most: else they bound it themselves
COARSE = 48  # samples along the longest side of the hull of that box
SIZE, EVERY = 240, 5  # longer side of the photographs, and pixels between points, both in pixels
REFERENCES = 6  # views that are swept
PARTS, STEPS = 8, 24  # of a sweep, with other neighbours in frame; and depths in each of them
AGREEING, VIEWS = 0.8, 3  # ZNCC of a point at least, and neighbours with which it has that
FEWEST = 100  # points that tell a reach
TAIL, MARGIN = 0.05, 0.5  # points left out at both ends, and room beyond them, of the reach


def cut_to_reach(box: Tensor, targets: Targets) -> Tensor | None:
    """The part of the masks' box `[2, 3]` that photographs can be of; None if all of it can.

    Args:
        box: `[2, 3]` of the masks.
        targets: all training views.
    """
    away = normalize(targets.cameras.centers - box.mean(0), dim=-1).mean(0)
    if float(away.norm()) < ONE_SIDE:
        return None
    axis, known = -normalize(away, dim=0), targets.silhouette_weights
    least_views = len(targets.cameras) // 4 + 1
    hull = visual_hull(targets.cameras, targets.silhouettes, known, COARSE, box, least_views)
    inside = hull.vertices[hull.values < 0]
    if not len(inside):
        return None
    depth = inside @ axis
    nearest, farthest = float(depth.min()), float(depth.max())
    points = agreeing_points(targets, nearest, farthest, axis)
    if len(points) < FEWEST:
        return None
    low, high = np.quantile((points @ axis).numpy(), (TAIL, 1 - TAIL))
    room = MARGIN * (high - low)
    kept = (depth > low - room) & (depth < high + room)
    if high - low + 2 * room > CUT * (farthest - nearest) or not kept.any():
        return None
    padding = hull.spacing.max()
    return torch.stack((inside[kept].amin(0) - padding, inside[kept].amax(0) + padding))


def agreeing_points(targets: Targets, low: float, high: float, axis: Tensor) -> Tensor:
    """Points `[P, 3]` at which photographs agree, world units.

    Args:
        targets: all training views.
        low: where the sweep begins, along `axis` from the origin.
        high: where it ends.
        axis: `[3]` of unit length, away from the cameras.
    """
    shown = targets.within(SIZE)
    cameras = shown.cameras
    small = shown.resized(cameras.width // EVERY, cameras.height // EVERY)
    pictures, middle = Pictures.of(shown), 0.5 * (low + high) * axis
    some = take_turns(cameras, middle, REFERENCES)[0]
    _, rays = small.cameras.rays()
    edges = np.linspace(low, high, PARTS + 1)
    cell = float(edges[1] - edges[0]) / STEPS
    how = Matching(slack=math.inf, search=STEPS / 2, gain=0.0)
    scores = np.zeros(small.silhouettes.shape)
    best = np.full(small.silhouettes.shape, math.inf, np.float32)  # depths
    for place in 0.5 * (edges[1:] + edges[:-1]):
        z = (place - cameras.centers @ axis) / (cameras.c2w[:, :3, 2] @ axis)
        usable = (z > cell * STEPS)[:, None, None] & (small.silhouettes > INSIDE)
        depths = torch.where(usable, z[:, None, None], math.inf)
        plane = Rendering(small.images, small.silhouettes, depths, -rays, usable)
        found = match(small, pictures, plane, cell, how, middle, some)
        pixels = tuple(found.pixels.T)
        told = (found.score > scores[pixels]) & (found.used >= VIEWS)
        pixels = tuple(found.pixels[told].T)
        scores[pixels] = found.score[told]
        best[pixels] = depths.numpy()[pixels] + cell * found.shift[told]
    agreed = torch.from_numpy(scores >= AGREEING)
    return small.cameras.unproject(torch.from_numpy(best), agreed)
