"""Some vertices of a lattice and their places in the padded one, for products on them alone.

The padding's margin continues the outermost two vertices linearly (`kernels.padding`). So values
on a few vertices are values at their own places, and at places of the margin next to those that lie
on a face of the box.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from sdfrender.kernels.arrays import Floats
from sdfrender.kernels.compiled import kernel


class PaddedVertices:
    """M vertices of a lattice that is zero elsewhere.

    Args:
        resolution: `(X, Y, Z)`.
        vertices: `[M]` their flat indices, ascending.

    Attributes:
        places: `[M]` their flat indices in the padded lattice.
        margin: `[Q]` flat indices of the places of the margin that depend on them.
    """

    def __init__(self, resolution: tuple[int, int, int], vertices: Any) -> None:
        index = np.stack(np.unravel_index(vertices, resolution), 1)
        steps = np.array([(resolution[1] + 2) * (resolution[2] + 2), resolution[2] + 2, 1])
        self.places = (index + 1) @ steps
        targets, sources, weights = [], [], []
        for axis, step in enumerate(steps):
            last = resolution[axis] - 1
            # place of the margin, in steps from the vertex that it depends on: so many times
            for at, away, weight in ((0, -1, 2), (1, -2, -1), (last, 1, 2), (last - 1, 2, -1)):
                found = np.flatnonzero(index[:, axis] == at)
                targets.append(self.places[found] + away * step)
                sources.append(found)
                weights.append(np.full(len(found), weight, np.float32))
        self.margin, rows = np.unique(np.concatenate(targets), return_inverse=True)
        shape = (len(self.margin), len(self.places))
        entries = (np.concatenate(weights), (rows, np.concatenate(sources)))
        self._extend = sparse.csr_matrix(entries, shape)

    def write(self, x: Floats, padded: Floats) -> None:
        """Put values `[M]` into a flat padded lattice, whose other places are not touched."""
        padded[self.places] = x
        if len(self.margin):
            padded[self.margin] = self._extend @ x

    def read(self, padded: Floats) -> Floats:
        """The transpose of `write`: `[M]` from a flat padded lattice."""
        taken: Floats = padded[self.places]
        if len(self.margin):
            taken += (self._extend.T @ padded[self.margin]).astype(taken.dtype)
        return taken

    def extended(self, x: Floats) -> Floats:
        """Values `[M]`, those that the margin has for them `[Q]`, and a zero for all others."""
        margin = self._extend @ x if len(self.margin) else x[:0]
        return np.concatenate((x, margin, np.zeros(1, x.dtype)), dtype=x.dtype)

    def folded(self, extended: Floats) -> Floats:
        """The transpose of `extended`: `[M]`."""
        M = len(self.places)
        taken: Floats = extended[:M].copy()
        if len(self.margin):
            taken += (self._extend.T @ extended[M:-1]).astype(taken.dtype)
        return taken


@kernel
def clear_cells(cells: Any, sx: int, sy: int, g: Any) -> None:
    """Set all that terms of these cells may have added to a flat padded lattice `g` to zero."""
    for p in cells:
        for a in range(-1, 3):
            for b in range(-1, 3):
                q = p + a * sx + b * sy
                for c in range(-1, 3):
                    g[q + c] = 0
