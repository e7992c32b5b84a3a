"""Where the cameras of a rendered dataset stand. All look at the origin; y is up."""

from __future__ import annotations

import math

import torch

from sdfrender.view.cameras import Cameras
from singleview.settings.choices import RigName

# Degrees above the horizon, in turn. From below one sees the underside of a table, from high up the
# floor of a cup; from one elevation neither.
ELEVATIONS_DEG = (35.0, -25.0, 65.0, 10.0)
# The ball of radius 1.09 about the origin fills the picture.
DISTANCE = 3.2
FOV_DEG = 40.0

# SDFDiff's single-view cameras are 3 above the middle of a box [-2, 2]³ and 4 away from its axis,
# with a field of view of 60°; here the box is half as large.
PAPER_HEIGHT = 1.5
PAPER_RADIUS = 2.0
PAPER_FOV_DEG = 60.0


def rig_cameras(rig: RigName, views: int, size: int) -> Cameras:
    """`views` cameras at even azimuths, the first on the side of +z.

    Args:
        rig: `"elevations"`: the elevations take turns from azimuth to azimuth. `"paper"`: one ring,
            SDFDiff's.
        views: V; with 24 the azimuths are 15° apart.
        size: pixels on a side.

    Worked value: view 0 of `"paper"` has its eye at (0, 1.5, 2).
    """
    azimuths = torch.arange(views, dtype=torch.float64) * (2 * math.pi / views)
    if rig == "paper":
        heights = torch.full_like(azimuths, PAPER_HEIGHT)
        radii = torch.full_like(azimuths, PAPER_RADIUS)
        fov = math.radians(PAPER_FOV_DEG)
    else:
        turns = torch.arange(views) % len(ELEVATIONS_DEG)
        elevations = torch.tensor(ELEVATIONS_DEG, dtype=torch.float64).deg2rad()[turns]
        heights, radii = DISTANCE * elevations.sin(), DISTANCE * elevations.cos()
        fov = math.radians(FOV_DEG)
    eyes = torch.stack((radii * azimuths.sin(), heights, radii * azimuths.cos()), -1)  # (V, 3)
    return Cameras.look_at(eyes, width=size, fov=fov)
