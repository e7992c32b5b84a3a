"""The energy of a lattice under some views: photographs, silhouettes, and two regularisers.

`E = Σ_pixels (p/h)² (ρ(r_C) + w_A ρ(r_A)) + w_B Σ_carve + (n/N) (μ Σ eikonal + λ Σ laplacian)`
with p a pixel's width at the object, h the spacing, and n of the N views at hand: pixels are
measured in cells, so weights keep their meaning at every resolution. ρ is the square, or Huber's
function, which grows linearly beyond a residual of k: `ρ(r) = w(r) r² (2 − w(r))` with
`w = min(1, k/|r|)`. r_C is that of the photograph: what the lens makes of the rendering.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from multiview.optimize.maps.noise import DEVIATION
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.recipes import Weights
from sdfrender import Lattice, Rendering
from sdfrender.geometry import energies
from sdfrender.geometry.sparse.lattice import AnyLattice

FEWEST = 50  # pixels that tell a usual residual
CLEAN = 0.01  # units of colour: what edges, texture and 8 bits leave of clean photographs
SHINES = 3.0  # times as much is too bright as too dark: 1.1 on matte paint, 10 and 13 on polished
CARVE_BELOW = 0.02  # a pixel whose silhouette is less must be empty


@dataclass(frozen=True, eq=False)
class EnergyTerms:
    """The energy's parts. Per view: `[n]`; of the lattice: `[]`."""

    color: Tensor
    silhouette: Tensor
    carve: Tensor
    eikonal: Tensor
    laplacian: Tensor
    stereo: Tensor = field(default_factory=lambda: torch.zeros(()))
    """Per view, where there is such a term (`multiview.stereo`)."""
    maps: Tensor = field(default_factory=lambda: torch.zeros(()))
    """Of depth and normal maps, per view, where there are any (`optimize.maps.term`)."""
    hold: Tensor = field(default_factory=lambda: torch.zeros(()))
    """To a likely shape (`optimize.hold`), where there is one."""

    def on_host(self) -> EnergyTerms:
        """The same on the CPU."""
        return EnergyTerms(**{name: x.cpu() for name, x in vars(self).items()})

    @property
    def per_view(self) -> Tensor:
        """What the greedy schedule compares: the data terms of each view, `[n]`."""
        return self.color + self.silhouette + self.stereo + self.maps

    @property
    def data(self) -> Tensor:
        """What the images say against the shape, `[]`."""
        return (self.color + self.silhouette + self.stereo + self.maps + self.carve).sum()

    @property
    def total(self) -> Tensor:
        """The energy, `[]`."""
        return self.data + self.eikonal + self.laplacian + self.hold


def energy(
    lattice: Lattice,
    targets: Targets,
    appearance: Appearance,
    weights: Weights,
    share: float,
) -> tuple[EnergyTerms, Rendering]:
    """Render the targets' views and compare.

    Args:
        lattice: one lattice.
        targets: n views.
        appearance: colour, light and lens, held fixed.
        weights: of the terms.
        share: n / N, the part of all views that these are.
    """
    out = appearance.render(lattice, targets)
    w_color, w_silhouette = pixel_weights(lattice, targets, appearance, weights)
    r_color, r_silhouette = residuals(targets, out, appearance)
    color = w_color * robust(r_color, weights.huber).mean(-1)
    silhouette = w_silhouette * robust(r_silhouette, weights.mask_huber)
    cells_per_pixel = pixels_in_cells(lattice, targets) ** 2  # (n,)
    eikonal, laplacian = energies.regularizers(lattice, weights.band)
    return EnergyTerms(
        color=color.sum((1, 2)),
        silhouette=silhouette.sum((1, 2)),
        carve=weights.carve * cells_per_pixel * carve(lattice, targets, out),
        eikonal=share * weights.eikonal * eikonal,
        laplacian=share * weights.laplacian * laplacian,
    ), out


def residuals(targets: Targets, out: Rendering, appearance: Appearance) -> tuple[Tensor, Tensor]:
    """`r_C` `[n, H, W, C]` and `r_A` `[n, H, W]`."""
    images = appearance.photograph(out.images)
    color = images - targets.images
    if appearance.known is None:  # a light that is known is as bright as photographs can be
        color = torch.where(targets.at_most(images.detach()), 0.0, color)
    return color, out.silhouettes - targets.silhouettes


