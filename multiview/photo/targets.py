"""What the renderings are compared with: images and silhouettes at one size of the pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from multiview.photo.parts import Part, Planes
from multiview.scenes import Scene
from multiview.scenes.maps.maps import Maps
from multiview.scenes.scene import SharedScene
from sdfrender import Cameras, Lattice, Rendering
from sdfrender.cluster.ranks import Ranks
from sdfrender.files.images import area_average
from sdfrender.geometry.sparse.lattice import AnyLattice
from sdfrender.view.noise import noise_of, picture_noise, second_differences

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
        part: of which larger set they are one process's part; see `multiview.photo.shared`.
    """

    cameras: Cameras
    images: Tensor
    silhouettes: Tensor
    silhouette_weights: Tensor
    image_weights: Tensor
    views: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    gains: Tensor | None = None
    maps: Maps | None = None
    part: Part | None = None

    def __post_init__(self) -> None:
        if not len(self.views):
            object.__setattr__(self, "views", torch.arange(len(self.cameras)))

    @classmethod
    def of(cls, scene: Scene, views: Sequence[int]) -> Targets:
        """Some views of a scene, at the size they were loaded."""
        if isinstance(scene, SharedScene):
            return SharedTargets.of_scene(scene, views)
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
        return self.for_grid(lattice.resolution, lattice.bounds, pixels_per_cell)

    def for_grid(
        self, resolution: tuple[int, int, int], bounds: Tensor, pixels_per_cell: float
    ) -> Targets:
        """The same for a lattice that need not be there, of so many samples in a box `[2, 3]`."""
        cell = float(((bounds[1] - bounds[0]) / (torch.tensor(resolution) - 1)).max())
        return self.resized(*self.size_for(bounds.mean(0), cell, pixels_per_cell))

    def size_for(self, middle: Tensor, cell: float, pixels_per_cell: float) -> tuple[int, int]:
        """Width and height of `for_lattice`, for cells of a size about a middle `[3]`."""
        width, height = self.cameras.width, self.cameras.height
        footprint = float(self.pixel_sizes_at(middle).mean())
        factor = max(1.0, cell / pixels_per_cell / footprint)
        if factor < 1.25:  # not worth blurring the photographs
            return width, height
        return max(8, round(width / factor)), max(8, round(height / factor))

    @property
    def channels(self) -> int:
        """C of the images."""
        return self.images.shape[-1]

    @property
    def size(self) -> tuple[int, ...]:
        """N, H, W, C."""
        return len(self.cameras), self.cameras.height, self.cameras.width, self.channels

    @property
    def num_pixels(self) -> int:
        """Of all views."""
        return len(self.cameras) * self.cameras.width * self.cameras.height

    def to(self, device: torch.device) -> Targets:
        """The same views on a device; these themselves if they are there."""
        if self.images.device.type == device.type:
            return self
        c2w, Ks = self.cameras.c2w.to(device), self.cameras.Ks.to(device)
        return Targets(
            Cameras(c2w, Ks, self.cameras.width, self.cameras.height),
            self.images.to(device),
            self.silhouettes.to(device),
            self.silhouette_weights.to(device),
            self.image_weights.to(device),
            self.views.to(device),
            None if self.gains is None else self.gains.to(device),
            None if self.maps is None else self.maps.to(device),
        )

    def with_cameras(self, cameras: Cameras) -> Targets:
        """The same pictures with other cameras."""
        return replace(self, cameras=cameras)

    def in_one_channel(self) -> Targets:
        """The pictures with their first channel alone."""
        return replace(self, images=self.images[..., :1])

    def exposed(self, gains: Tensor) -> Targets:
        """The pictures divided by their gains `[N, C]`."""
        return replace(self, images=self.images / gains[:, None, None], gains=gains)

    def local(self, views: Sequence[int]) -> Targets:
        """Those of some views that this process is to look at: all of them."""
        return self if list(views) == list(range(len(self.cameras))) else self[views]

    def together(self, out: Rendering) -> tuple[Targets, Rendering]:
        """Cameras of the whole set that these are a part of, and depths and normals that it shows.

        Args:
            out: a rendering of these views; it and these themselves if they are all.
        """
        part = self.part
        if part is None:
            return self, out
        none = torch.zeros(0)
        depths, normals = part.spread(out.depths.detach()), part.spread(out.normals.detach())
        hit_mask = part.spread(out.hit_mask.to(torch.uint8)).bool()
        found = Rendering(none, none, depths, normals, hit_mask)
        return Targets(part.cameras, none, none, none, none, part.views), found

    def at_most(self, rendered: Tensor) -> Tensor:
        """Where a photograph is saturated and a rendering brighter: `[N, H, W, C]` bool.

        Both may be right then: a photograph says no more than that it is at least so bright.
        """
        return self.saturated() & (rendered > self.images)

    def saturated(self) -> Tensor:
        """Where photographs are saturated: `[N, H, W, C]` bool."""
        top = TOP if self.gains is None else TOP / self.gains[:, None, None]
        return self.images >= top

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the images' noise, estimated inside the silhouettes.

        Photographs of a matte figure have .003. Zero where there is too little to tell.
        """
        inside = torch.minimum(self.silhouettes, self.image_weights) > 0.999
        return picture_noise(self.images, inside, FEWEST)

    def pixel_sizes(self, lattice: AnyLattice) -> Tensor:
        """Width of each view's pixels at the middle of the box, world units: `[N]`."""
        return self.pixel_sizes_at(lattice.bounds.mean(0))

    def pixel_sizes_at(self, middle: Tensor) -> Tensor:
        """Width of each view's pixels at a point `[3]`, world units: `[N]`."""
        _, depths = self.cameras.project(middle.to(self.cameras.c2w)[None])
        focal = (self.cameras.Ks[:, 0, 0] * self.cameras.Ks[:, 1, 1]).sqrt()
        return depths[:, 0] / focal


