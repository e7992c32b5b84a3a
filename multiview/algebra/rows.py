"""Sparse matrices with the same number of entries in each row, in torch on any device.

They are written as those of scipy: `S @ x`, `S.T @ r`, `weight * S`. On a card sums over rows have
no fixed order, so that their last bits vary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A matrix `[R, M]` with k entries in each row; columns may be there twice.

    Args:
        columns: `[R, k]` int64.
        weights: `[R, k]`.
        width: M.
    """

    __array_ufunc__ = None  # numbers of numpy leave products to `__rmul__`

    columns: Tensor
    weights: Tensor
    width: int

    def __len__(self) -> int:
        return len(self.columns)

    @cached_property
    def entries(self) -> list[tuple[Tensor, Tensor]]:
        """Columns and weights `[R]` of all rows' first entries, then of their second ones."""
        columns, weights = self.columns.T.contiguous(), self.weights.T.contiguous()
        return list(zip(columns, weights, strict=True))

    def __mul__(self, factor: Any) -> SparseRows:
        """Multiplied by a number, or each row by its own of `[R]`."""
        by = factor[:, None] if isinstance(factor, Tensor) else float(factor)
        return SparseRows(self.columns, self.weights * by, self.width)

    __rmul__ = __mul__

    def __matmul__(self, x: Tensor) -> Tensor:
        """`S x` for `[M]` or `[M, C]`: `[R]` or `[R, C]`."""
        if x.ndim == 1:  # in few calls, which are what small products cost on a card
            product: Tensor = (self.weights * x[self.columns]).sum(1)
            return product
        out = x.new_zeros(len(self), *x.shape[1:])
        for column, weight in self.entries:
            out += x[column] * _of_rows(weight, x)
        return out

    @property
    def T(self) -> Transposed:  # as matrices have it
        """The transpose, to be multiplied."""
        return Transposed(self)

    @property
    def squares(self) -> Tensor:
        """`[M]` the diagonal of `SᵀS`, where no column is twice in a row."""
        out = self.weights.new_zeros(self.width)
        return out.index_add_(0, self.columns.reshape(-1), (self.weights**2).reshape(-1))


@dataclass(frozen=True, eq=False)
class Transposed:
    """`Sᵀ`."""

    rows: SparseRows

    def __matmul__(self, r: Tensor) -> Tensor:
        """`Sᵀ r` for `[R]` or `[R, C]`: `[M]` or `[M, C]`."""
        S = self.rows
        out = r.new_zeros(S.width, *r.shape[1:])
        if r.ndim == 1:
            return out.index_add_(0, S.columns.reshape(-1), (S.weights * r[:, None]).reshape(-1))
        for column, weight in S.entries:
            out.index_add_(0, column, r * _of_rows(weight, r))
        return out


@dataclass(frozen=True, eq=False)
class Stacked:
    """Matrices `[R₁, M]`, `[R₂, M]`, … one below the other."""

    parts: Sequence[SparseRows]

    def __matmul__(self, x: Tensor) -> Tensor:
        return torch.cat([part @ x for part in self.parts])

    @property
    def T(self) -> TransposedStack:
        """The transpose, to be multiplied."""
        return TransposedStack(self)

    @property
    def squares(self) -> Tensor:
        """`[M]` the diagonal of `SᵀS`."""
        first, *others = (part.squares for part in self.parts)
        return sum(others, first)


@dataclass(frozen=True, eq=False)
class TransposedStack:
    """`Sᵀ` of a stack."""

    stack: Stacked

    def __matmul__(self, r: Tensor) -> Tensor:
        parts = self.stack.parts
        each = zip(parts, torch.split(r, [len(part) for part in parts]), strict=True)
        first, *others = (part.T @ x for part, x in each)
        return sum(others, first)


def _of_rows(weight: Tensor, like: Tensor) -> Tensor:
    """`[R]` to be multiplied with `[R]` or `[R, C]`."""
    return weight.reshape(-1, *[1] * (like.ndim - 1))


def edges(unknown: Tensor, width: int, dtype: torch.dtype) -> SparseRows:
    """Differences along all edges between unknown vertices, a row for each.

    Args:
        unknown: `[X, Y, Z]` int64 the number of each vertex among the unknowns, negative if none.
        width: how many unknowns there are.
        dtype: of the weights.
    """
    found = []
    for axis in range(3):
        n = unknown.shape[axis] - 1
        a, b = (unknown.narrow(axis, k, n).reshape(-1) for k in (0, 1))
        both = (a >= 0) & (b >= 0)
        found.append(torch.stack((a[both], b[both]), 1))
    columns = torch.cat(found)
    signs = torch.tensor((1.0, -1.0), dtype=dtype, device=unknown.device)
    return SparseRows(columns, signs.expand(len(columns), 2), width)
