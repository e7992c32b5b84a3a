"""What the renderings are compared with: images and silhouettes at one size of the pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from multiview.scenes import Scene
from multiview.scenes.maps.maps import Maps
from sdfrender import Cameras, Lattice
from sdfrender.files.images import area_average
from sdfrender.view.noise import picture_noise

FEWEST = 100  # pixels that tell a noise
TOP = 0.99  # of full scale: what is brighter is saturated


@dataclass(frozen=True, eq=False)
class Targets:
    """N views at one image size.

    Args:
        cameras: N cameras.
        images: `[N, H, W, C]` premultiplied by the silhouette, over black.
        silhouettes: `[N, H, W]` coverage in [0, 1].
        silhouette_weights: `[N, H, W]` how far each pixel's silhouette can be trusted, in [0, 1].
        image_weights: `[N, H, W]` how far its colour can be trusted.
        views: `[N]` which of a scene's views they are; by default the first N.
        gains: `[N, C]` by which the images were divided, or None.
        maps: depths and normals of the N views, or None.
    """

    cameras: Cameras
    images: Tensor
    silhouettes: Tensor
    silhouette_weights: Tensor
    image_weights: Tensor
    views: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    gains: Tensor | None = None
    maps: Maps | None = None

    def __post_init__(self) -> None:
        if not len(self.views):
            object.__setattr__(self, "views", torch.arange(len(self.cameras)))

    @classmethod
    def of(cls, scene: Scene, views: Sequence[int]) -> Targets:
        """Some views of a scene, at the size they were loaded."""
        ids = torch.as_tensor(views)
        return cls(
            scene.cameras[ids],
            scene.images[ids],
            scene.silhouettes[ids],
            scene.silhouette_weights[ids],
            scene.image_weights[ids],
            ids,
            maps=None if scene.maps is None else scene.maps[ids],
        )

    def __getitem__(self, views: Sequence[int] | Tensor) -> Targets:
        ids = torch.as_tensor(views)
        return Targets(
            self.cameras[ids],
            self.images[ids],
            self.silhouettes[ids],
            self.silhouette_weights[ids],
            self.image_weights[ids],
            self.views[ids],
            None if self.gains is None else self.gains[ids],
            None if self.maps is None else self.maps[ids],
        )

    def resized(self, width: int, height: int) -> Targets:
        """Area-averaged to a smaller size (maps: `Maps.resized`); unchanged if it is the same."""
        if (width, height) == (self.cameras.width, self.cameras.height):
            return self

        def average(planes: Tensor) -> Tensor:  # [N, H, W] or [N, H, W, C]
            small = [area_average(view.numpy(), width, height) for view in planes]
            return torch.from_numpy(np.stack(small))

        return Targets(
            self.cameras.resized(width, height),
            average(self.images),
            average(self.silhouettes),
            average(self.silhouette_weights),
            average(self.image_weights),
            self.views,
            self.gains,
            None if self.maps is None else self.maps.resized(width, height),
        )

    def within(self, longest: int) -> Targets:
        """At most `longest` pixels along the longer side; unchanged if they are smaller."""
        width, height = self.cameras.width, self.cameras.height
        factor = max(1.0, max(width, height) / longest)
        return self.resized(max(1, round(width / factor)), max(1, round(height / factor)))

    def for_lattice(self, lattice: Lattice, pixels_per_cell: float) -> Targets:
        """The pyramid level at which a cell at the object covers about so many pixels.

        SDFDiff §5 ties image size to the lattice in the same way. Never larger than the images.
        """
        cell = float(lattice.spacing.max())
        return self.resized(*self.size_for(lattice.bounds.mean(0), cell, pixels_per_cell))

    def size_for(self, middle: Tensor, cell: float, pixels_per_cell: float) -> tuple[int, int]:
        """Width and height of `for_lattice`, for cells of a size about a middle `[3]`."""
        width, height = self.cameras.width, self.cameras.height
        footprint = float(self.pixel_sizes_at(middle).mean())
        factor = max(1.0, cell / pixels_per_cell / footprint)
        if factor < 1.25:  # not worth blurring the photographs
            return width, height
        return max(8, round(width / factor)), max(8, round(height / factor))

    def at_most(self, rendered: Tensor) -> Tensor:
        """Where a photograph is saturated and a rendering brighter: `[N, H, W, C]` bool.

        Both may be right then: a photograph says no more than that it is at least so bright.
        """
        top = TOP if self.gains is None else TOP / self.gains[:, None, None]
        return (self.images >= top) & (rendered > self.images)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the images' noise, estimated inside the silhouettes.

        Photographs of a matte figure have .003. Zero where there is too little to tell.
        """
        inside = torch.minimum(self.silhouettes, self.image_weights) > 0.999
        return picture_noise(self.images, inside, FEWEST)

    def pixel_sizes(self, lattice: Lattice) -> Tensor:
        """Width of each view's pixels at the middle of the box, world units: `[N]`."""
        return self.pixel_sizes_at(lattice.bounds.mean(0))

    def pixel_sizes_at(self, middle: Tensor) -> Tensor:
        """Width of each view's pixels at a point `[3]`, world units: `[N]`."""
        _, depths = self.cameras.project(middle.to(self.cameras.c2w)[None])
        focal = (self.cameras.Ks[:, 0, 0] * self.cameras.Ks[:, 1, 1]).sqrt()
        return depths[:, 0] / focal
