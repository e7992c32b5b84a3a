"""Products with `Jᵀ W J`, the matrix of a Gauss-Newton step, on some vertices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sdfrender.engines.cpu.jacobian.brick_vertices import BrickVertices
from sdfrender.engines.cpu.jacobian.normal_terms import NormalTerms
from sdfrender.kernels.threads import run_all


class NormalProducts:
    """`Jᵀ W J` of images and silhouettes on M vertices; `VertexProducts.normal` makes it.

    Args:
        vertices: which.
        parts: the weighted terms, by share.
        threads: at most.
    """

    def __init__(self, vertices: BrickVertices, parts: Sequence[NormalTerms], threads: int) -> None:
        self._vertices, self._parts, self._threads = vertices, parts, threads

    def __call__(self, x: Any) -> Any:
        """`Jᵀ W J x` for `x` `[M]` at the vertices, of the lattice's dtype: `[M]`."""
        extended = self._vertices.extended(x)

        def part(terms: NormalTerms) -> Any:
            out = np.zeros_like(extended)
            terms.add(extended, out)
            return out

        sums = run_all(part, self._parts, self._threads)
        total = sums[0] if sums else np.zeros_like(extended)
        for more in sums[1:]:
            total += more
        return self._vertices.folded(total)
