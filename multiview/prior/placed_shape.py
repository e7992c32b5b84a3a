"""A shape of a learned family, somewhere in a scene: its lattice, and the derivative of that.

Notation: a point `x` of the scene is `p = Rᵀ (x − c) / s` in the family's canonical frame, and the
signed distance there is `φ(x) = s f(z, p)` with `f` the decoder and `z` the code. The unknowns are
the code, then seven of the placement: a small rotation ω about c, `log s`, and c in units of s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from multiview.scenes.corrections import rotation_matrices
from sdfrender import Lattice
from sdfrender.geometry.grid import grid_points
from sdfrender.latent.field import CHUNK, LatentField
from sdfrender.magnitude import LARGEST

PLACEMENT = 7  # unknowns of a placement


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the canonical frame is in the scene.

    Args:
        rotation: `[3, 3]` R, canonical to world.
        scale: `[]` s, world units per canonical unit.
        center: `[3]` c, the canonical origin, world units.
    """

    rotation: Tensor
    scale: Tensor
    center: Tensor

    def to_canonical(self, points: Tensor) -> Tensor:
        """World points `[P, 3]` in the canonical frame."""
        return (points - self.center) @ self.rotation / self.scale

    def moved(self, step: Tensor) -> Placement:
        """After a change `[7]`: ω, log s, and c in units of s."""
        turn = rotation_matrices(step[None, :3])[0]
        return Placement(
            turn @ self.rotation,
            self.scale * step[3].exp(),
            self.center + self.scale * step[4:],
        )

    def columns(self, points: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
        """`∂φ/∂(ω, log s, c/s)`: `[P, 7]`.

        Args:
            points: `[P, 3]` world.
            values: `[P]` f there.
            slopes: `[P, 3]` ∇f there, canonical frame.
        """
        arms = points - self.center
        n = slopes @ self.rotation.T  # world frame
        growth = self.scale * values - (n * arms).sum(-1)
        return torch.cat((-torch.linalg.cross(arms, n), growth[:, None], -self.scale * n), 1)

    def description(self) -> dict[str, Any]:
        """As JSON."""
        return {name: x.tolist() for name, x in vars(self).items()}

    @classmethod
    def from_description(cls, found: dict[str, Any]) -> Placement:
        """What `description` was made of.

        Raises:
            ValueError: numbers that are those of no place.
        """
        shapes = {"rotation": (3, 3), "scale": (), "center": (3,)}
        placed = {k: torch.tensor(found[k], dtype=torch.float32) for k in shapes}
        for name, x in placed.items():
            if x.shape != shapes[name] or not bool((x.abs() <= LARGEST).all()):
                raise ValueError(f"{name}: {found[name]}")
        R = placed["rotation"]
        if not torch.allclose(R @ R.T, torch.eye(3), atol=1e-4) or not placed["scale"] > 0:
            raise ValueError(f"no rotation and scale: {R.tolist()}, {found['scale']}")
        return cls(**placed)


@dataclass(frozen=True, eq=False)
class PlacedShape:
    """A code of a family, placed in a scene.

    Args:
        family: the decoder.
        code: `[C]`.
        placement: of its frame.
    """

    family: LatentField
    code: Tensor
    placement: Placement

    def __call__(self, points: Tensor) -> Tensor:
        """`φ` at world points `[P, 3]`: `[P]`, world units; differentiable."""
        field = self.family.field(self.code)
        return self.placement.scale * field(self.placement.to_canonical(points))

    @torch.no_grad()
    def lattice(self, bounds: Tensor, resolution: Sequence[int]) -> Lattice:
        """Sampled in a box `[2, 3]` of the scene, world units. Not differentiable."""
        points = grid_points((resolution[0], resolution[1], resolution[2]), bounds).reshape(-1, 3)
        values = torch.cat([self(some) for some in torch.split(points, CHUNK)])
        return Lattice(values.reshape(*resolution), bounds)

    def derivative(self, points: Tensor) -> Tensor:
        """`∂φ/∂(z, placement)` at world points `[P, 3]`: `[P, C + 7]`."""
        p = self.placement.to_canonical(points)
        values, by_code = self.family.jacobian(self.code, p)
        slopes = self._slopes(p)
        columns = self.placement.columns(points, values, slopes)
        return torch.cat((self.placement.scale * by_code, columns), 1)

    def _slopes(self, p: Tensor) -> Tensor:
        """`∇f` at canonical points `[P, 3]`."""
        field, parts = self.family.field(self.code), []
        for some in torch.split(p.detach(), CHUNK):
            with torch.enable_grad():
                q = some.clone().requires_grad_()
                (slope,) = torch.autograd.grad(field(q).sum(), q)
            parts.append(slope)
        return torch.cat(parts) if parts else p

    def moved(self, step: Tensor) -> PlacedShape:
        """After a change of the unknowns `[C + 7]`."""
        return replace(
            self,
            code=self.code + step[:-PLACEMENT],
            placement=self.placement.moved(step[-PLACEMENT:]),
        )
