"""The stereo term of a Gauss-Newton step: one row of depth for each pixel that agrees with others.

    λ Σ_pixels (p/h)² G (dz/h − δ)²

with p the width of a rendering's pixel at the object, h the spacing, G and δ those of `matching`;
pixels that would move far count less (Huber). λ is one over the variance that residuals of
normalised patches have where they agree, so that the term is a log-likelihood like the others: a
rig whose photographs agree well is believed more.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multiview.optimize.band import Band, Floats
from multiview.optimize.energy import pixels_in_cells
from multiview.optimize.stereo_rows import depth_rows, rays_of
from multiview.photo.targets import Targets
from multiview.stereo.matching import Matches, Matching, Seen, match
from multiview.stereo.pictures import Pictures
from sdfrender import Rendering

NEAR = 0.5  # cells; a shift beyond it counts linearly
WEIGHT = 0.05  # of a term whose residuals have a variance of 1
LEAST_VARIANCE = 0.02  # of residuals: what interpolation leaves even of perfect pictures


@dataclass(frozen=True, eq=False)
class StereoTerm:
    """What to compare at a level, and how.

    Args:
        pictures: all training views.
        matching: how.

    Where views take turns, those of other turns are neighbours too, with depths as their last turn
    saw them.
    """

    pictures: Pictures
    matching: Matching
    _seen: list[Seen] = field(default_factory=list)

    def rows(
        self, band: Band, targets: Targets, out: Rendering, count: float
    ) -> tuple[Any, Floats, Tensor]:
        """Of a Gauss-Newton step in the unknowns of a band.

        Args:
            band: the unknowns.
            targets: n of the views.
            out: their rendering.
            count: how often each of the n views counts.

        Returns:
            The matrix `[R, M]` and the residual `[R]`, their squares weighted; and per view the
            energy `[n]`, what the pixels that can be compared disagree by.
        """
        others = self._others(targets, out)
        views = targets.views if others is None else torch.cat((targets.views, others.views))
        found = match(
            targets,
            self.pictures[views],
            out,
            band.h,
            self.matching,
            band.lattice.bounds.mean(0),
            others=others,
        )
        weight = count * WEIGHT / disagreement(found)
        cells = weight * (pixels_in_cells(band.lattice, targets) ** 2).numpy()
        use = found.curvature > 0
        pixels, shift = found.pixels[use], found.shift[use]
        view, row, column = pixels.T
        rays = rays_of(targets.cameras, pixels)
        z = out.depths[view, row, column]
        points = targets.cameras.centers[view] + z[:, None] * rays
        near = np.minimum(1, NEAR / np.maximum(np.abs(shift), 1e-9))
        root = np.sqrt(cells[view] * found.curvature[use] * near).astype(np.float32)
        rows = depth_rows(band, points, rays)
        rows.data *= np.repeat(root, np.diff(rows.indptr))
        return rows, (-shift * root).astype(np.float32), energy(found, cells, self.matching)

    def _others(self, targets: Targets, out: Rendering) -> Seen | None:
        """What views of other turns saw last; these are remembered in their place."""
        before = [seen.but(targets.views) for seen in self._seen]
        before = [seen for seen in before if len(seen.views)]
        self._seen[:] = [*before, Seen.of(targets, out)]
        return reduce(operator.add, before) if before else None


def disagreement(found: Matches) -> float:
    """Variance of the residuals where patches agree, `2 (1 − ZNCC)`; that of a typical pixel."""
    used = found.score[found.curvature > 0]
    return max(2 * (1 - float(np.median(used))), LEAST_VARIANCE) if len(used) else 1.0


def energy(found: Matches, cells: Any, matching: Matching) -> Tensor:
    """Per view `Σ 2 (1 − ZNCC)` of the pixels that are compared, times `cells` `[n]`: `[n]`."""
    compared = found.here > -1
    off = 2 * (1 - found.here[compared].clip(matching.least, 1))
    sums = np.bincount(found.pixels[compared, 0], off, minlength=len(cells))
    return torch.from_numpy(cells * sums).float()
