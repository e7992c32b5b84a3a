"""A term that holds a lattice to a shape that is likely: where no view speaks, it decides.

    w Σ_band ρ((φ(v) − ψ(v)) / h)

over the vertices near the surface, ψ the distance to the likely shape and ρ Huber's function: a
surface that views place far from the likely one is pulled there no harder than one nearby.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from multiview.optimize.band import Band, Floats
from multiview.optimize.energy import robust, robust_weights
from sdfrender import Lattice

FAR = 1.0  # cells beyond which a difference counts linearly


@dataclass(frozen=True)
class Hold:
    """What to hold to.

    Args:
        shape: distances to it, in the box of the fit.
        weight: w.
    """

    shape: Lattice
    weight: float

    def rows(self, band: Band) -> tuple[Any, Floats, float]:
        """Of a Gauss-Newton step in the unknowns of a band.

        Returns:
            The matrix `[R, M]` and the residual `[R]`, their squares weighted; and the energy.
        """
        shape = self.shape
        if shape.resolution != band.lattice.resolution:
            shape = shape.resample(band.lattice.resolution)
        r = torch.from_numpy(band.at(band.smooth)) - shape.values.flatten()[band.smooth] / band.h
        scale = (self.weight * robust_weights(r, FAR)).sqrt().numpy()
        rows = band.rows(band.smooth[:, None], scale[:, None].astype(np.float32))
        return rows, scale * r.numpy(), self.weight * float(robust(r, FAR).sum())
