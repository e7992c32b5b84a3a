"""Objects that a network has not seen, what it is shown of them, and what it makes of that."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender import Cameras, InputError, Lattice
from sdfrender.meshes.metrics import occupancy_iou
from sdfrender.report.pictures import for_display
from sdfrender.report.turntable import all_in_clay, in_clay
from singleview.data.dataset import Dataset, spread_views
from singleview.data.samples import HALF_PADDED_BOX
from singleview.measures.occupancy import iou_at, logits_at
from singleview.measures.shapes import (
    RESOLUTIONS,
    inside,
    rendered_silhouette_iou,
    true_inside,
)
from singleview.models.observations import Observer
from singleview.predict.occupancy import OccupancyPredictor
from singleview.predict.predict import Predictor
from singleview.report.dots import draw_points
from singleview.settings.choices import Split
from singleview.training.learners.occupancy import code_of

SIDES, SIZE = 3, 160  # pictures of each shape, their width and height in pixels
POINTS = 20_000  # of each object at which occupancy is judged
LEVELS = 1  # of MISE: 64³ is enough for pictures


@dataclass(frozen=True, eq=False)
class Guess:
    """What a network makes of one object.

    Args:
        seen: `[H, W, 3 or 4]` what it was shown, for a screen; None if nothing.
        lattice: the shape; None if it is empty.
        score: of this observation.
        mean: of all observations of the object that were judged.
    """

    seen: Tensor | None
    lattice: Lattice | None
    score: float
    mean: float


class Gallery(ABC):
    """N objects of one split, and a network that guesses them.

    Attributes:
        names: N, `CATEGORY/OBJECT`.
        split: of the objects.
        measure: the score in words.
    """

    names: Sequence[str]
    split: Split
    measure: str

    @abstractmethod
    def guess(self, i: int) -> Guess:
        """What the network makes of object i."""

    @abstractmethod
    def truth(self, i: int) -> Tensor:
        """`[SIDES, H, W, 4]` object i from all sides, for a screen, with alpha."""

    def sides(self, i: int) -> Cameras:
        """The cameras of the pictures of object i."""
        return Cameras.orbit(SIDES, width=SIZE, fov=math.radians(42))

    def drawn(self, i: int, lattice: Lattice) -> Tensor:
        """`[SIDES, H, W, 4]` a guess of object i from the same sides."""
        return torch.stack(list(all_in_clay(lattice, self.sides(i))))


class Pictures(Gallery):
    """Networks that take a picture to a lattice.

    Args:
        predictor: the network.
        dataset: the objects.
        split: theirs.
        views: pictures of each object that are judged.
    """

    def __init__(self, predictor: Predictor, dataset: Dataset, split: Split, views: int) -> None:
        self.predictor, self.dataset, self.split = predictor, dataset, split
        self.names = dataset.names
        self.views = spread_views(dataset.views, views)
        self.solids = true_inside(dataset, RESOLUTIONS[-1])
        self.measure = (
            "silhouette IoU on the other pictures"
            if self.solids is None
            else f"IoU at {RESOLUTIONS[-1]}³"
        )

    def guess(self, i: int) -> Guess:
        """What the network makes of some pictures of object i; the first of them is shown."""
        item = self.dataset[i]
        lattices = self.predictor(item.views.images[self.views])
        if self.solids is not None:
            found = occupancy_iou(inside(lattices, RESOLUTIONS[-1]), self.solids[i]).tolist()
        else:
            found = [self._silhouettes(i, lattices.values[k], v) for k, v in enumerate(self.views)]
        first = Lattice(lattices.values[0], lattices.bounds)
        seen = for_display(item.views.images[self.views[0]]).expand(-1, -1, 3)
        empty = not bool((first.values < 0).any())
        return Guess(seen, None if empty else first, found[0], sum(found) / len(found))

    def _silhouettes(self, i: int, values: Tensor, view: int) -> float:
        views = self.dataset[i].views
        others = [v for v in range(len(views.cameras)) if v != view]
        lattice = Lattice(values, self.dataset.bounds)
        return rendered_silhouette_iou(lattice, views.silhouettes[others], views.cameras[others])

    def truth(self, i: int) -> Tensor:
        """`[SIDES, H, W, 4]` in clay where the true shape is known, else other pictures of it."""
        item = self.dataset[i]
        if item.values is not None:
            return self.drawn(i, Lattice(item.values, self.dataset.bounds))
        others = self._others()
        colors = for_display(item.views.images[others]).expand(-1, -1, -1, 3)
        return torch.cat((colors, item.views.silhouettes[others][..., None]), -1)

    def sides(self, i: int) -> Cameras:
        """From all around; where the true shape is not known, those of other pictures."""
        if self.dataset.values is not None:
            return super().sides(i)
        return self.dataset.cameras(i)[self._others()]

    def _others(self) -> list[int]:
        V = self.dataset.views
        return [(self.views[0] + round(k * V / (SIDES + 1))) % V for k in range(1, SIDES + 1)]


class Points(Gallery):
    """Occupancy networks, whatever they take.

    Args:
        predictor: the network.
        observer: what it is shown.
        split: of the objects.
        seeds: observations of each object that are judged.
    """

    measure = "IoU at random points"

    def __init__(
        self, predictor: OccupancyPredictor, observer: Observer, split: Split, seeds: int
    ) -> None:
        self.predictor, self.observer, self.split = predictor, observer, split
        self.names = observer.samples.names
        self.seeds = range(seeds if observer.kind in ("points", "image") else 1)

    @torch.no_grad()
    def guess(self, i: int) -> Guess:
        """What the network makes of some observations of object i; the first of them is shown."""
        samples, model = self.observer.samples, self.predictor.model
        level = self.predictor.threshold
        points, solid = samples.points[i, :POINTS].float(), samples.inside[i, :POINTS]
        codes = [code_of(model, self.observer, i, seed) for seed in self.seeds]
        found = [iou_at(logits_at(model, code, points), solid, level) for code in codes]
        try:
            lattice = self.predictor.lattice(codes[0], LEVELS)
        except InputError:
            lattice = None  # nothing is occupied
        return Guess(self._seen(i), lattice, found[0], sum(found) / len(found))

    def _seen(self, i: int) -> Tensor | None:
        seen, kind = self.observer.fixed(i), self.observer.kind
        if seen is None or kind == "index":
            return None
        if kind == "image":
            return for_display(seen[0]).expand(-1, -1, 3)
        camera = self.sides(i)[0]
        if kind == "points":
            return draw_points(seen[0], None, camera)
        half = HALF_PADDED_BOX * (1 - 1 / len(seen[0]))  # to the middle of the outermost voxels
        return in_clay(Lattice(0.5 - seen[0], torch.tensor([[-half] * 3, [half] * 3])), camera)

    def truth(self, i: int) -> Tensor:
        """`[SIDES, H, W, 4]` the stored points of the true surface."""
        samples, cameras = self.observer.samples, self.sides(i)
        points, normals = samples.surface[i].float(), samples.normals[i].float()
        return torch.stack([draw_points(points, normals, cameras[k]) for k in range(len(cameras))])
