"""A lattice with one more vertex on every side, and the transpose of making it.

The extra vertices continue the outermost two linearly, so that a central difference at a face of
the box is the one-sided difference there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sdfrender.engines.threads import run_all


def pad(values: Any, threads: int) -> Any:
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


def add_unpadded(parts: Sequence[Any], out: Any, threads: int) -> None:
    """Add the transpose of `pad` of each of `parts` to `out` `[X, Y, Z]`, in order.

    The parts are used up.
    """
    for padded in parts:
        for axis in range(3):
            p = np.moveaxis(padded, axis, 0)
            for end, first, second in ((0, 1, 2), (-1, -2, -3)):
                margin = p[end, 1:-1, 1:-1]
                p[first, 1:-1, 1:-1] += 2 * margin
                p[second, 1:-1, 1:-1] -= margin

    def add(part: slice) -> None:
        for padded in parts:
            out[part] += padded[1:-1, 1:-1, 1:-1][part]

    run_all(add, slabs(len(out), threads), threads)


def slabs(count: int, parts: int) -> list[slice]:
    """`range(count)` in `parts` slices of about one size."""
    ends = [count * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(ends) if b > a]
