"""Local terms made ready for `Jᵀ W J` on some vertices, see `normal_apply`.

All is as large as the surface: the terms, the vertices of their cells, and where the values around
those vertices are among the ones that products are with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sdfrender.engines.cpu.jacobian.linear_terms import Terms
from sdfrender.engines.cpu.jacobian.normal_apply import (
    NEIGHBOURS,
    gather_mixed,
    normal_mixed,
    normal_surface,
    positions,
    pull_vertices,
    push_vertices,
    weigh_terms,
)
from sdfrender.engines.cpu.jacobian.padded_vertices import PaddedVertices
from sdfrender.kernels.arrays import Floats
from sdfrender.kernels.trilinear_cell import Grid


@dataclass(frozen=True, eq=False)
class NormalTerms:
    """The terms of some pixels, weighted.

    Args:
        neighbours: `[V, 7]` of each of the V corners of the terms' cells: where its value and those
            around it are among the values of products, see `normal_apply.NEIGHBOURS`.
        edges: `[K, 4]` of each cell with surface terms, as in `normal_apply.normal_surface`.
        starts: `[K + 1]` where its terms begin.
        table: `[3 …, S]` the surface terms' places.
        q: `[4 C, S]` their coefficients times `√W`.
        mixed: what `normal_apply.normal_mixed` asks for, up to F.
    """

    neighbours: Any
    edges: Any
    starts: Any
    table: Any
    q: Any
    mixed: tuple[Any, Any, Any, Any, Any]

    @classmethod
    def of(
        cls, terms: Terms, images: Any, silhouettes: Any, grid: Grid, vertices: PaddedVertices
    ) -> NormalTerms:
        """Weight terms and find their vertices.

        Args:
            terms: of images and silhouettes.
            images: `[N H W, C]` weights W.
            silhouettes: `[N H W]` weights.
            grid: of the lattice.
            vertices: those that products are on.
        """
        x = terms
        C, E, dtype = images.shape[1], len(x.mixed), x.table.dtype
        q = np.zeros((4 * C, len(x.pixels)), dtype)
        weigh_terms(x.pixels, x.table, x.mixed, images, q)
        at, firsts = np.zeros(E, x.cells.dtype), np.zeros(E + 1, np.int64)
        corners, of_mixed = np.zeros((E, 8), dtype), np.zeros((E, 4 * C + 1), dtype)
        weights = np.zeros((E, C + 1), dtype)
        P = gather_mixed(
            x.cells, x.starts, x.pixels, x.table, x.corner_cells, x.corner_pixels, x.corner_table,
            x.mixed, images, silhouettes, at, corners, of_mixed, firsts, weights,
        )  # fmt: skip
        cells = ascending(x.cells, np.sort(at))
        edges = tuple(cells + step for step in (0, grid.sy, grid.sx, grid.sx + grid.sy))
        places = ascending(*edges, *(edge + 1 for edge in edges))
        of_cells = np.stack([found(edge, places) for edge in edges], 1)
        of_mixed_cells = of_cells[np.searchsorted(cells, at)]
        return cls(
            neighbours_of(places, grid, vertices),
            of_cells[found(x.cells, cells)],
            x.starts,
            x.table,
            q,
            (of_mixed_cells, corners, of_mixed, firsts[: P + 1].copy(), weights[:P].copy()),
        )

    def add(self, x: Floats, out: Floats) -> None:
        """Add `JᵀWJ x` to `out`, both as `PaddedVertices.extended` has values."""
        F = np.zeros((len(self.neighbours), 4), x.dtype)
        pulled = np.zeros_like(F)
        push_vertices(x, self.neighbours, F)
        normal_surface(self.edges, self.starts, self.table, self.q, F, pulled)
        edges, corners, q, firsts, weights = self.mixed
        normal_mixed(edges, corners, q, firsts, weights, F, pulled)
        pull_vertices(pulled, self.neighbours, out)


def neighbours_of(places: Any, grid: Grid, vertices: PaddedVertices) -> Any:
    """`[V, 7]` where the values around places `[V]` of a padded lattice are in `extended` ones."""
    M, Q = len(vertices.places), len(vertices.margin)
    out = np.zeros((len(places), NEIGHBOURS), np.int32)
    steps = (0, -grid.sx, grid.sx, -grid.sy, grid.sy, -1, 1)
    for n, step in enumerate(steps):
        inside = found(places + step, vertices.places)
        if Q:  # a place is either a vertex of the lattice or of its margin
            outside = found(places + step, vertices.margin)
            inside = np.where(inside < M, inside, M + outside)
        out[:, n] = inside  # M + Q: none, where values are zero
    return out


def found(queries: Any, among: Any) -> Any:
    """Where each of some ascending numbers is among others, ascending too; their number if not."""
    out = np.zeros(len(queries), np.int32)
    positions(queries, among, out)
    return out


def ascending(*runs: Any) -> Any:
    """All numbers of some ascending arrays, each once, ascending."""
    whole = np.concatenate(runs)
    whole.sort(kind="stable")  # which merges what is in order
    return whole[np.append(True, whole[1:] != whole[:-1])[: len(whole)]]
