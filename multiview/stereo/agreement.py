"""How well photographs agree with each other over a surface: a number and a map for each view.

It judges a surface where there is no truth. A pixel inside the mask scores the mean ZNCC of the
better half of up to 6 neighbouring views that see the point, held to 0 … 1; it scores 0 where the
surface is missing or fewer than two views see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multiview.photo.targets import Targets
from multiview.stereo.matching import Matching, match
from multiview.stereo.pictures import INSIDE, Pictures
from sdfrender import Lattice, Lighting, render

SIZE = 400  # longer side of the photographs compared, pixels
EVERY = 3  # pixels, across and down, of those that are scored
MOST_VIEWS = 100  # that may be neighbours


class Map(NamedTuple):
    """Scores of one view.

    Args:
        scores: `[h, w]` in 0 … 1; NaN where nothing could be compared.
        inside: `[h, w]` whether the mask has the object there.
    """

    scores: NDArray[np.float32]
    inside: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Scores of N views.

    Args:
        maps: `[N, h, w]` in 0 … 1; NaN outside the masks and in views that were not scored.
        compared: `[N, h, w]` whether photographs could be compared there; where they could not, but
            the mask has the object, the score is 0.
        views: `[N]` which of a scene's views they are.
    """

    maps: NDArray[np.float32]
    compared: NDArray[np.bool_]
    views: Tensor

    def map_of(self, view: int) -> Map | None:
        """The scores of one of the scene's views; None if it was not scored."""
        ids = [n for n, known in enumerate(self.views.tolist()) if known == view]
        if not ids or not np.isfinite(self.maps[ids[0]]).any():
            return None
        scores, compared = self.maps[ids[0]], self.compared[ids[0]]
        return Map(np.where(compared, scores, np.float32(math.nan)), np.isfinite(scores))

    def share(self, views: Sequence[int]) -> float | None:
        """Of the pixels of some of the scene's views: those compared; None if none was scored."""
        ids = [n for n, view in enumerate(self.views.tolist()) if view in set(views)]
        inside = np.isfinite(self.maps[ids])
        return float(self.compared[ids][inside].mean()) if inside.any() else None

    def mean(self, views: Sequence[int]) -> float | None:
        """The mean over the pixels of some of the scene's views; None if none was scored."""
        ids = [n for n, view in enumerate(self.views.tolist()) if view in set(views)]
        scored = self.maps[ids]
        scored = scored[np.isfinite(scored)]
        return float(scored.mean()) if len(scored) else None


def agreement(lattice: Lattice, targets: Targets, references: Sequence[int]) -> Agreement:
    """Score some views, all of `targets` their possible neighbours. Not differentiable.

    Args:
        lattice: the surface.
        targets: N views.
        references: which of the N to score.
    """
    shown = targets.within(SIZE)
    width, height = (max(1, round(x / EVERY)) for x in (shown.cameras.width, shown.cameras.height))
    small = shown.resized(width, height)
    flat = Lighting(ambient=1.0, headlight=None)
    with torch.no_grad():
        out = render(lattice, small.cameras, lighting=flat, coverage=False)
    found = match(
        small,
        Pictures.of(shown),
        out,
        float(lattice.spacing.max()),
        Matching(),
        lattice.bounds.mean(0),
        list(references),
    )
    maps = np.full(small.silhouettes.shape, math.nan, np.float32)
    inside = torch.minimum(small.silhouettes, small.image_weights).numpy() > INSIDE
    for view in references:
        maps[view][inside[view]] = 0
    scored = found.score.clip(0, 1).astype(np.float32)
    place = tuple(found.pixels.T)
    maps[place] = np.where(inside[place], scored, math.nan)
    compared = np.zeros(maps.shape, bool)
    compared[place] = found.score > -1  # what cannot be compared has that
    return Agreement(maps, compared, targets.views)
