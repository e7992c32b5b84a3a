"""Products of `linearize`'s derivative on some vertices alone: their cost is the surface's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from sdfrender.eager import eager
from sdfrender.engines.cpu.engine import SceneArrays
from sdfrender.engines.cpu.jacobian.linear_shares import Share
from sdfrender.engines.cpu.jacobian.padded_vertices import PaddedVertices, clear_cells
from sdfrender.kernels.threads import run_all

Pull = Callable[[Share, Any], None]  # adds to a flat padded lattice


class VertexProducts:
    """Products with the columns of a `Linearization` that belong to M vertices.

    `Linearization.on` makes them.

    Args:
        scene: what was linearised.
        shares: the local terms.
        vertices: which.
        push: tangents of padded lattices to those of the outputs.
        pull: cotangents of the outputs to what adds a share's part to a padded lattice.
        squares: likewise, for the diagonal of `Jᵀ W J`.
    """

    def __init__(
        self,
        scene: SceneArrays,
        shares: Sequence[Share],
        vertices: PaddedVertices,
        push: Callable[[Sequence[Any], Sequence[Tensor] | None], tuple[Tensor, ...]],
        pull: Callable[..., Pull],
        squares: Callable[..., Pull],
    ) -> None:
        _, X, Y, Z = scene.values.shape
        self._grid, self._threads, self._shares = scene.grid, scene.threads, shares
        self._vertices, self._push, self._pull, self._squares = vertices, push, pull, squares
        # Zero between products; pages that nothing is written to take no memory.
        self._tangent, *self._parts = (
            np.zeros((X + 2) * (Y + 2) * (Z + 2), scene.values.dtype)
            for _ in range(1 + len(shares))
        )

    @eager
    def jvp(self, x: Any, out: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
        """`J v` of a lattice that is `x` `[M]` at the vertices and zero elsewhere.

        `out` and what is returned are those of `Linearization.jvp`.
        """
        self._vertices.write(x, self._tangent)
        return self._push([self._tangent], out)

    @eager
    def vjp(
        self,
        images: Tensor | None = None,
        silhouettes: Tensor | None = None,
        depths: Tensor | None = None,
        normals: Tensor | None = None,
    ) -> Any:
        """`Jᵀ r` at the vertices: `[M]`, of the lattice's dtype; see `Linearization.vjp`."""
        return self._gather(self._pull(images, silhouettes, depths, normals))

    @eager
    def squared_vjp(
        self,
        images: Tensor | None = None,
        silhouettes: Tensor | None = None,
        *,
        depths: Tensor | None = None,
        normals: Tensor | None = None,
    ) -> Any:
        """The diagonal of `Jᵀ W J` at the vertices `[M]`, each term squared by itself.

        See `Linearization.squared_vjp` with `exact=False`.
        """
        return self._gather(self._squares(images, silhouettes, depths, normals, False))

    def _gather(self, add: Pull) -> Any:
        """Sum what `add` adds at the vertices, by share, then in order."""
        grid, shares = self._grid, self._shares

        def part(n: int) -> Any:
            share, g = shares[n], self._parts[n]
            add(share, g)
            found = self._vertices.read(g)
            for cells in share.cells:
                clear_cells(cells, grid.sx, grid.sy, g)
            return found

        parts = run_all(part, range(len(shares)), self._threads)
        total = parts[0] if parts else np.zeros(len(self._vertices.places), self._tangent.dtype)
        for more in parts[1:]:
            total += more
        return total
