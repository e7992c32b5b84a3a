"""A code and its placement from images, by Levenberg-Marquardt through the renderer.

With u the unknowns of a `PlacedShape` and D the derivative of the lattice's values in them, a step
solves

    (Dᵀ (JᵀWJ + SᵀS) D + β Q + λ diag) x = −(Dᵀ g + β Q (u − u₀))

where J, W, S and g are those of `optimize.least_squares`, S with the carving term alone, and `u₀`
and `Q` the mean and the inverse covariance of what is likely: codes like those of the family's
known shapes, a placement near the one to start from. β counts in the energy's own unit, the square
of a cell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from multiview.optimize.normal_equations import LeastSquares
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.prior.placed_shape import PLACEMENT, PlacedShape, Placement
from multiview.recipes import Weights
from sdfrender.geometry.grid import points_at
from sdfrender.latent.field import LatentField

BAND = 3.2  # half width of the band in which values matter to the images, cells
SPREAD = (0.2, 0.2, 0.2, 0.2, 0.15, 0.15, 0.15)  # of likely placements: radians, log, units of s
LEAST, MOST = 1e-4, 1e4  # λ
EASE, RAISE = 0.3, 5.0  # of λ after a step that succeeded, and after one that did not
LARGEST_STEP = 0.35  # of the code in standard deviations of the family, and of log s


@dataclass(frozen=True, eq=False)
class Likely:
    """What codes and placements are likely: a Gaussian.

    Args:
        code: `[C]` mean.
        precision: `[C, C]` inverse covariance.
    """

    code: Tensor
    precision: Tensor

    @classmethod
    def of(cls, family: LatentField) -> Likely:
        """Codes like those of the known shapes."""
        mean, covariance = family.statistics()
        return cls(mean, torch.linalg.inv(covariance.double()).float())


class CodeFit:
    """One shape being fitted at one image size.

    Args:
        shape: where to start.
        targets: the views.
        appearance: colour and light; every rendering is shown to it.
        grid: samples along each axis of the lattice.
        bounds: `[2, 3]` box of the scene.
        likely: the prior.
        weight: β of the prior.
        code: whether the code is unknown, or only the placement.

    Attributes:
        shape: as it stands.
        energy: of the data and the prior, there.
    """

    def __init__(
        self,
        shape: PlacedShape,
        targets: Targets,
        appearance: Appearance,
        grid: tuple[int, int, int],
        bounds: Tensor,
        likely: Likely,
        weights: Weights,
        weight: float,
    ) -> None:
        self.shape, self.targets, self.appearance = shape, targets, appearance
        self.grid, self.bounds, self.likely, self.weight = grid, bounds, likely, weight
        self.weights = replace(weights, eikonal=0.0, laplacian=0.0)
        self.start = shape.placement
        self.damping = 1e-2
        self.problem = self._at(shape)
        self.energy = self._energy(shape, self.problem)

    def step(self, placement_only: bool = False) -> bool:
        """Try steps until one lowers the energy; whether one did."""
        A, b = self._normal_equations(self.shape, self.problem)
        free = slice(-PLACEMENT, None) if placement_only else slice(None)
        A, b = A[free, free], b[free]
        while self.damping <= MOST:
            x = torch.zeros(len(self.shape.code) + PLACEMENT)
            damped = A + self.damping * torch.diag(A.diagonal())
            x[free] = torch.linalg.solve(damped, -b).float()
            moved = self.shape.moved(x)
            problem = self._at(moved)
            energy = self._energy(moved, problem)
            if energy < self.energy:
                self.shape, self.problem, self.energy = moved, problem, energy
                self.damping = max(EASE * self.damping, LEAST)
                return True
            self.damping *= RAISE
        return False

    def _at(self, shape: PlacedShape) -> LeastSquares:
        lattice = shape.lattice(self.bounds, self.grid)
        return LeastSquares(lattice, self.targets, self.appearance, self.weights, BAND)

    def _energy(self, shape: PlacedShape, problem: LeastSquares) -> float:
        off = shape.code - self.likely.code
        placed = _placement_change(shape.placement, self.start) / torch.tensor(SPREAD)
        unlikely = off @ self.likely.precision @ off + placed.square().sum()
        return float(problem.terms.data) + self.weight * float(unlikely)

    def _normal_equations(self, shape: PlacedShape, problem: LeastSquares) -> tuple[Tensor, Tensor]:
        """`A` `[K, K]` and `b` `[K]`, float64."""
        band, lattice = problem.band, problem.band.lattice
        index = np.unravel_index(band.ids, lattice.resolution)
        points = points_at(index, lattice.resolution, lattice.bounds)
        D = (shape.derivative(points) / band.h).numpy()  # (M, K), in cells
        columns = [problem.pixels(d) + problem.rows.T @ (problem.rows @ d) for d in D.T.copy()]
        A = torch.from_numpy(D.T.astype(np.float64) @ np.stack(columns, 1))
        b = torch.from_numpy(D.T.astype(np.float64) @ problem.gradient)
        off = (shape.code - self.likely.code).double()
        Q = self.likely.precision.double()
        A[:-PLACEMENT, :-PLACEMENT] += self.weight * Q
        b[:-PLACEMENT] += self.weight * (Q @ off)
        stiff = torch.tensor(SPREAD).double() ** -2
        A[-PLACEMENT:, -PLACEMENT:] += self.weight * torch.diag(stiff)
        change = _placement_change(shape.placement, self.start).double()
        b[-PLACEMENT:] += self.weight * (stiff * change)
        return (A + A.T) / 2, b


def _placement_change(now: Placement, start: Placement) -> Tensor:
    """`[7]` the unknowns that lead from `start` to `now`, for small turns."""
    turn = now.rotation @ start.rotation.T
    skew = (turn - turn.T) / 2
    omega = torch.stack((skew[2, 1], skew[0, 2], skew[1, 0]))
    growth = (now.scale / start.scale).log()[None]
    return torch.cat((omega, growth, (now.center - start.center) / start.scale))
