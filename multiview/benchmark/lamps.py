"""Lamps that light painted meshes: those of a studio, of a turntable, or others in each view."""

from __future__ import annotations

import torch

from multiview.config import FixedTo
from sdfrender import Cameras, Lighting
from sdfrender.view.lighting import Directional

AMBIENT = 0.45  # of full scale: so much falls on every point
TO_LAMPS = ((0.3, 0.8, 0.5), (-0.7, 0.2, -0.4))  # world frame
FROM_THE_CAMERA = ((0.5, -0.7, -0.6), (-0.8, 0.1, -0.5))  # x right, y down, z forward
INTENSITIES = (0.45, 0.3)  # of the two lamps: with what is even 1.2, where both face a point
FIRST_SEED = 100  # of the first view's lamps, any


def lamps(fixed_to: FixedTo, cameras: Cameras) -> list[Lighting]:
    """What each of N cameras sees the object under.

    Args:
        fixed_to: the scene; the camera, which is what an object on a turntable is lit by; or view:
            lamps turned at random by some 40°, of half to one and a half times the intensity.
        cameras: N views.
    """
    if fixed_to == "scene":
        return [_lit_from(torch.tensor(TO_LAMPS))] * len(cameras)
    if fixed_to == "camera":
        rotations = cameras.c2w[:, :3, :3].double()
        return [_lit_from(torch.tensor(FROM_THE_CAMERA).double() @ R.T) for R in rotations]
    return [_at_random(FIRST_SEED + n) for n in range(len(cameras))]


def _lit_from(to_lamps: torch.Tensor, strength: torch.Tensor | None = None) -> Lighting:
    """An even light and two lamps, their intensities times `strength` `[2, 3]`."""
    intensities = torch.tensor(INTENSITIES)[:, None] * (1 if strength is None else strength)
    return Lighting(
        AMBIENT,
        headlight=None,
        directional=[Directional(v, i) for v, i in zip(to_lamps, intensities, strict=True)],
    )


def _at_random(seed: int) -> Lighting:
    random = torch.Generator().manual_seed(seed)
    to_lamps = torch.nn.functional.normalize(torch.tensor(TO_LAMPS), dim=-1)
    to_lamps = to_lamps + 0.5 * torch.randn(2, 3, generator=random)
    return _lit_from(to_lamps, 0.5 + torch.rand(2, 3, generator=random))
