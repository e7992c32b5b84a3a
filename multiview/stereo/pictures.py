"""What is compared: photographs in one channel, the one that varies most over the object."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multiview.photo.targets import Targets
from sdfrender import Lattice

INSIDE = 0.99  # of a pixel that the object fills and whose colour counts
ENOUGH = 500_000  # pixels that tell which channel varies most


@dataclass(frozen=True, eq=False)
class Pictures:
    """N photographs in one channel.

    Args:
        grey: `[N, H, W]`.
        known: `[N, H, W]` bool, pixels that the object fills and whose colour counts.
        views: `[N]` which of a scene's views they are.
    """

    grey: Tensor
    known: Tensor
    views: Tensor

    @classmethod
    def of(cls, targets: Targets) -> Pictures:
        """Those of some views, at the size that they have; one channel stands for all."""
        inside = inside_of(targets)
        grey = targets.images @ channel_of(targets)
        return cls(grey.contiguous(), inside.contiguous(), targets.views)

    def __getitem__(self, views: Tensor) -> Pictures:
        """The pictures of some of a scene's views, in their order."""
        place = {int(view): n for n, view in enumerate(self.views)}
        ids = torch.tensor([place[int(view)] for view in views])
        return Pictures(self.grey[ids], self.known[ids], views)


def inside_of(targets: Targets) -> Tensor:
    """`[N, H, W]` bool, pixels that the object fills and whose colour counts."""
    return torch.minimum(targets.silhouettes, targets.image_weights) > INSIDE


def channel_of(targets: Targets) -> Tensor:
    """Weights `[C]` of the channel that stands for all."""
    return principal_channel(targets.images[inside_of(targets)])


def principal_channel(colors: Tensor) -> Tensor:
    """Weights `[C]` of the channels, of unit sum of magnitudes: the first principal component.

    The mean of the channels would cancel paint whose channels vary against each other.

    Args:
        colors: `[P, C]` of the object.
    """
    C = colors.shape[-1]
    if C == 1 or len(colors) < 2:
        return torch.full((C,), 1 / C)
    some = colors[:: max(1, len(colors) // ENOUGH)].double()
    off = some - some.mean(0)
    _, directions = torch.linalg.eigh(off.T @ off)
    weights = directions[:, -1]
    weights = weights * torch.where(weights.sum() < 0, -1.0, 1.0)
    unit: Tensor = weights / weights.abs().sum()
    return unit.float()


def pictures_for(targets: Targets, lattice: Lattice, pixels_per_cell: float) -> Pictures:
    """The pictures of some views at which a cell at the object covers about so many pixels.

    Args:
        targets: all views to compare, as large as they are.
        lattice: at this level.
        pixels_per_cell: as in `Targets.for_lattice`.
    """
    return Pictures.of(targets.for_lattice(lattice, pixels_per_cell))
