"""The functions of place and direction that fit best to what photographs show beyond a model.

With the surface held fixed they are linear in their coefficients c. All layers are solved for at
once: `E(c) = Σ_pixels w (f(x, v) − r)² + Σ_l (ρ_l Σ_edges (c_u − c_v)² + η_l Σ c²)`, where r is
what the model leaves of a pixel. Both ρ and η are in pixels: what fewer pixels show, or from too
few directions to tell, stays near 0, and what the neighbours say. The weights w make residuals
count linearly that stay large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from multiview.photo.albedo import differences
from sdfrender.kernels.arrays import Singles
from sdfrender.kernels.threads import run_all, slabs
from sdfrender.looks.view_dependence import (
    Degrees,
    Layer,
    Places,
    Shape,
    ViewDependence,
    add_on_threads,
    numbered,
    offsets_in,
)
from sdfrender.looks.view_sums import add_blocks, mark_corners, pull_values

ROBUST_SCALE = 0.15  # residuals beyond this count linearly
ROUNDS = 2  # of reweighting
ITERATIONS = 8  # of conjugate gradients, at most
MOST_NUMBERS = 100_000_000  # of the sums of all threads
TOLERANCE = 1e-4  # of the squared residual, at which they end


class Plan(NamedTuple):
    """A layer to solve for.

    Args:
        shape: samples of its lattice along each axis.
        degrees: of its harmonics: the first and the last.
        smoothness: ρ, in pixels: how many of them a difference of neighbours counts.
        pull: η, in pixels: how many of them say that there is nothing.
    """

    shape: Shape
    degrees: Degrees
    smoothness: float
    pull: float


@dataclass(frozen=True, eq=False)
class Samples:
    """P pixels that show the surface.

    Args:
        points: `[P, 3]` world units.
        to_eye: `[P, 3]` unit vectors from them to the eye.
        left: `[P, C]` what a model leaves of the photographs there.
        saturated: `[P, C]` bool, where these say no more than that it is at least so bright; None
            if they are nowhere.
    """

    points: Tensor
    to_eye: Tensor
    left: Tensor
    saturated: Tensor | None = None

    def errors(self, added: Tensor | float) -> Tensor:
        """`[P, C]` what is still wrong after something was added to the model."""
        rest = self.left - added
        return rest if self.saturated is None else torch.where(self.saturated & (rest < 0), 0, rest)

    def __len__(self) -> int:
        return len(self.points)

    def sorted_by_cell(self, bounds: Tensor, shape: Shape) -> Samples:
        """The same, cell after cell of a lattice: what pixels ask for is then near in memory."""
        cells = Places.of(self.points, self.to_eye, bounds, shape, (0, 0)).cells
        order = torch.from_numpy(np.argsort(cells, kind="stable"))
        saturated = None if self.saturated is None else self.saturated[order]
        return Samples(self.points[order], self.to_eye[order], self.left[order], saturated)


def solve_view_dependence(
    samples: Samples,
    bounds: Tensor,
    plans: list[Plan],
    iterations: int = ITERATIONS,
    rounds: int = ROUNDS,
) -> ViewDependence:
    """What fits best to some pixels. Not differentiable.

    Args:
        samples: P pixels, all of them on the surface.
        bounds: `[2, 3]` the box of the shape.
        plans: the layers.
        iterations: of conjugate gradients in each round.
        rounds: of reweighting.
    """
    samples = samples.sorted_by_cell(bounds, plans[0].shape)
    parts = [_Unknowns(plan, samples, bounds) for plan in plans]
    left: Singles = samples.errors(0.0).contiguous().numpy()
    weights = np.ones(len(left), np.float32)
    x = [part.nothing(left.shape[1]) for part in parts]
    for number in range(rounds):
        if number:
            fitted = _fitted(parts, x)
            rest: Singles = samples.errors(torch.from_numpy(fitted)).numpy()
            left = fitted + rest  # a saturated pixel that is bright enough asks for nothing else
            far = np.abs(rest).mean(-1)
            weights = (ROBUST_SCALE / np.maximum(far, ROBUST_SCALE)).astype(np.float32)
        for part in parts:
            part.weigh(weights)
        x = _solved(parts, left, weights, x, iterations)
    return ViewDependence(tuple(part.layer(c) for part, c in zip(parts, x, strict=True)))


class _Unknowns:
    """The coefficients of one layer, and its part of the normal equations."""

    def __init__(self, plan: Plan, samples: Samples, bounds: Tensor) -> None:
        self.plan = plan
        self.places = Places.of(samples.points, samples.to_eye, bounds, plan.shape, plan.degrees)
        self.offsets = offsets_in(plan.shape)
        near = np.zeros(int(np.prod(plan.shape)), np.uint8)
        mark_corners(self.places.cells, self.offsets, near)
        self.ids = torch.from_numpy(np.flatnonzero(near).astype(np.int32))
        self.row_of = numbered(self.ids, plan.shape)
        self.M, self.K = len(self.ids), self.places.basis.shape[1]
        self.rough: Any = differences(self.row_of.reshape(plan.shape), self.M)
        self.inverse: Singles = np.zeros((self.M, self.K, self.K), np.float32)

    def nothing(self, channels: int) -> Singles:
        """`[M, K, C]` zeros."""
        return np.zeros((self.M, self.K, channels), np.float32)

    def weigh(self, weights: Singles) -> None:
        """Take up weights `[P]` of the pixels: they make the preconditioner."""
        blocks = self._sums(add_blocks, weights, self.K)
        diagonal = np.arange(self.K)
        hold = self.plan.pull + self.plan.smoothness * self.rough.diagonal()
        blocks[:, diagonal, diagonal] += hold[:, None].astype(np.float32)
        self.inverse = np.linalg.inv(blocks).astype(np.float32)

    def layer(self, x: Singles) -> Layer:
        """The layer with these coefficients, as it is kept: in half precision."""
        values = torch.from_numpy(x).half().float()
        return Layer(self.plan.shape, self.plan.degrees, self.ids, values)

    def pull(self, colors: Singles) -> Singles:
        """`[M, K, C]` the transpose of what coefficients are at the pixels."""
        return self._sums(pull_values, colors, colors.shape[1])

    def hold(self, x: Singles) -> Singles:
        """Curvature of what holds coefficients smooth and small, times them."""
        flat = x.reshape(self.M, -1)
        rough = self.plan.smoothness * (self.rough @ flat)
        held: Singles = (self.plan.pull * flat + rough).astype(np.float32)
        return held.reshape(x.shape)

    def _sums(self, kernel: Any, pixels: Singles, width: int) -> Singles:
        """What a kernel adds up over all pixels, on several threads: `[M, K, width]`."""
        size = max(self.M * self.K * width, 1)
        threads = min(torch.get_num_threads(), max(1, MOST_NUMBERS // size))

        def part(p: slice) -> Singles:
            out = self.nothing(width)
            kernel(*self.places.some(p), self.row_of, self.offsets, pixels[p], out)
            return out

        total, *others = run_all(part, slabs(max(len(pixels), 1), threads), threads)
        for each in others:
            total += each
        return total


def _fitted(parts: list[_Unknowns], x: list[Singles]) -> Singles:
    """`[P, C]` what coefficients are at the pixels."""
    total = np.zeros((len(parts[0].places.cells), x[0].shape[-1]), np.float32)
    for part, values in zip(parts, x, strict=True):
        add_on_threads(part.places, part.row_of, part.offsets, values, total)
    return total


def _solved(
    parts: list[_Unknowns], left: Singles, weights: Singles, x: list[Singles], iterations: int
) -> list[Singles]:
    """Conjugate gradients from x, with the blocks of single vertices as their preconditioner."""
    w = weights[:, None]

    def products(z: list[Singles]) -> list[Singles]:
        seen = w * _fitted(parts, z)
        return [part.pull(seen) + part.hold(c) for part, c in zip(parts, z, strict=True)]

    def preconditioned(r: list[Singles]) -> list[Singles]:
        return [part.inverse @ c for part, c in zip(parts, r, strict=True)]

    now = products(x)
    r = [part.pull(w * left) - c for part, c in zip(parts, now, strict=True)]
    y = preconditioned(r)
    p, size = y, _dot(r, y)
    enough = TOLERANCE * size
    for _ in range(iterations):
        if size <= enough:
            break
        curved = products(p)
        step = np.float32(size / _dot(p, curved))
        x = [a + step * b for a, b in zip(x, p, strict=True)]
        r = [a - step * b for a, b in zip(r, curved, strict=True)]
        y = preconditioned(r)
        before, size = size, _dot(r, y)
        p = [a + np.float32(size / before) * b for a, b in zip(y, p, strict=True)]
    return x


def _dot(a: list[Singles], b: list[Singles]) -> float:
    return sum(float((x * y).sum(dtype=np.float64)) for x, y in zip(a, b, strict=True))
