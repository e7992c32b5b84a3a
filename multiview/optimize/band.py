"""The unknowns of Gauss-Newton, and what is linear in them, as sparse matrices.

Notation: `M` vertices near the surface are unknown, `h` is the largest spacing. Unknowns and values
are in units of `h`, so that a step of 1 moves the surface by about one cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from sdfrender import SparseLattice
from sdfrender.geometry.blocks import within
from sdfrender.geometry.sparse.blocked import Stored
from sdfrender.geometry.sparse.lattice import AnyLattice
from sdfrender.geometry.sparse.vertices import add_at, values_at
from sdfrender.geometry.trilinear import corner_offsets, corner_weights

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


class Band:
    """The M vertices of a lattice with `|φ| < width · h`.

    Args:
        lattice: one lattice; a sparse one keeps what is nearer than the wider of both.
        width: half width of the band of unknowns, in cells.
        smooth_width: half width of the band in which the regularisers act, in cells; smaller by a
            cell, so that all that they touch is unknown.

    Attributes:
        ids: `[M]` flat indices of the unknowns.
        smooth: `[R]` flat indices of the vertices where the regularisers act.
    """

    def __init__(self, lattice: AnyLattice, width: float, smooth_width: float) -> None:
        self.lattice = lattice
        self.h = float(lattice.spacing.max())
        values = lattice.values.float().contiguous()  # world units, no copy
        self._values = self._stored(values.numpy())
        # and what rounding may add
        near = within(self._values, 1.001 * max(width, smooth_width) * self.h)
        distance = np.abs(self.at(near))
        self.ids = near[distance < width].astype(np.int32)
        self.smooth = near[distance < smooth_width].astype(np.int32)
        # From 1; 0: held fixed. Of zeros only what is written takes memory.
        self._unknown = self._stored(np.zeros(lattice.values.shape, np.int32))
        add_at(self._unknown, self.ids, np.arange(1, len(self.ids) + 1, dtype=np.int32))
        spacing = lattice.spacing.double().numpy()
        self._scale = self.h / spacing  # cells along each axis to cells of size h
        self._mean = float(np.exp(np.log(spacing).mean()))

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, vertices: Any) -> Floats:
        """The lattice's values at some vertices `[…]`, flat indices, in cells."""
        found: Floats = np.divide(values_at(self._values, vertices), np.float32(self.h))
        return found

    def moved(self, x: Floats) -> Tensor:
        """The lattice's values, moved by unknowns `[M]`, world units."""
        values = self.lattice.values.contiguous().clone()
        add_at(self._stored(values.numpy()), self.ids, self.h * x)
        return values

    def scatter(self, x: Floats) -> Tensor:
        """Unknowns `[M]` as a tangent of the lattice's values, world units."""
        out = np.zeros(self.lattice.values.shape, np.float32)
        add_at(self._stored(out), self.ids, self.h * x)
        return torch.from_numpy(out)

    def _stored(self, values: NDArray[Any]) -> Stored:
        """What has the shape of the lattice's values, for kernels."""
        if isinstance(self.lattice, SparseLattice):
            far = values.dtype.type(self.lattice.far if values.dtype.kind == "f" else 0)
            return self.lattice.blocked()._replace(values=values, far=far)
        return values

    def rows(self, vertices: Ints, weights: Floats) -> Any:
        """A sparse matrix `[R, M]` with entries `weights` `[R, k]` at `vertices` `[R, k]`."""
        if not len(self):  # a lattice without a surface
            return sparse.csr_matrix((len(vertices), 0), dtype=np.float32)
        columns = values_at(self._unknown, vertices) - 1
        data = np.where(columns >= 0, weights, 0).astype(np.float32)
        R, k = columns.shape
        starts = np.arange(0, R * k + 1, k, dtype=np.int32)
        inside = np.maximum(columns, 0)
        return sparse.csr_matrix((data.ravel(), inside.ravel(), starts), shape=(R, len(self)))

    def laplacian(self) -> tuple[Any, Floats]:
        """`h Δφ` at the vertices where the regularisers act, as in `energies.laplacian`.

        Returns:
            The matrix `[R, M]` and the residual `[R]`.
        """
        left, right, span = self._neighbours()
        weight = np.where(span == 2, self._scale**2 * self._mean / self.h, 0).astype(np.float32)
        vertices = np.concatenate((left, right, self.smooth[:, None]), 1)
        weights = np.concatenate((weight, weight, -2 * weight.sum(1, keepdims=True)), 1)
        return self.rows(vertices, weights), (weights * self.at(vertices)).sum(1)

    def eikonal(self) -> tuple[Any, Floats]:
        """`(|∇φ|² − 1) / 2` at those vertices, as in `energies.eikonal`, and its derivative.

        Returns:
            The matrix `[R, M]` and the residual `[R]`.
        """
        left, right, span = self._neighbours()
        slope = (self._scale / np.maximum(span, 1)).astype(np.float32)
        gradient = (self.at(right) - self.at(left)) * slope  # (R, 3)
        weights = gradient * slope
        rows = self.rows(np.concatenate((right, left), 1), np.concatenate((weights, -weights), 1))
        return rows, ((gradient**2).sum(1) - 1) / 2

    def samples(self, points: Tensor) -> tuple[Any, Floats]:
        """φ at points `[P, 3]` of the box: the matrix `[P, M]`, and φ itself `[P]`, in cells."""
        X, Y, Z = self.lattice.resolution
        index = (points - self.lattice.bounds[0]) / self.lattice.spacing
        cell = index.floor().clamp(torch.zeros(3), torch.tensor((X, Y, Z)) - 2)
        first = (cell.int() * torch.tensor((Y * Z, Z, 1), dtype=torch.int32)).sum(-1)
        offsets = corner_offsets(Y, Z, points.device).int()
        vertices = (first[:, None] + offsets).numpy()
        weights = corner_weights((index - cell).clamp(0, 1)).numpy()
        return self.rows(vertices, weights), (weights * self.at(vertices)).sum(1)

    @staticmethod
    def stack(rows: Sequence[Any]) -> Any:
        """Matrices one below the other."""
        return sparse.vstack(rows, format="csr")

    @staticmethod
    def joined(residuals: Sequence[Floats]) -> Floats:
        """Residuals one after the other."""
        return np.concatenate(residuals).astype(np.float32)

    @staticmethod
    def weighted(rows: Any, weights: Floats) -> Any:
        """Each row times its own weight of `[R]`."""
        return sparse.diags(weights) @ rows

    @staticmethod
    def by_view(views: Any, x: Floats, count: int) -> Tensor:
        """Sums of `x` `[P]` over the points of each view: `[count]`."""
        return torch.from_numpy(np.bincount(views, x, minlength=count))

    @staticmethod
    def own(x: Tensor) -> Any:
        """A tensor as this band computes with it."""
        return x.numpy()

    def _neighbours(self) -> tuple[Ints, Ints, Ints]:
        """Neighbours of the smoothed vertices to the left and right, and cells between: `[R, 3]`.

        At a face of the box a vertex is its own neighbour.
        """
        sizes = np.array(self.lattice.resolution, np.int32)
        index = np.stack(np.unravel_index(self.smooth, sizes), 1).astype(np.int32)
        step = np.array((sizes[1] * sizes[2], sizes[2], 1), np.int32)
        before, after = (index > 0).astype(np.int32), (index < sizes - 1).astype(np.int32)
        here = self.smooth[:, None]
        return here - before * step, here + after * step, before + after
