"""What training makes small: differences of images, and what a lattice should look like anyway.

A loss is a mean over the batch, so that its weight does not depend on the batch, the image size or
the resolution, and that the mean over equal shards of a batch is the loss of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from sdfrender import Lattice, Rendering
from sdfrender.geometry import energies
from singleview.settings.training import LossWeights

EPS = 1e-6  # pixels; two empty pictures are equal


@dataclass(frozen=True, eq=False)
class LossTerms:
    """The terms, each `[]`; zero where a term does not apply."""

    image: Tensor
    """Squared difference of the images, mean over all pixels: the paper's."""
    silhouette: Tensor
    """Squared difference of coverage, over the mean coverage of the batch."""
    overlap: Tensor
    """One minus the intersection over union of coverage."""
    shading: Tensor
    """Squared difference of the images, over the mean coverage of the batch."""
    eikonal: Tensor
    """Mean over the band of `((|∇φ|² − 1) / 2)²`."""
    laplacian: Tensor
    """Mean over the band of `(h Δφ)²`."""
    shape: Tensor
    """Difference to lattices, see `shape_loss`."""

    def total(self, weights: LossWeights) -> Tensor:
        """The weighted sum, `[]`."""
        terms = [getattr(weights, f.name) * getattr(self, f.name) for f in fields(self)]
        return torch.stack(terms).sum()

    def __add__(self, other: LossTerms) -> LossTerms:
        return LossTerms(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @classmethod
    def of(cls, like: Tensor, **terms: Tensor) -> LossTerms:
        """Some terms `[]`, the others zero, of the dtype and device of `like` `[...]`."""
        zero = like.new_zeros(())
        return cls(**{f.name: terms.get(f.name, zero) for f in fields(cls)})


def image_losses(
    out: Rendering, images: Tensor, silhouettes: Tensor, shaded: bool = True
) -> LossTerms:
    """`image`, `silhouette`, `overlap` and `shading` of what was rendered, against what was seen.

    Args:
        out: of B lattices and k views.
        images: `[B, k, H, W, C]` linear over black.
        silhouettes: `[B, k, H, W]` coverage in [0, 1].
        shaded: whether the images were rendered in the light that made the pictures.
    """
    predicted = out.silhouettes
    # A thin object covers few pixels: without this, only the bulky ones would count.
    covered = silhouettes.mean((-2, -1)).clamp(min=0.01)  # (B, k)
    silhouette = ((predicted - silhouettes) ** 2).mean((-2, -1)) / covered
    overlap = 1 - soft_iou(predicted.flatten(2), silhouettes.flatten(2))
    terms = {"silhouette": silhouette.mean(), "overlap": overlap.mean()}
    if shaded:
        difference = ((out.images - images) ** 2).mean((-3, -2, -1))
        terms["shading"] = (difference / covered).mean()
        terms["image"] = difference.mean()
    return LossTerms.of(predicted, **terms)


def regularisers(lattice: Lattice, band: float) -> LossTerms:
    """`eikonal` and `laplacian` of lattices `[B, R, R, R]`, within `band` cells of the surface."""
    vertices = energies.narrow_band(lattice, band).sum((-3, -2, -1)).clamp(min=1)  # (B,)
    eikonal, laplacian = energies.regularizers(lattice, band)
    return LossTerms.of(
        lattice.values,
        eikonal=(eikonal / vertices).mean(),
        laplacian=(laplacian / vertices).mean(),
    )


def shape_loss(values: Tensor, targets: Tensor, width: float = 0.03, reach: float = 0.15) -> Tensor:
    """How far lattices are from others of the same box.

    One minus a soft intersection over union of the insides, which is what counts and does not
    forget thin parts, plus the difference of distances up to `reach`, in units of a tenth. Half of
    it is compared at the samples, half at the middles of their cells: a lattice that is right at
    its samples alone has its surface anywhere between them.

    Args:
        values: `[B, R, R, R]` world units.
        targets: `[B, R, R, R]`.
        width: of the step from outside to inside, world units.
        reach: distances count as this at most.
    """
    at_samples = _sample_loss(values, targets, width, reach)
    between, true = _middles(values.clamp(-reach, reach)), _middles(targets.clamp(-reach, reach))
    return (at_samples + _sample_loss(between, true, width, reach)) / 2


def _sample_loss(values: Tensor, targets: Tensor, width: float, reach: float) -> Tensor:
    """`shape_loss` at the samples of lattices `[B, …]`."""
    inside, true = torch.sigmoid(-values / width), torch.sigmoid(-targets / width)
    overlap = 1 - soft_iou(inside.flatten(1), true.flatten(1))
    # Beyond the reach it is enough to be on the right side and as far away.
    too_low = (targets.clamp(max=reach) - values).relu() * (targets > -reach)
    too_high = (values - targets.clamp(min=-reach)).relu() * (targets < reach)
    return overlap.mean() + 10 * (too_low + too_high).mean()


def _middles(values: Tensor) -> Tensor:
    """Values `[B, R, R, R]` in the middles of the cells, trilinearly: `[B, R - 1, …]`."""
    return avg_pool3d(values[:, None], 2, stride=1)[:, 0]


def soft_iou(a: Tensor, b: Tensor) -> Tensor:
    """`[...]` intersection over union of coverages `[..., P]` in [0, 1]; 1 for equal ones.

    Differentiable; a subgradient where a coverage equals the other.

    A prediction that cannot know gains by saying yes from a probability of about IoU / (1 + IoU).
    """
    both, either = torch.minimum(a, b).sum(-1), torch.maximum(a, b).sum(-1)
    return (both + EPS) / (either + EPS)
