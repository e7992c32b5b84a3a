"""What an occupancy network sees of an object: points with noise, voxels, a picture, a number."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender.errors import InputError
from singleview.data.dataset import Dataset, unit
from singleview.data.objects import LONGEST_SIDE
from singleview.data.samples import HALF_PADDED_BOX, Samples, voxels
from singleview.settings.choices import Input

SOLID = 8192  # points inside, and as many on the surface, that voxels are filled from


@dataclass(frozen=True)
class Observer:
    """Observes objects of a set.

    Args:
        kind: what is observed.
        samples: N objects.
        pictures: of the same N objects; for images only.
        cloud: points of a cloud.
        noise: of a cloud, as a part of the longest side.
        voxels: R, along each side of a grid.
        half: half the side of the cube that the grid fills, canonical units.
    """

    kind: Input
    samples: Samples
    pictures: Dataset | None
    cloud: int
    noise: float
    voxels: int
    half: float = HALF_PADDED_BOX

    def parts(self, i: int, generator: torch.Generator) -> Tensor:
        """`[n, 3]` points of object i from which clouds and voxels are made; they may be warped."""
        if self.kind == "points":
            return pick(self.samples.surface[i], self.cloud, generator).float()
        if self.kind == "voxels":
            surface = pick(self.samples.surface[i], SOLID, generator)
            return torch.cat((surface, pick(self.samples.solid(i), SOLID, generator))).float()
        return torch.zeros(0, 3)

    def observation(self, i: int, parts: Tensor, generator: torch.Generator) -> Tensor:
        """One object's observation: a cloud `[N, 3]`, voxels `[R, R, R]`, a number `[]`."""
        if self.kind == "points":
            noise = torch.randn(parts.shape, generator=generator)
            return parts + self.noise * LONGEST_SIDE * noise
        if self.kind == "voxels":
            return voxels(parts, self.voxels, self.half)
        return torch.tensor(i)

    def pictures_of(self, objects: list[int], views: list[int]) -> Tensor:
        """`[B, H, W, C]` a view of each of B objects."""
        assert self.pictures is not None
        return unit(self.pictures.images[objects, views])

    def fixed(self, i: int, seed: int = 0) -> Tensor | None:
        """The observation of object i to evaluate with, the same for a seed; `[1, …]`.

        Images: the view `seed`. None where nothing is observed.
        """
        if self.kind == "none":
            return None
        if self.kind == "image":
            assert self.pictures is not None
            return self.pictures_of([i], [seed % self.pictures.views])
        generator = torch.Generator().manual_seed(seed * 100_003 + i + 1)
        return self.observation(i, self.parts(i, generator), generator)[None]


def pick(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`[count, …]` of `points` `[P, …]`, with repetition; none of none."""
    if not len(points):
        return points
    return points[torch.randint(len(points), (count,), generator=generator)]


def same_objects(dataset: Dataset, samples: Samples) -> tuple[Dataset, Samples]:
    """The objects that both have, in one order.

    Raises:
        InputError: none, or an object in different splits.
    """
    numbers = {name: i for i, name in enumerate(dataset.names)}
    shared = [i for i, name in enumerate(samples.names) if name in numbers]
    if not shared:
        raise InputError(
            f"dataset: need pictures of the sampled objects, {samples.names[0]!r} has none"
        )
    samples = samples.subset(shared)
    dataset = dataset.subset([numbers[name] for name in samples.names])
    for name, a, b in zip(samples.names, samples.splits, dataset.splits, strict=True):
        if a != b:
            raise InputError(f"dataset: {name!r} is in the split {a} of the samples and {b} of the "
                             "pictures")  # fmt: skip
    return dataset, samples
