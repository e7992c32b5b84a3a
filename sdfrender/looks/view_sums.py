"""Compiled sums of functions of place and direction: from vertices to pixels, and back.

Notation: P pixels show points; a point is in the cell whose first vertex has the flat number
`cells[p]`, at `f[p]` in it, and seen from a direction with the basis `basis[p]` `[K]`. M vertices
have coefficients, those of a vertex are row `row_of[number]`, none if that is negative. Steps to
a cell's corners are `offsets` `[8]`; C channels.

What a vertex has is one run of numbers, weighed by one number for a pixel: loops over it are the
inner ones, so that several are done at once.
"""

from __future__ import annotations

import numpy as np

from sdfrender.kernels.arrays import Ints, Singles
from sdfrender.kernels.compiled import lane_kernel
from sdfrender.kernels.trilinear_cell import lane_weights


@lane_kernel
def add_values(
    cells: Ints,
    f: Singles,
    basis: Singles,
    row_of: Ints,
    offsets: Ints,
    values: Singles,
    out: Singles,
) -> None:
    """Add what coefficients `[M, K, C]` are at the points to `out` `[P, C]`."""
    one = np.float32(1)
    M, K, C = values.shape
    of_vertices = values.reshape(M, K * C)
    here = np.zeros(K * C, np.float32)  # coefficients at the point
    for p in range(len(cells)):
        w = lane_weights(one, f[p, 0], f[p, 1], f[p, 2])
        here[:] = 0
        for n in range(8):
            row = row_of[cells[p] + offsets[n]]
            if row >= 0:
                for i in range(K * C):
                    here[i] += w[n] * of_vertices[row, i]
        for k in range(K):
            for c in range(C):
                out[p, c] += basis[p, k] * here[k * C + c]


@lane_kernel
def pull_values(
    cells: Ints,
    f: Singles,
    basis: Singles,
    row_of: Ints,
    offsets: Ints,
    colors: Singles,
    out: Singles,
) -> None:
    """The transpose: add colours `[P, C]` to `out` `[M, K, C]`."""
    one = np.float32(1)
    M, K, C = out.shape
    of_vertices = out.reshape(M, K * C)
    here = np.zeros(K * C, np.float32)  # what the point asks of coefficients
    for p in range(len(cells)):
        w = lane_weights(one, f[p, 0], f[p, 1], f[p, 2])
        for k in range(K):
            for c in range(C):
                here[k * C + c] = basis[p, k] * colors[p, c]
        for n in range(8):
            row = row_of[cells[p] + offsets[n]]
            if row >= 0:
                for i in range(K * C):
                    of_vertices[row, i] += w[n] * here[i]


@lane_kernel
def add_blocks(
    cells: Ints,
    f: Singles,
    basis: Singles,
    row_of: Ints,
    offsets: Ints,
    weights: Singles,
    out: Singles,
) -> None:
    """Add each pixel's curvature to its vertices' blocks, `[M, K, K]`.

    All of it, with what couples them: so much a block is no less than what it stands for.
    """
    one = np.float32(1)
    M, K = out.shape[:2]
    of_vertices = out.reshape(M, K * K)
    here = np.zeros(K * K, np.float32)  # the point's curvature
    for p in range(len(cells)):
        w = lane_weights(one, f[p, 0], f[p, 1], f[p, 2])
        for k in range(K):
            for m in range(K):
                here[k * K + m] = weights[p] * basis[p, k] * basis[p, m]
        for n in range(8):
            row = row_of[cells[p] + offsets[n]]
            if row >= 0:
                for i in range(K * K):
                    of_vertices[row, i] += w[n] * here[i]


@lane_kernel
def mark_corners(cells: Ints, offsets: Ints, out: Ints) -> None:
    """Set `out` `[X Y Z]` to 1 at the corners of some cells."""
    for p in range(len(cells)):
        for n in range(8):
            out[cells[p] + offsets[n]] = 1
