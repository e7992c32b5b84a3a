"""`Jᵀ W J` on a card in one pass over local terms: no image is made in between.

One thread takes one cell with all its terms of pixels that have no other; or one pixel of those
that have several. See `engines.cpu.jacobian.normal_apply` for the twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from numba import cuda, float64
from torch import Tensor

from sdfrender.engines.cuda.arrays import array, current_stream
from sdfrender.engines.cuda.linear import CardTerms, SortedTerms
from sdfrender.engines.cuda.mixed import MixedPixels
from sdfrender.engines.cuda.target import kernel, launch
from sdfrender.engines.cuda.terms import PLACE
from sdfrender.kernels.pixel.terms import corner_weights, surface_weights, term_samples
from sdfrender.kernels.trilinear_cell import (
    add_to_corners,
    add_to_stencil,
    corners,
    dot,
    stencil,
)


@lru_cache
def normal_surface_for(C: int) -> Any:
    """The kernel `normal_surface` for images of C channels."""

    def normal_surface(
        cells: Any, starts: Any, table: Any, q: Any, v: Any, sx: int, sy: int, g: Any
    ) -> None:
        """Add `Σ q (q·v)` over surface terms to `g`, the padded lattice.

        Args:
            cells: `[K]` cells with terms.
            starts: `[K + 1]` where the terms of each begin.
            table: `[3 …, S]` their places; further rows are not read.
            q: `[4 C, S]` their coefficients times `√W`.
            v: the padded lattice to multiply.
            sx: step of the padded lattice from one x to the next.
            sy: from one y to the next.
            g: added to.
        """
        n = cuda.grid(1)
        if n >= cells.shape[0]:
            return
        s = cuda.local.array(32, float64)
        for m in range(32):
            s[m] = 0.0
        p = cells[n]
        for i in range(starts[n], starts[n + 1]):
            w = surface_weights(table, i)
            f, fx, fy, fz = term_samples(v, p, sx, sy, w)
            a, ex, ey, ez = 0.0, 0.0, 0.0, 0.0
            for c in range(C):
                k = 4 * c
                u = q[k, i] * f + q[k + 1, i] * fx + q[k + 2, i] * fy + q[k + 3, i] * fz
                a, ex = a + u * q[k, i], ex + u * q[k + 1, i]
                ey, ez = ey + u * q[k + 2, i], ez + u * q[k + 3, i]
            row = stencil(w, a, ex, ey, ez)
            for m in range(32):
                s[m] += row[m]
        total = (
            s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7],
            s[8], s[9], s[10], s[11], s[12], s[13], s[14], s[15],
            s[16], s[17], s[18], s[19], s[20], s[21], s[22], s[23],
            s[24], s[25], s[26], s[27], s[28], s[29], s[30], s[31],
        )  # fmt: skip
        add_to_stencil(g, p, sx, sy, total)

    return kernel(normal_surface)


@lru_cache
def normal_mixed_for(C: int) -> Any:
    """The kernel `normal_mixed` for images of C channels."""

    rows = C + 1

    def normal_mixed(
        codes: Any, firsts: Any, given: Any, owners: Any, table: Any, corner_cells: Any,
        corner_table: Any, v: Any, sx: int, sy: int, g: Any,
    ) -> None:  # fmt: skip
        """Add `Jᵀ W J v` over the rows of mixed pixels to `g`, the padded lattice.

        Args:
            codes: see `MixedPixels`, as is the next.
            firsts: where the terms of each pixel begin.
            given: `[P, C + 1]` the pixels' weights W; the last is the silhouette's.
            owners: `[S]` cells of the surface terms.
            table: `[3 + 4 C, S]` of the surface terms.
            corner_cells: `[E]`.
            corner_table: `[E, 8 + C + 1]`.
            v: the padded lattice to multiply.
            sx: step of the padded lattice from one x to the next.
            sy: from one y to the next.
            g: added to.
        """
        n = cuda.grid(1)
        if n >= given.shape[0]:
            return
        change = cuda.local.array(rows, float64)
        for c in range(rows):
            change[c] = 0.0
        for e in range(firsts[n], firsts[n + 1]):
            i = codes[e]
            if i >= 0:
                p = owners[i]
                w = surface_weights(table, i)
                f, fx, fy, fz = term_samples(v, p, sx, sy, w)
                for c in range(C):
                    r = PLACE + 4 * c
                    change[c] += (
                        table[r, i] * f + table[r + 1, i] * fx
                        + table[r + 2, i] * fy + table[r + 3, i] * fz
                    )  # fmt: skip
            else:
                k = ~i
                w = corner_weights(corner_table, k)
                f = dot(w, corners(v, corner_cells[k], sx, sy))
                for c in range(rows):
                    change[c] += f * corner_table[k, 8 + c]
        for c in range(rows):
            change[c] *= given[n, c]
        for e in range(firsts[n], firsts[n + 1]):
            i = codes[e]
            if i >= 0:
                w = surface_weights(table, i)
                a, ex, ey, ez = 0.0, 0.0, 0.0, 0.0
                for c in range(C):
                    u, r = change[c], PLACE + 4 * c
                    a, ex = a + u * table[r, i], ex + u * table[r + 1, i]
                    ey, ez = ey + u * table[r + 2, i], ez + u * table[r + 3, i]
                add_to_stencil(g, owners[i], sx, sy, stencil(w, a, ex, ey, ez))
            else:
                k, s = ~i, 0.0
                for c in range(rows):
                    s += change[c] * corner_table[k, 8 + c]
                w = corner_weights(corner_table, k)
                add_to_corners(g, corner_cells[k], sx, sy, w, s)

    return kernel(normal_mixed)


@dataclass(frozen=True, eq=False)
class WeightedTerms:
    """The terms of images and silhouettes of one lattice, weighted.

    Args:
        terms: what they are.
        shown: their surface terms.
        q: `[4 C, S]` coefficients times `√W`, zero in mixed pixels.
        mixed: the pixels with several terms.
        given: `[P, C + 1]` weights of these.
    """

    terms: CardTerms
    shown: SortedTerms
    q: Tensor
    mixed: MixedPixels
    given: Tensor

    @classmethod
    def of(cls, terms: CardTerms, images: Tensor, silhouettes: Tensor) -> WeightedTerms:
        """Weight the terms by W, `[N H W, C]` and `[N H W]`, none negative."""
        assert terms.shown is not None
        shown, mixed = terms.shown, terms.mixed
        root = images.sqrt() * ~mixed.theirs[:, None]
        rows = root[shown.pixels].T  # (C, S)
        q = shown.table[PLACE:].reshape(len(rows), 4, -1) * rows[:, None]
        given = torch.cat((images, silhouettes[:, None]), 1)[mixed.pixels].contiguous()
        return cls(terms, shown, q.reshape(4 * len(rows), -1).contiguous(), mixed, given)

    def add(self, v: Tensor, g: Tensor) -> None:
        """Add `Jᵀ W J v` to `g`, both flat padded lattices."""
        C, shown = self.given.shape[1] - 1, self.shown
        with current_stream(v.device) as stream:
            both = (array(v), *self.terms.steps, array(g))
            listed = (shown.cells, shown.starts, shown.table, self.q)
            launch(normal_surface_for(C), len(shown.cells), stream, *map(array, listed), *both)
            several = (
                self.mixed.codes, self.mixed.firsts, self.given, shown.owners, shown.table,
                self.terms.corner_cells, self.terms.corner_table,
            )  # fmt: skip
            launch(normal_mixed_for(C), len(self.given), stream, *map(array, several), *both)
