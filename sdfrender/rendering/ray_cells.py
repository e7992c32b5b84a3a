"""Points on rays in the cells of a lattice: φ and its derivatives there, and the nearest face.

`o + t·d` moves with the camera at a fixed distance `t`; autograd follows it, and the lattice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.sampling import sample
from sdfrender.geometry.trilinear import gather_corners
from sdfrender.rendering.rays import Rays


def value_at(lattice: Lattice, rays: Rays, t: Tensor) -> Tensor:
    """`[E]` φ at distance `t` along each ray, differentiable in values and camera."""
    field = lattice.values.reshape(-1, *lattice.resolution, 1)
    index = lattice.to_index(rays.o + t[:, None] * rays.d)
    return sample(field, index, rays.lattice_ids)[:, 0]


def past_face(lattice: Lattice, rays: Rays, t0: Tensor) -> Tensor:
    """`[E]` how far past the nearest face between cells a moving camera carries a point.

    `(x(θ) − x0)·n / (d·n)` with n the face's normal: zero in value, differentiable in the camera.
    """
    x, d = rays.o + t0[:, None] * rays.d, rays.d.detach()
    axis = face_axis(lattice, x.detach(), d)[:, None]
    return ((x - x.detach()).gather(1, axis) / d.gather(1, axis))[:, 0]


def face_axis(lattice: Lattice, points: Tensor, d: Tensor) -> Tensor:
    """`[E]` normal axis of the face between cells that rays `d` cross nearest to `points`."""
    index = lattice.to_index(points)
    return (
        ((index - index.round()).abs() * lattice.spacing / d.abs()).nan_to_num(torch.inf).argmin(-1)
    )


@dataclass(frozen=True, eq=False)
class Cell:
    """The cell around each of E points and where the point is in it; all of it differentiable.

    Args:
        corners: `[E, 2, 2, 2]` values.
        f: `[E, 3]` position in the cell, 0 … 1.
        spacing: `[3]`.
    """

    corners: Tensor
    f: Tensor
    spacing: Tensor

    @classmethod
    def at(cls, lattice: Lattice, rays: Rays, t: Tensor) -> Cell:
        """The cell at distance `t` `[E]`, world units, along each ray."""
        index = lattice.to_index(rays.o + t[:, None] * rays.d)
        field = lattice.values.reshape(-1, *lattice.resolution, 1)
        fixed = index.detach()
        corners, f = gather_corners(field, fixed, rays.lattice_ids)
        # a point on the box's face may be rounded to its outside, where clamping has no derivative
        return cls(corners.reshape(-1, 2, 2, 2), f + (index - fixed), lattice.spacing)

    def value(self) -> Tensor:
        """`[E]` φ."""
        x, y, z = self.f.unbind(-1)
        return _lerp(_lerp(_lerp(self.corners, x), y), z)

    def gradient(self) -> Tensor:
        """`[E, 3]` ∇φ inside the cell, world units."""
        c, (x, y, z) = self.corners, self.f.unbind(-1)
        dx = _lerp(_lerp(c[:, 1] - c[:, 0], y), z)
        dy = _lerp(_lerp(c[:, :, 1] - c[:, :, 0], x), z)
        dz = _lerp(_lerp(c[..., 1] - c[..., 0], x), y)
        return torch.stack((dx, dy, dz), -1) / self.spacing

    def second_derivative(self, d: Tensor) -> Tensor:
        """`[E]` second derivative of φ along `d` `[E, 3]`; not differentiable."""
        c, (x, y, z) = self.corners.detach(), self.f.detach().unbind(-1)
        u, v, w = (d / self.spacing).unbind(-1)
        cx, cy = c[:, 1] - c[:, 0], c[:, :, 1] - c[:, :, 0]
        xy = _lerp(cx[:, 1] - cx[:, 0], z)
        xz = _lerp(cx[..., 1] - cx[..., 0], y)
        yz = _lerp(cy[..., 1] - cy[..., 0], x)
        return 2 * (u * v * xy + u * w * xz + v * w * yz)


def _lerp(c: Tensor, f: Tensor) -> Tensor:
    """Blend the first axis after E of `c` `[E, 2, ...]` by `f` `[E]`."""
    f = f.reshape(-1, *[1] * (c.ndim - 2))
    return c[:, 0] + (c[:, 1] - c[:, 0]) * f
