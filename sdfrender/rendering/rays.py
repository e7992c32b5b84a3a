"""Rays of pixels, differentiable in the camera."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender.view.cameras import Cameras


@dataclass(frozen=True, eq=False)
class Rays:
    """R rays of one lattice batch, differentiable in the camera.

    Args:
        o: `[R, 3]` world.
        d: `[R, 3]` unit.
        footprints: `[R]` size of a pixel per unit of t, seen along the ray.
        lattice_ids: `[R]` which lattice each ray meets.
    """

    o: Tensor
    d: Tensor
    footprints: Tensor
    lattice_ids: Tensor

    def __getitem__(self, ids: Tensor) -> Rays:
        return Rays(*[x.index_select(0, ids) for x in vars(self).values()])

    @property
    def differentiable(self) -> bool:
        """A camera parameter asks for a gradient."""
        return self.o.requires_grad or self.d.requires_grad or self.footprints.requires_grad


def camera_rays(cameras: Cameras, B: int = 1) -> Rays:
    """All rays of B copies of the cameras, flattened; differentiable in the cameras."""
    o, d = cameras.rays()
    # A pixel is 1/√(fx fy) wide per unit of depth; depth is t times the cosine off the axis.
    cosines = torch.einsum("nhwi,ni->nhw", d, cameras.c2w[:, :3, 2])
    focal = (cameras.Ks[:, 0, 0] * cameras.Ks[:, 1, 1]).sqrt()
    footprints = cosines / focal[:, None, None]
    R = footprints.numel()
    ids = torch.arange(B, device=d.device).repeat_interleave(R)
    return Rays(
        o.reshape(-1, 3).repeat(B, 1),
        d.reshape(-1, 3).repeat(B, 1),
        footprints.flatten().repeat(B),
        ids,
    )
