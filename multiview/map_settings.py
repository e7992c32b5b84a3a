"""What the user says of depth and normal maps; no library of numbers is loaded for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Frame = Literal["opengl", "opencv", "world"]
"""What normals are in: the camera's frame with y up and z back (opengl: those that look into the
camera are blue in a picture), with y down and z forward (opencv), or the scene's world."""
DepthScale = Literal["metric", "fit"]

FRAMES: tuple[Frame, ...] = get_args(Frame)
MILLIMETRE = 0.001  # nerfstudio's unit of stored depths, in a world in metres


@dataclass(frozen=True)
class MapSettings:
    """How to read the maps of a scene.

    Args:
        depth_scale: whether depths are in world units, or each map up to a scale and a shift.
        depth_unit: world units of a step of a 16-bit PNG, and of a number in a .npy file; None for
            what the scene states, else a thousandth.
        normal_frame: of normals.
    """

    depth_scale: DepthScale = "metric"
    depth_unit: float | None = None
    normal_frame: Frame = "opengl"
