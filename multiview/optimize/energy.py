"""The energy of a lattice under some views: photographs, silhouettes, and two regularisers.

`E = Σ_pixels (p/h)² (r_C² + w_A r_A²) + w_B Σ_carve + (n/N) (μ Σ eikonal + λ Σ laplacian)`
with p a pixel's width at the object, h the spacing, and n of the N views at hand: pixels are
measured in cells, so weights keep their meaning at every resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multiview.appearance import Appearance
from multiview.optimize.targets import Targets
from sdfrender import Lattice, Rendering, energies, render

CARVE_BELOW = 0.02  # a pixel whose silhouette is less must be empty


@dataclass(frozen=True)
class Weights:
    """Weights of the energy's terms against the colour term's 1."""

    silhouette: float = 0.3
    """Silhouette against colour (w_A)."""
    carve: float = 0.05
    """Erode opaque pixels that must be empty (w_B)."""
    eikonal: float = 0.05
    """Keep |∇φ| near 1 (μ)."""
    laplacian: float = 0.003
    """Smoothness (λ)."""
    band: float = 3.2
    """Half width of the regularisers' band, in cells."""


@dataclass(frozen=True)
class Terms:
    """The energy's parts. Per view: `[n]`; of the lattice: `[]`."""

    color: Tensor
    silhouette: Tensor
    carve: Tensor
    eikonal: Tensor
    laplacian: Tensor

    @property
    def per_view(self) -> Tensor:
        """What the greedy schedule compares: the data terms of each view, `[n]`."""
        return self.color + self.silhouette

    @property
    def total(self) -> Tensor:
        """The energy, `[]`."""
        data = (self.color + self.silhouette + self.carve).sum()
        return data + self.eikonal + self.laplacian


def energy(
    lattice: Lattice,
    targets: Targets,
    appearance: Appearance,
    weights: Weights,
    share: float,
) -> tuple[Terms, Rendering]:
    """Render the targets' views and compare.

    Args:
        lattice: one lattice.
        targets: n views.
        appearance: colour and light, held fixed.
        weights: of the terms.
        share: n / N, the part of all views that these are.
    """
    out = render(
        lattice,
        targets.cameras,
        lighting=appearance.lighting,
        albedo=appearance.albedo,
    )
    cells_per_pixel = (targets.pixel_sizes(lattice) / lattice.spacing.max()) ** 2  # (n,)
    color = targets.image_weights * ((out.images - targets.images) ** 2).mean(-1)
    silhouette = targets.silhouette_weights * (out.silhouettes - targets.silhouettes) ** 2
    return Terms(
        color=cells_per_pixel * color.sum((1, 2)),
        silhouette=weights.silhouette * cells_per_pixel * silhouette.sum((1, 2)),
        carve=weights.carve * cells_per_pixel * carve(lattice, targets, out),
        eikonal=share * weights.eikonal * energies.eikonal(lattice, weights.band),
        laplacian=share * weights.laplacian * energies.laplacian(lattice, weights.band),
    ), out


def carve(lattice: Lattice, targets: Targets, out: Rendering) -> Tensor:
    """`Σ (1 − φ(x)/h)²` over hits x that must be empty: `[n]`.

    Coverage is flat inside a silhouette, so alone it erodes only from the rim. This pulls the
    surface one cell inwards wherever it is seen in the way, which is how holes open.
    """
    wrong = out.hit_mask & (targets.silhouettes < CARVE_BELOW) & (targets.silhouette_weights > 0.99)
    view, row, column = wrong.nonzero(as_tuple=True)
    total = torch.zeros_like(out.silhouettes[:, 0, 0])
    if not len(view):  # the rule, once a shape is about right
        return total
    rays_o, rays_d = targets.cameras.rays()
    z = targets.cameras.c2w[:, :3, 2]
    d = rays_d[view, row, column]
    t = out.depths[view, row, column].detach() / (d * z[view]).sum(-1)
    phi = lattice.sample(rays_o[view, row, column] + t[:, None] * d)
    residual = 1 - phi / lattice.spacing.max()
    return total.index_add(0, view, residual**2)
