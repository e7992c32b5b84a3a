"""The unknowns of Gauss-Newton on a card; the twin of `optimize.band`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from multiview.algebra.rows import SparseRows, Stacked
from multiview.optimize.band import Band
from sdfrender import Lattice
from sdfrender.geometry.trilinear import corner_offsets, corner_weights


class CardBand:
    """The M vertices of a lattice with `|φ| < width · h`; as `Band`, with tensors.

    Args:
        lattice: one lattice, on any device.
        width: half width of the band of unknowns, in cells.
        smooth_width: half width of the band in which the regularisers act, in cells.

    Attributes:
        ids: `[M]` flat indices of the unknowns.
        smooth: `[R]` flat indices of the vertices where the regularisers act.
        unknown: `[X Y Z]` the number of each vertex among the unknowns, −1 for those held fixed.
    """

    def __init__(self, lattice: Lattice, width: float, smooth_width: float) -> None:
        self.lattice, self.widths = lattice, (width, smooth_width)
        self.h = float(lattice.spacing.max())
        self._values = lattice.values.float().reshape(-1)
        distance = self.at(slice(None)).abs()
        self.ids = (distance < width).nonzero()[:, 0]
        self.smooth = (distance < smooth_width).nonzero()[:, 0]
        self.unknown = torch.full_like(self._values, -1, dtype=torch.int64)
        self.unknown[self.ids] = torch.arange(len(self.ids), device=self.ids.device)
        spacing = lattice.spacing.double()
        self._scale = (self.h / spacing).float()
        self._mean = float(spacing.log().mean().exp())

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, vertices: Any) -> Tensor:
        """The lattice's values at some vertices `[…]`, flat indices, in cells."""
        found: Tensor = self._values[vertices] / self.h
        return found

    def moved(self, x: Tensor) -> Tensor:
        """The lattice's values, moved by unknowns `[M]`, world units."""
        values = self.lattice.values.reshape(-1).clone()
        values[self.ids] += (self.h * x).to(values)
        return values.reshape(self.lattice.resolution)

    def rows(self, vertices: Tensor, weights: Tensor) -> SparseRows:
        """A matrix `[R, M]` with entries `weights` `[R, k]` at `vertices` `[R, k]`."""
        if not len(self):  # a lattice without a surface
            none = vertices.new_zeros(len(vertices), 0)
            return SparseRows(none, weights.new_zeros(none.shape), 0)
        columns = self.unknown[vertices]
        return SparseRows(columns.clamp(min=0), torch.where(columns >= 0, weights, 0.0), len(self))

    def laplacian(self) -> tuple[SparseRows, Tensor]:
        """`h Δφ`, see `Band.laplacian`: the matrix `[R, M]` and the residual `[R]`."""
        left, right, span = self._neighbours()
        weight = torch.where(span == 2, self._scale**2 * self._mean / self.h, 0.0)
        vertices = torch.cat((left, right, self.smooth[:, None]), 1)
        weights = torch.cat((weight, weight, -2 * weight.sum(1, keepdim=True)), 1)
        return self.rows(vertices, weights), (weights * self.at(vertices)).sum(1)

    def eikonal(self) -> tuple[SparseRows, Tensor]:
        """`(|∇φ|² − 1) / 2`, see `Band.eikonal`: the matrix `[R, M]` and the residual `[R]`."""
        left, right, span = self._neighbours()
        slope = self._scale / span.clamp(min=1)
        gradient = (self.at(right) - self.at(left)) * slope  # (R, 3)
        weights = gradient * slope
        here = self.smooth[:, None]
        # At a face a vertex is its own neighbour, at an edge twice: one entry for all of that.
        own = torch.where(right == here, weights, 0.0) - torch.where(left == here, weights, 0.0)
        ahead = torch.where(right == here, 0.0, weights)
        behind = torch.where(left == here, 0.0, -weights)
        vertices = torch.cat((right, left, here), 1)
        rows = self.rows(vertices, torch.cat((ahead, behind, own.sum(1, keepdim=True)), 1))
        return rows, ((gradient**2).sum(1) - 1) / 2

    def samples(self, points: Tensor) -> tuple[SparseRows, Tensor]:
        """φ at points `[P, 3]` of the box: the matrix `[P, M]`, and φ itself `[P]`, in cells."""
        X, Y, Z = self.lattice.resolution
        index = self.lattice.to_index(points)
        last = torch.tensor((X, Y, Z), device=points.device) - 2
        cell = torch.minimum(index.floor().clamp(min=0), last)
        i, j, k = cell.long().unbind(-1)
        vertices = ((i * Y + j) * Z + k)[:, None] + corner_offsets(Y, Z, points.device)
        weights = corner_weights((index - cell).clamp(0, 1))
        return self.rows(vertices, weights), (weights * self.at(vertices)).sum(1)

    def on_host(self) -> Band:
        """The same band in numpy, of a copy of the lattice."""
        return Band(self.lattice.to("cpu"), *self.widths)

    def from_host(self, band: Band, rows: Any) -> SparseRows:
        """Rows of a band in numpy, a sparse `[R, M]` with as many entries in each row."""
        device, R = self.ids.device, rows.shape[0]
        vertices = torch.from_numpy(band.ids[rows.indices].astype("int64")).reshape(R, -1)
        weights = torch.from_numpy(rows.data).reshape(R, -1)
        return self.rows(vertices.to(device), weights.to(device))

    @staticmethod
    def stack(rows: Sequence[SparseRows]) -> Stacked:
        """Matrices one below the other."""
        return Stacked(rows)

    @staticmethod
    def joined(residuals: Sequence[Tensor]) -> Tensor:
        """Residuals one after the other."""
        return torch.cat(list(residuals))

    @staticmethod
    def weighted(rows: SparseRows, weights: Tensor) -> SparseRows:
        """Each row times its own weight of `[R]`."""
        return rows * weights

    @staticmethod
    def by_view(views: Tensor, x: Tensor, count: int) -> Tensor:
        """Sums of `x` `[P]` over the points of each view: `[count]`."""
        return x.new_zeros(count).index_add_(0, views, x)

    def own(self, x: Tensor) -> Tensor:
        """A tensor as this band computes with it."""
        return x

    def _neighbours(self) -> tuple[Tensor, Tensor, Tensor]:
        """See `Band._neighbours`: `[R, 3]` each."""
        X, Y, Z = self.lattice.resolution
        v = self.smooth
        index = torch.stack((v // (Y * Z), v // Z % Y, v % Z), 1)
        step = torch.tensor((Y * Z, Z, 1), device=v.device)
        last = torch.tensor((X, Y, Z), device=v.device) - 1
        before, after = (index > 0).long(), (index < last).long()
        return v[:, None] - before * step, v[:, None] + after * step, before + after