def pixel_weights(
    lattice: AnyLattice, targets: Targets, appearance: Appearance, weights: Weights
) -> tuple[Tensor, Tensor]:
    """What the squares of `r_C` (mean over its channels) and `r_A` count: `[n, H, W]` each."""
    cells = (pixels_in_cells(lattice, targets) ** 2)[:, None, None]
    w_color = weights.color * cells * appearance.trust(targets)
    return w_color, weights.silhouette * cells * targets.silhouette_weights


def pixels_in_cells(lattice: AnyLattice, targets: Targets) -> Tensor:
    """Width of each view's pixels at the object, in cells (p/h): `[n]`."""
    return targets.pixel_sizes(lattice) / lattice.spacing.max()


def robust_weights(r: Tensor, k: float) -> Tensor:
    """`w = min(1, k/|r|)`: held fixed, `w r²` has the derivative of Huber's ρ. Element by element.

    Not differentiable. `r` `[...]` are residuals, `k` is in their unit.
    """
    return k / r.detach().abs().clamp(min=k) if math.isfinite(k) else r.new_ones(()).expand_as(r)


def robust(r: Tensor, k: float) -> Tensor:
    """Huber's `ρ(r)` of residuals `[...]`: `r²` up to `|r| = k`, then `2 k |r| − k²`."""
    if math.isinf(k):
        return r * r
    return 2 * torch.nn.functional.huber_loss(r, torch.zeros_like(r), reduction="none", delta=k)


def cauchy(r: Tensor, k: Tensor) -> Tensor:
    """Cauchy's `ρ(r) = k² ln(1 + r²/k²)` of residuals `[...]`: `r²` while small, then ever flatter.

    `k` is in their unit, broadcast against them; where it is infinite ρ is the square.
    """
    return torch.where(k.isfinite(), k * k * torch.log1p((r / k) ** 2), r * r)


def cauchy_weights(r: Tensor, k: Tensor) -> Tensor:
    """`w = 1 / (1 + r²/k²)`: held fixed, `w r²` has the derivative of Cauchy's ρ.

    Not differentiable. `r` `[...]` are residuals, `k` is broadcast against them.
    """
    return 1 / (1 + (r.detach() / k) ** 2)


def usual_residuals(r: Tensor, inside: Tensor) -> Tensor:
    """Standard deviation `[n]` of each view's residuals, from the median of their magnitudes.

    At least what clean photographs have; infinite where too few pixels tell. Not differentiable.

    Args:
        r: `[n, H, W, C]`.
        inside: `[n, H, W]` bool, pixels that are surely of the object.
    """
    usual = [
        max(DEVIATION * float(x[of].abs().median()), CLEAN) if int(of.sum()) >= FEWEST else math.inf
        for x, of in zip(r.detach(), inside, strict=True)
    ]
    return torch.tensor(usual, device=r.device)


def highlight_levels(r: Tensor, inside: Tensor, times: float) -> Tensor:
    """By how much a photograph's pixel has to be too bright to be a highlight: `[n]`.

    That is `times` the usual residual of its view; infinite in views without highlights. Where a
    shape is wrong, pixels are too bright as often as too dark; what shines is too bright.

    Args:
        r: `[n, H, W, C]` rendering less photograph.
        inside: `[n, H, W]` bool, pixels that are surely of the object.
        times: the usual residual.
    """
    k = times * usual_residuals(r, inside)
    beyond = (r.detach().abs() - k[:, None, None, None]).clamp(min=0) * inside[..., None]
    bright, dark = ((beyond * (sign * r.detach() > 0)).sum((1, 2, 3)) for sign in (-1, 1))
    return torch.where(bright > SHINES * dark, k, math.inf)


def carve(lattice: Lattice, targets: Targets, out: Rendering) -> Tensor:
    """`Σ (1 − φ(x)/h)²` over the points of `carve_points`: `[n]`.

    Coverage is flat inside a silhouette, so alone it erodes only from the rim. This pulls the
    surface one cell inwards wherever it is seen in the way, which is how holes open.
    """
    points, views = carve_points(targets, out)
    total = torch.zeros_like(out.silhouettes[:, 0, 0])
    if not len(points):  # the rule, once a shape is about right
        return total
    residual = 1 - lattice.sample(points) / lattice.spacing.max()
    return total.index_add(0, views, residual**2)


def carve_points(targets: Targets, out: Rendering) -> tuple[Tensor, Tensor]:
    """Where the surface is hit in pixels that must be empty: world points `[P, 3]`, views `[P]`.

    Not differentiable: the points are held fixed.
    """
    wrong = out.hit_mask & (targets.silhouettes < CARVE_BELOW) & (targets.silhouette_weights > 0.99)
    return targets.cameras.unproject(out.depths.detach(), wrong), wrong.nonzero()[:, 0]
