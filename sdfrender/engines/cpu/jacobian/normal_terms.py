"""Local terms made ready for `Jᵀ W J` on some vertices, see `normal_apply`.

All is as large as the surface: the terms, the vertices of their cells, and where the values around
those vertices are among the ones that products are with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sdfrender.engines.cpu.jacobian.brick_vertices import BrickVertices
from sdfrender.engines.cpu.jacobian.linear_terms import Terms
from sdfrender.engines.cpu.jacobian.normal_apply import (
    gather_mixed,
    list_edges,
    list_vertices,
    name_vertices,
    normal_mixed,
    normal_surface,
    pull_vertices,
    push_vertices,
    weigh_terms,
)
from sdfrender.kernels.arrays import Floats
from sdfrender.kernels.bricks import STEP_X, STEP_Y


@dataclass(frozen=True, eq=False)
class NormalTerms:
    """The terms of some pixels, weighted.

    Args:
        neighbours: `[V, 7]` of each of the V corners of the terms' cells: where its value and those
            around it are among the values of products, see `vertices_of`.
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
        cls, terms: Terms, images: Any, silhouettes: Any, vertices: BrickVertices
    ) -> NormalTerms:
        """Weight terms and find their vertices.

        Args:
            terms: of images and silhouettes.
            images: `[N H W, C]` weights W.
            silhouettes: `[N H W]` weights.
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
        neighbours, edges, of_mixed_cells = vertices_of(x.cells, at, vertices)
        return cls(
            neighbours,
            edges,
            x.starts,
            x.table,
            q,
            (of_mixed_cells, corners, of_mixed, firsts[: P + 1].copy(), weights[:P].copy()),
        )

    def add(self, x: Floats, out: Floats) -> None:
        """Add `JᵀWJ x` to `out`, both as `BrickVertices.extended` has values."""
        F = np.zeros((len(self.neighbours), 4), x.dtype)
        pulled = np.zeros_like(F)
        push_vertices(x, self.neighbours, F)
        normal_surface(self.edges, self.starts, self.table, self.q, F, pulled)
        edges, corners, q, firsts, weights = self.mixed
        normal_mixed(edges, corners, q, firsts, weights, F, pulled)
        pull_vertices(pulled, self.neighbours, out)


def vertices_of(cells: Any, others: Any, vertices: BrickVertices) -> tuple[Any, Any, Any]:
    """List the vertices of two lots of cells.

    Args:
        cells: `[K]` places in the bricks.
        others: `[E]` likewise.
        vertices: those that products are on.

    Returns:
        `[V, 7]` which of the `extended` values each vertex has, and those around it: behind and
        before along x, along y, along z; `[K, 4]` and `[E, 4]` as in `normal_surface`.
    """
    numbers, rows = vertices.numbers, np.full(len(vertices), -1, np.int64)
    loose = sum(name_vertices(some, numbers, len(rows), rows) for some in (cells, others))
    places = np.zeros(int((rows >= 0).sum()) + 2 * loose, np.int64)
    count, edges = list_vertices(rows, places), []
    for some in (cells, others):
        of_some = np.zeros((len(some), 4), np.int32)
        count = list_edges(some, numbers, rows, places, count, of_some)
        edges.append(of_some)
    steps = np.array((0, -STEP_X, STEP_X, -STEP_Y, STEP_Y, -1, 1))
    return numbers[places[:, None] + steps], *edges
