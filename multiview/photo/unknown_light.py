"""A light that nobody has measured: order-2 spherical harmonics, with a colour per coefficient.

| fixed to | what the photographs show |
|---|---|
| scene | an object that stands still while the camera goes around it |
| camera | an object that turns before a camera that stands still; or a lamp at the camera |
| view | a light that is another one in each view |

With the surface and its albedo held fixed an image is linear in the coefficients, so what fits
best solves linear least squares. Lights of single views are held to the one that suits all:
`Σ_v (‖√W (a b·s_v − C)‖² + τ ‖s_v − s‖²)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from multiview.config import FixedTo
from multiview.photo.targets import Targets
from sdfrender import Lighting
from sdfrender.view.lighting import sh_basis, turned_sh

FIXED_TO: tuple[FixedTo, ...] = get_args(FixedTo)

RIDGE = 1e-3  # keeps directions that no pixel sees from growing; of the mean curvature
TINY = 1e-9  # of pixels: nothing at all has a solution too
HELD = 0.03  # what draws the light of a view to that of all (τ), of the mean curvature of a view


@dataclass(frozen=True, eq=False)
class UnknownLight:
    """What is thought of the light so far.

    Args:
        fixed_to: see the table above.
        sh: `[9, C]` coefficients, in the frame of the world or of the camera; or `[V, 9, C]`, those
            of each of a scene's V views.
    """

    fixed_to: FixedTo
    sh: Tensor

    @classmethod
    def dark(cls, fixed_to: FixedTo, channels: int, views: int = 0) -> UnknownLight:
        """Nothing so far, of so many channels; `views` of the scene if each has its own light."""
        return cls(fixed_to, torch.zeros(*((views,) if fixed_to == "view" else ()), 9, channels))

    def lighting(self, targets: Targets) -> Lighting:
        """What the cameras of some views see the object under; differentiable in the cameras."""
        sh = self.sh
        if self.fixed_to == "camera":
            sh = turned_sh(sh, targets.cameras.c2w[:, :3, :3])
        if self.fixed_to == "view":
            sh = sh[targets.views]
        return Lighting(headlight=None, sh=sh)

    def basis(self, normals: Tensor, targets: Targets, shown_by: Tensor) -> Tensor:
        """`[P, 9]`: what is multiplied by the coefficients.

        Args:
            normals: `[P, 3]` unit, world frame.
            targets: some views.
            shown_by: `[P]` which of them shows the point.
        """
        if self.fixed_to == "camera":
            rotations = targets.cameras.c2w[:, :3, :3][shown_by]
            normals = torch.einsum("pij,pi->pj", rotations, normals)
        return sh_basis(normals)

    def at(self, basis: Tensor, views: Tensor) -> Tensor:
        """`[P, C]` the light on points with this basis, `[P]` of the scene's views show them."""
        if self.fixed_to == "view":
            return torch.einsum("pk,pkc->pc", basis, self.sh[views])
        return basis @ self.sh

    def fitted(
        self, basis: Tensor, views: Tensor, albedo: Tensor, colors: Tensor, weights: Tensor
    ) -> UnknownLight:
        """The light under which a surface of this albedo shows these colours.

        Views that show nothing get the light that suits all.

        Args:
            basis: `[P, 9]`.
            views: `[P]` which of the scene's views show the points.
            albedo: `[P, C]`, held fixed.
            colors: `[P, C]`.
            weights: `[P, C]` of their squares.
        """
        A, b = _normal_equations(basis, albedo, colors, weights)
        common = _solved(A + RIDGE * _curvature(A), b)
        if self.fixed_to != "view":
            return replace(self, sh=common.float())
        return replace(self, sh=self._of_views(common, basis, views, albedo, colors, weights))

    def met(
        self, basis: Tensor, views: Tensor, albedo: Tensor, colors: Tensor, weights: Tensor
    ) -> UnknownLight:
        """The same with the light of views that were not fitted: all others kept.

        Arguments as in `fitted`: `[P, 9]`, `[P]`, `[P, C]`, `[P, C]` and `[P, C]` of P pixels.
        """
        if self.fixed_to != "view" or not len(views):
            return self
        common = self.sh.double().mean(0)
        sh = self._of_views(common, basis, views, albedo, colors, weights)
        seen = _different(views)
        return replace(self, sh=self.sh.index_copy(0, seen, sh[seen]))

    def _of_views(self, common: Tensor, *pixels: Tensor) -> Tensor:
        """`[V, 9, C]` held to `common` `[9, C]`."""
        basis, views, *rest = pixels
        equations = [
            _normal_equations(*(x[views == v] for x in (basis, *rest))) for v in range(len(self.sh))
        ]
        A, b = (torch.stack(x) for x in zip(*equations, strict=True))  # (V, C, 9, 9), (V, C, 9)
        hold = HELD * _curvature(A.sum(0)) / len(_different(views))
        return _solved(A + hold, b + hold.diagonal(dim1=-2, dim2=-1) * common.T).float()

    def description(self) -> dict[str, object]:
        """As JSON; a light that is fixed to the scene is one that `--light FILE.json` reads."""
        fixed = {} if self.fixed_to == "scene" else {"fixed_to": self.fixed_to}
        return {"ambient": 0.0, "sh": self.sh.tolist(), **fixed}


def _different(views: Tensor) -> Tensor:
    """Those that are there, ascending."""
    return views.bincount().nonzero()[:, 0]


def _normal_equations(
    basis: Tensor, albedo: Tensor, colors: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Curvature `[C, 9, 9]` and right-hand side `[C, 9]` of the sum over some pixels."""
    x = (basis[:, None] * albedo[..., None]).double()  # (P, C, 9)
    weighted = x * weights[..., None]
    A = torch.einsum("pci,pcj->cij", weighted, x)
    return A, torch.einsum("pci,pc->ci", weighted, colors.double())


def _curvature(A: Tensor) -> Tensor:
    """The mean of the diagonals of `[C, 9, 9]`, on a diagonal; hardly any of a black channel."""
    scale = A.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=TINY)[..., None, None]
    return scale * torch.eye(9, dtype=A.dtype, device=A.device)


def _solved(A: Tensor, b: Tensor) -> Tensor:
    """Coefficients `[..., 9, C]` of `A` `[..., C, 9, 9]` and `b` `[..., C, 9]`."""
    solved: Tensor = torch.linalg.solve(A, b)
    return solved.mT.contiguous()
