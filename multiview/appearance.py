"""Unknown colour and light: constant albedo, under a known light or order-2 spherical harmonics.

With normals held fixed an image is linear in what is unknown, so the values that fit best solve a
small linear least-squares problem. With an unknown light the albedo is taken as 1: a constant
albedo and the light's strength cannot be told apart, and per-channel coefficients take up its
colour.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multiview.optimize.targets import Targets
from sdfrender import Lighting, Rendering
from sdfrender.lighting import sh_basis

RIDGE = 1e-3  # keeps directions that no pixel sees from growing
ROBUST_SCALE = 0.05  # residuals beyond this count linearly: shadows, highlights


class Appearance:
    """Colour and light of a fit. `observe` the renderings of a pass, then `solve` for the next.

    Args:
        channels: C of the images.
        known: the light, or None to estimate spherical harmonics.
    """

    def __init__(self, channels: int, known: Lighting | None) -> None:
        self.known = known
        self.albedo = torch.ones(channels)
        self.sh = torch.zeros(9, channels)
        self._solved = False
        self._clear()

    @property
    def lighting(self) -> Lighting:
        """The light as it stands."""
        return self.known or Lighting(headlight=None, sh=self.sh)

    def _clear(self) -> None:
        C, n = len(self.albedo), 1 if self.known else 9
        self._A = torch.zeros(C, n, n, dtype=torch.float64)
        self._b = torch.zeros(C, n, dtype=torch.float64)

    def observe(self, out: Rendering, targets: Targets) -> None:
        """Add the pixels that are certainly inside both the shape and the photograph's mask.

        Args:
            out: rendered with this appearance, C channels.
            targets: the same views.
        """
        inside = out.hit_mask & (out.silhouettes > 0.99) & (targets.silhouettes > 0.99)
        inside &= targets.image_weights > 0.99
        colors = targets.images[inside].double()  # (P, C)
        rendered = out.images.detach()[inside].double()
        if self.known:  # what was rendered, for an albedo of 1
            basis = (rendered / self.albedo.double())[..., None]  # (P, C, 1)
        else:
            basis = sh_basis(out.normals.detach()[inside]).double()[:, None]  # (P, 1, 9)
        basis = basis.expand(-1, colors.shape[1], -1)
        weights = torch.ones_like(colors)
        if self._solved:  # reweight by the residual of what is in use
            weights = ROBUST_SCALE / (rendered - colors).abs().clamp(min=ROBUST_SCALE)
        self._A += torch.einsum("pc,pci,pcj->cij", weights, basis, basis)
        self._b += torch.einsum("pc,pci,pc->ci", weights, basis, colors)

    def solve(self) -> None:
        """Take up what fits best to the pixels observed since the last call."""
        scale = self._A.diagonal(dim1=1, dim2=2).mean(-1)[:, None, None]
        if float(scale.min()) > 0:
            ridge = 0.0 if self.known else RIDGE * scale * torch.eye(9, dtype=torch.float64)
            solution = torch.linalg.solve(self._A + ridge, self._b).float()  # (C, 1) or (C, 9)
            if self.known:
                self.albedo = solution[:, 0].clamp(min=1e-3)
            else:
                self.sh = solution.T.contiguous()
            self._solved = True
        self._clear()

    # ------------------------------------------------------------------ keeping it

    def state(self) -> dict[str, Tensor]:
        """Tensors that `restore` needs."""
        return {"albedo": self.albedo, "sh": self.sh}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up the state that an earlier run saved."""
        self.albedo, self.sh = tensors["albedo"], tensors["sh"]
        self._solved = True

    def description(self) -> dict[str, object]:
        """As JSON: the albedo, and the light if it was estimated."""
        light = {} if self.known else {"lighting": {"ambient": 0.0, "sh": self.sh.tolist()}}
        return {"albedo": self.albedo.tolist(), **light}
