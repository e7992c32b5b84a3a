"""The shape alone, from all around: which way is up, and pictures in clay."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from sdfrender import Cameras, Headlight, Lattice, Lighting, render
from sdfrender.report.pictures import for_display
from sdfrender.view.upright import upright_frame

FOV = math.radians(32)
DISTANCE = 3.2  # of the eye from the middle, in half diagonals of the box
ELEVATION = math.radians(20)
CLAY = (0.96, 0.93, 0.88)  # red, green, blue, of full scale
# For looking at shapes on a screen: no side is black, unlike in `STUDIO`, which pictures that a
# network or a fit reads are lit by.
AMBIENT, HEADLIGHT = 0.12, 0.85
CLAY_LIGHT = Lighting(ambient=AMBIENT, headlight=Headlight(HEADLIGHT))
TOGETHER = 16  # views rendered at once


def display_frame(cameras: Cameras) -> Tensor:
    """Rotation `[3, 3]` from the world to right, up and towards the viewer.

    Up is what the cameras agree on, y if they do not; the first camera looks from the front.
    """
    return upright_frame(cameras.c2w)


def around(lattice: Lattice, frame: Tensor, azimuths: Tensor, size: int) -> Cameras:
    """Cameras that see all of the lattice's box, from a little above.

    Args:
        lattice: what they look at.
        frame: `[3, 3]` rows: to the right, up and to the front, unit vectors of the world.
        azimuths: `[N]` radians about up; 0 is the front.
        size: of the square images, pixels.
    """
    low, high = lattice.bounds.double()
    middle, radius = (low + high) / 2, float((high - low).norm()) / 2
    a = azimuths.double()
    directions = torch.stack(
        (
            math.cos(ELEVATION) * a.sin(),
            torch.full_like(a, math.sin(ELEVATION)),
            math.cos(ELEVATION) * a.cos(),
        ),
        -1,
    )
    eyes = middle + DISTANCE * radius * directions @ frame
    up = tuple(frame[1].tolist())
    return Cameras.look_at(eyes, middle, up=up, width=size, fov=FOV)


def in_clay(lattice: Lattice, camera: Cameras) -> Tensor:
    """One picture `[H, W, 4]` for a screen, with alpha, not premultiplied."""
    return next(all_in_clay(lattice, camera))


def all_in_clay(lattice: Lattice, cameras: Cameras) -> Iterator[Tensor]:
    """What `in_clay` draws, from each of N cameras.

    Some views at a time: what the lattice needs to be seen at all is then made once for all.
    """
    for first in range(0, len(cameras), TOGETHER):
        with torch.no_grad():
            out = render(lattice, cameras[first : first + TOGETHER], lighting=CLAY_LIGHT)
        for image, silhouette in zip(out.images, out.silhouettes, strict=True):
            alpha = silhouette[..., None]
            color = (image / alpha.clamp(min=1e-6)).clamp(0, 1).expand(-1, -1, 3)
            yield torch.cat((for_display(color) * torch.tensor(CLAY), alpha), -1)
