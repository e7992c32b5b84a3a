"""Views of one process that belong to a set whose others other processes have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdfrender import Cameras
from sdfrender.cluster.ranks import Ranks
from sdfrender.files.images import area_average

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Part:
    """Which views of a set these are; sums over a set are sums over its parts.

    Args:
        ranks: the processes.
        places: of the n views in the set; none if the one view here stands in for none.
        cameras: of all views of the set.
        views: `[count]` which of a scene's views they are.
    """

    ranks: Ranks
    places: list[int]
    cameras: Cameras
    views: Tensor

    @property
    def count(self) -> int:
        """Views of the set."""
        return len(self.cameras)

    def spread(self, of_views: Tensor) -> Tensor:
        """What each view has `[n]`, of all views of the set: `[count]`."""
        return self.ranks.scattered(of_views[: len(self.places)], self.places, self.count)

    def mean(self, x: Tensor) -> np.float32:
        """Of the numbers of all parts; 1 if there are none, 0 beside the first process.

        It is the weight of what is of no view, which is counted once.
        """
        total = torch.tensor([float(x.sum(dtype=torch.float64)), float(x.numel())])
        total = self.ranks.sum(total.double())
        mean = float(total[0] / total[1]) if total[1] else 1.0
        return np.float32(mean if self.ranks.first else 0)

    def sum(self, x: Floats) -> Floats:
        """The sum over all parts of an array, in place."""
        out: Floats = self.ranks.sum_array(x)
        return out


class Planes(NamedTuple):
    """The pixels of n views; see `multiview.photo.targets.Targets`."""

    images: Tensor
    silhouettes: Tensor
    silhouette_weights: Tensor
    image_weights: Tensor

    def rows(self, ids: list[int]) -> Planes:
        """Those of some views; the same tensors if it is all of them."""
        if ids == list(range(len(self.images))):
            return self
        which = torch.tensor(ids, dtype=torch.int64)
        return Planes(*(x[which] for x in self))

    def blank(self) -> Planes:
        """One view of this size that is black and counts nothing."""
        return Planes(*(torch.zeros(1, *x.shape[1:]) for x in self))

    def resized(self, width: int, height: int) -> Planes:
        """Area-averaged to a smaller size."""

        def average(planes: Tensor) -> Tensor:  # [n, H, W] or [n, H, W, C]
            out = torch.zeros(len(planes), height, width, *planes.shape[3:])
            for n, view in enumerate(planes):
                out[n] = torch.from_numpy(area_average(view.numpy(), width, height))
            return out

        return Planes(*map(average, self))


@dataclass(frozen=True, eq=False)
class SharedHits:
    """How many pixels each view of a set shows, in whichever process: `counts` `[part.count]`."""

    part: Part
    counts: Tensor

    def numbers(self, first: int) -> Tensor:
        """Where this process's pixels are among those of all, which come view by view: `[P]`.

        Args:
            first: number of the first pixel of the set.
        """
        starts = first + self.counts.cumsum(0) - self.counts
        spans = [torch.arange(int(self.counts[k])) + starts[k] for k in self.part.places]
        return torch.cat(spans) if spans else torch.zeros(0, dtype=torch.int64)


def every_so_many(
    observed: Sequence[tuple[SharedHits, Sequence[Tensor]]], step: int
) -> list[Tensor]:
    """Every `step`-th pixel of all that were observed by all processes; the same in each.

    Args:
        observed: of each set of views, and what there is of each pixel of this process: `[P, ...]`.
        step: as in a slice.
    """
    first, numbers = 0, []
    for shared, _ in observed:
        numbers.append(shared.numbers(first))
        first += int(shared.counts.sum())
    kept = [n % step == 0 for n in numbers]
    place = torch.cat([n[k] // step for n, k in zip(numbers, kept, strict=True)])
    ranks = observed[0][0].part.ranks
    found = []
    for tensors in zip(*(tensors for _, tensors in observed), strict=True):
        own = torch.cat([x[k] for x, k in zip(tensors, kept, strict=True)])
        out = torch.zeros(-(-first // step), *own.shape[1:], dtype=own.dtype)
        out[place] = own
        found.append(ranks.sum(out))
    return found
