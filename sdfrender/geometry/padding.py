"""A lattice with one more vertex on every side, and the transpose of making it.

The extra vertices continue the outermost two linearly, so that a central difference at a face of
the box is the one-sided difference there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdfrender.kernels.arrays import Floats
from sdfrender.kernels.compiled import lane_kernel
from sdfrender.kernels.threads import run_all, slabs


def pad(values: Floats, threads: int) -> Floats:
    """`[X, Y, Z]` to `[X+2, Y+2, Z+2]`; edges and corners of the margin, never read, are zero."""
    X, Y, Z = values.shape
    out = np.zeros((X + 2, Y + 2, Z + 2), values.dtype)
    inner = out[1:-1, 1:-1, 1:-1]

    def copy(part: slice) -> None:
        inner[part] = values[part]

    run_all(copy, slabs(X, threads), threads)
    for axis in range(3):
        p, q = np.moveaxis(out, axis, 0), np.moveaxis(inner, axis, 0)
        p[0, 1:-1, 1:-1] = 2 * q[0] - q[1]
        p[-1, 1:-1, 1:-1] = 2 * q[-1] - q[-2]
    return out


def add_unpadded(parts: Sequence[Floats], out: Floats, threads: int) -> None:
    """Add the transpose of `pad` of each of `parts` to `out` `[X, Y, Z]`, in order."""

    def add(part: slice) -> None:
        for padded in parts:
            add_layers(padded, out, part.start, part.stop)

    run_all(add, slabs(len(out), 4 * threads), threads)


@lane_kernel
def add_layers(p: Floats, out: Floats, begin: int, end: int) -> None:
    """`add_unpadded` of `p` `[X+2, Y+2, Z+2]` to `out` `[X, Y, Z]`, from layer `begin` to `end`."""
    X, Y, Z = out.shape
    for i in range(begin, end):
        for j in range(Y):
            for k in range(Z):
                out[i, j, k] += p[i + 1, j + 1, k + 1]
            out[i, j, 0] += 2 * p[i + 1, j + 1, 0]
            out[i, j, 1] -= p[i + 1, j + 1, 0]
            out[i, j, Z - 1] += 2 * p[i + 1, j + 1, Z + 1]
            out[i, j, Z - 2] -= p[i + 1, j + 1, Z + 1]
        for k in range(Z):
            out[i, 0, k] += 2 * p[i + 1, 0, k + 1]
            out[i, 1, k] -= p[i + 1, 0, k + 1]
            out[i, Y - 1, k] += 2 * p[i + 1, Y + 1, k + 1]
            out[i, Y - 2, k] -= p[i + 1, Y + 1, k + 1]
        # layers 0 and X − 1 get twice the margin beside them, their neighbours lose it once
        for layer, margin, times in ((0, 0, 2), (1, 0, -1), (X - 1, X + 1, 2), (X - 2, X + 1, -1)):
            if i == layer:
                for j in range(Y):
                    for k in range(Z):
                        out[i, j, k] += times * p[margin, j + 1, k + 1]