class SharedTargets(Targets):
    """N views whose pixels are shared out over the processes of a job.

    Whatever asks for all of `images`, or for some of the views, gets them from their processes:
    all call that together. What is too large for that asks for `local` views.

    Args:
        cameras: N cameras.
        planes: the pixels of this process's views.
        own: positions of these among the N, ascending.
        ranks: the processes.
        views: `[N]` which of a scene's views they are.
        gains: `[N, C]` by which the images were divided, or None.
    """

    def __init__(
        self,
        cameras: Cameras,
        planes: Planes,
        own: Sequence[int],
        ranks: Ranks,
        views: Tensor,
        gains: Tensor | None = None,
    ) -> None:
        self.__dict__.update(
            cameras=cameras, planes=planes, own=list(own), ranks=ranks, views=views, gains=gains,
            maps=None, part=None,
        )  # fmt: skip

    planes: Planes
    own: list[int]
    ranks: Ranks

    @classmethod
    def of_scene(cls, scene: SharedScene, views: Sequence[int]) -> SharedTargets:
        """Some views of a scene, at the size they were loaded."""
        place = {view: n for n, view in enumerate(scene.own)}
        own = [n for n, view in enumerate(views) if view in place]
        planes = Planes(
            scene.images, scene.silhouettes, scene.silhouette_weights, scene.image_weights
        )
        rows = [place[views[n]] for n in own]
        ids = torch.as_tensor(views)
        return cls(scene.cameras[ids], planes.rows(rows), own, scene.ranks, ids)

    @property
    def images(self) -> Tensor:
        """Of all views, for as long as they are looked at; so are the following three."""
        return self._all(self.planes.images)

    @property
    def silhouettes(self) -> Tensor:
        """See `Targets`."""
        return self._all(self.planes.silhouettes)

    @property
    def silhouette_weights(self) -> Tensor:
        """See `Targets`."""
        return self._all(self.planes.silhouette_weights)

    @property
    def image_weights(self) -> Tensor:
        """See `Targets`."""
        return self._all(self.planes.image_weights)

    def _all(self, own: Tensor) -> Tensor:
        return self.ranks.scattered(own, self.own, len(self.cameras))

    def __getitem__(self, views: Sequence[int] | Tensor) -> Targets:
        ids = torch.as_tensor(views)
        places, planes = self._own(ids.tolist())
        found = Planes(*(self.ranks.scattered(x, places, len(ids)) for x in planes))
        gains = None if self.gains is None else self.gains[ids]
        return Targets(self.cameras[ids], *found, self.views[ids], gains)

    def _own(self, ids: Sequence[int]) -> tuple[list[int], Planes]:
        """Which of some views are this process's, and their pixels."""
        row = {view: n for n, view in enumerate(self.own)}
        places = [k for k, view in enumerate(ids) if view in row]
        return places, self.planes.rows([row[ids[k]] for k in places])

    def local(self, views: Sequence[int]) -> Targets:
        """Those of some views that are this process's; a black one without weight if none is."""
        places, planes = self._own(views)
        part = Part(self.ranks, places, self.cameras[list(views)], self.views[list(views)])
        ids = [views[k] for k in places]
        if not ids:
            ids, planes = [views[0]], planes.blank()
        gains = None if self.gains is None else self.gains[ids]
        return Targets(self.cameras[ids], *planes, self.views[ids], gains, part=part)

    def resized(self, width: int, height: int) -> Targets:
        """See `Targets`."""
        cameras = self.cameras
        if (width, height) == (cameras.width, cameras.height):
            return self
        planes = self.planes.resized(width, height)
        smaller = cameras.resized(width, height)
        return SharedTargets(smaller, planes, self.own, self.ranks, self.views, self.gains)

    def with_cameras(self, cameras: Cameras) -> Targets:
        """See `Targets`."""
        return SharedTargets(cameras, self.planes, self.own, self.ranks, self.views, self.gains)

    def in_one_channel(self) -> Targets:
        """See `Targets`."""
        planes = self.planes._replace(images=self.planes.images[..., :1])
        return SharedTargets(self.cameras, planes, self.own, self.ranks, self.views, self.gains)

    def exposed(self, gains: Tensor) -> Targets:
        """See `Targets`."""
        images = self.planes.images / gains[self.own][:, None, None]
        planes = self.planes._replace(images=images)
        return SharedTargets(self.cameras, planes, self.own, self.ranks, self.views, gains)

    @property
    def channels(self) -> int:
        """See `Targets`."""
        return self.planes.images.shape[-1]

    @property
    def noise(self) -> float:
        """See `Targets`; found from what the median is of, which is less than the pixels."""
        if "found_noise" not in self.__dict__:
            planes = self.planes
            inside = torch.minimum(planes.silhouettes, planes.image_weights) > 0.999
            responses = torch.from_numpy(second_differences(planes.images, inside))
            every = self.ranks.concatenated(responses).numpy()
            self.__dict__["found_noise"] = noise_of(every, self.channels, FEWEST)
        return float(self.__dict__["found_noise"])
