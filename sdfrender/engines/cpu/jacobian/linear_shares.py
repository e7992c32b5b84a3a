"""All local terms of some pixels, and the arrays that are pushed to them or pulled from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sdfrender.engines.cpu.jacobian.hit_terms import DepthTerms
from sdfrender.engines.cpu.jacobian.linear_terms import Terms


class Rows(NamedTuple):
    """Tangents or cotangents of the outputs of B lattices; None for those that are left out.

    Args:
        images: `[B, N H W, C]`, C = 0 where only silhouettes were linearised.
        silhouettes: `[B, N H W]`; there if `images` are.
        depths: `[B, N H W]`.
        normals: `[B, N H W, 3]`.
    """

    images: Any | None
    silhouettes: Any | None
    depths: Any | None
    normals: Any | None


@dataclass(frozen=True, eq=False)
class Share:
    """The terms of some pixels of one lattice; no two shares have a pixel of a lattice in common.

    Args:
        shown: those of images and silhouettes, or None.
        depths: those of depths, or None.
        normals: those of normals, or None.
    """

    shown: Terms | None
    depths: DepthTerms | None
    normals: Terms | None

    @property
    def lists(self) -> list[Terms | DepthTerms]:
        """The lists that there are."""
        return [x for x in (self.shown, self.depths, self.normals) if x is not None]

    @property
    def cells(self) -> Iterator[Any]:
        """Places in the bricks of the cells that terms are in, an array for each kind of term."""
        for terms in self.lists:
            yield terms.cells
            if isinstance(terms, Terms):
                yield terms.corner_cells

    @property
    def lattice(self) -> int:
        """Which of the batch."""
        return self.lists[0].lattice

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; depths and normals have some in common."""
        arrays = {id(x): x for terms in self.lists for x in vars(terms).values()}
        return sum(x.nbytes for x in arrays.values() if isinstance(x, np.ndarray))

    def of_images(self, rows: Rows) -> Iterator[tuple[Terms, Any, Any]]:
        """Lists with their images and silhouettes; normals are an image without a silhouette."""
        b = self.lattice
        if self.shown is not None and rows.images is not None and rows.silhouettes is not None:
            yield self.shown, rows.images[b], rows.silhouettes[b]
        if self.normals is not None and rows.normals is not None:
            normals = rows.normals[b]
            yield self.normals, normals, np.zeros(len(normals), normals.dtype)

    def of_depths(self, rows: Rows) -> Iterator[tuple[DepthTerms, Any]]:
        """The list of depths with the depths."""
        if self.depths is not None and rows.depths is not None:
            yield self.depths, rows.depths[self.lattice]
