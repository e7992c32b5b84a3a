"""What is rendered, and what its rays meet, on one card."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sdfrender.engines.cuda.arrays import with_sizes
from sdfrender.kernels.light_terms import INTENSITY
from sdfrender.kernels.trilinear_cell import Grid, numbers


@dataclass(frozen=True, eq=False)
class SceneTensors:
    """What is rendered, on one card.

    Args:
        values: `[B, X, Y, Z]` float32 or float64.
        lo: `(x, y, z)` first vertex, world.
        h: `(x, y, z)` spacing.
        views: `[N, 16]` float64: each camera's A, o, axis and focal, see `View`.
        width: pixels.
        height: pixels.
        lights: `[1 or N, K, 4 + C]` float64, see `light_terms`.
        albedo: `[X, Y, Z, C]` over the same box; `[0, 0, 0, C]` for an albedo of 1.
        coverage: find grazes.
        most: events per ray.
        reattach: IMPLICIT or ONE_STEP.
        deterministic: derivatives are the same to the bit every time.
    """

    values: Tensor
    lo: tuple[float, float, float]
    h: tuple[float, float, float]
    views: Tensor
    width: int
    height: int
    lights: Tensor
    albedo: Tensor
    coverage: bool
    most: int
    reattach: int
    deterministic: bool = False

    @property
    def channels(self) -> int:
        """Of the images."""
        return self.lights.shape[-1] - INTENSITY

    @property
    def pixels(self) -> int:
        """Of one view."""
        return self.width * self.height

    def numbers(self) -> tuple[tuple[float, ...], Tensor]:
        """The grid, 15 numbers, and the cameras `[N, 18]`, see `grid_of` and `view_of`.

        The grid is a tuple: a card reads the arguments of a kernel without a register for each.
        """
        _, X, Y, Z = self.values.shape
        hx, hy, hz = self.h
        ih = (1 / hx, 1 / hy, 1 / hz)
        grid = Grid(X, Y, Z, (Y + 2) * (Z + 2), Z + 2, self.lo, self.h, ih, min(self.h))
        return tuple(numbers(grid).tolist()), with_sizes(self.views, self.width, self.height)


@dataclass(frozen=True, eq=False)
class Met:
    """What the rays meet of one lattice: K pixels come near it.

    Args:
        lattice: `[(X+2)(Y+2)(Z+2)]` with one more vertex on every side.
        pixels: `[K]` int64 flat index over all views.
        events: their events, see `arrays.records`.
        counts: `[K]` int32 how many.
        alone: `[A]` int64 which of the K see one opaque crossing and nothing else.
        mixed: `[M]` int64 which see anything else.
    """

    lattice: Tensor
    pixels: Tensor
    events: Tensor
    counts: Tensor
    alone: Tensor
    mixed: Tensor
