"""The derivative in the lattice as lists of local terms on a card, and products with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sdfrender.engines.cuda.arrays import array, current_stream, records
from sdfrender.engines.cuda.mixed import MixedPixels, TermTables
from sdfrender.engines.cuda.products import (
    pull_corners_for,
    pull_depths_for,
    pull_surface_for,
    push_corners,
    push_depths,
    push_surface,
)
from sdfrender.engines.cuda.scene import Met, SceneTensors
from sdfrender.engines.cuda.target import launch
from sdfrender.engines.cuda.terms import PLACE, fill_for, fill_hits_for

NOWHERE = -1  # the cell of a term that there is not


@dataclass(frozen=True, eq=False)
class SortedTerms:
    """Terms with one cell each, in order of the cells.

    Args:
        owners: `[S]` cell of each term, flat in the padded lattice.
        cells: `[K]` those with terms.
        starts: `[K + 1]` where the terms of each begin.
        pixels: `[S]` flat index over all views.
        table: `[rows, S]`.
        rates: `[S]` of depth terms, or empty.
    """

    owners: Tensor
    cells: Tensor
    starts: Tensor
    pixels: Tensor
    table: Tensor
    rates: Tensor

    @classmethod
    def of(cls, owners: Tensor, pixels: Tensor, table: Tensor, rates: Tensor) -> SortedTerms:
        """Terms in any order; those whose cell is `NOWHERE` are left out."""
        owners, order = torch.sort(owners, stable=True)
        there = owners != NOWHERE
        owners, order = owners[there], order[there]
        cells, counts = torch.unique_consecutive(owners, return_counts=True)
        starts = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
        table = table[:, order].contiguous()
        rates = rates[order] if len(rates) else rates
        return cls(owners, cells, starts, pixels[order], table, rates)


@dataclass(frozen=True, eq=False)
class CardTerms:
    """All terms of one lattice; None for outputs that were not asked for.

    Args:
        shown: surface terms of images.
        corner_cells: `[E]` of the corner terms of images and silhouettes.
        corner_pixels: `[E]`.
        corner_table: `[E, 8 + C + 1]` weights and multipliers.
        hits: of depths and normals, their surface terms in the same table.
        depths: there are depth terms in `hits`.
        normals: there are surface terms in `hits`.
        size: `(X, Y, Z)` of the lattice.
        pixels: N H W.
    """

    shown: SortedTerms | None
    corner_cells: Tensor
    corner_pixels: Tensor
    corner_table: Tensor
    hits: SortedTerms | None
    depths: bool
    normals: bool
    size: tuple[int, int, int]
    pixels: int

    @property
    def steps(self) -> tuple[int, int]:
        """Of the padded lattice, from one x and one y to the next."""
        _, Y, Z = self.size
        return (Y + 2) * (Z + 2), Z + 2

    @property
    def count(self) -> int:
        """How many terms there are."""
        hits = 0 if self.hits is None else len(self.hits.owners) * (self.depths + self.normals)
        return (0 if self.shown is None else len(self.shown.owners)) + len(self.corner_cells) + hits

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        lists = [vars(x).values() for x in (self, self.shown, self.hits) if x is not None]
        return sum(x.nbytes for values in lists for x in values if isinstance(x, Tensor))

    def push(self, v: Tensor, rows: Sequence[Tensor | None]) -> None:
        """Add `J v` to images, silhouettes, depths and normals `[N H W, …]`; v is padded."""
        images, silhouettes, depths, normals = rows
        with current_stream(v.device) as stream:
            tangent = (array(v), *self.steps)
            for terms, shown in ((self.shown, images), (self.hits, normals)):
                if terms is not None and shown is not None:
                    listed = (terms.owners, terms.pixels, terms.table)
                    launch(
                        push_surface, len(terms.owners), stream,
                        *map(array, listed), *tangent, array(shown),
                    )  # fmt: skip
            if images is not None and silhouettes is not None:
                launch(
                    push_corners, len(self.corner_cells), stream,
                    *map(array, self._corners), *tangent, array(images), array(silhouettes),
                )  # fmt: skip
            if self.hits is not None and depths is not None:
                launch(
                    push_depths, len(self.hits.owners), stream,
                    *map(array, _depths(self.hits)), *tangent, array(depths),
                )  # fmt: skip

    def pull(self, rows: Sequence[Tensor | None], g: Tensor, squared: bool = False) -> None:
        """Add the transpose of `push` to `g`; or the diagonal of `Jᵀ W J`, with weights in `rows`.

        Each term is squared by itself.
        """
        images, silhouettes, depths, normals = rows
        with current_stream(g.device) as stream:
            out = (*self.steps, array(g))
            for terms, shown in ((self.shown, images), (self.hits, normals)):
                if terms is not None and shown is not None:
                    listed = (terms.cells, terms.starts, terms.pixels, terms.table, shown)
                    launch(
                        pull_surface_for(squared), len(terms.cells), stream,
                        *map(array, listed), *out,
                    )  # fmt: skip
            if images is not None and silhouettes is not None:
                launch(
                    pull_corners_for(squared), len(self.corner_cells), stream,
                    *map(array, (*self._corners, images, silhouettes)), *out,
                )  # fmt: skip
            if self.hits is not None and depths is not None:
                launch(
                    pull_depths_for(squared), len(self.hits.owners), stream,
                    *map(array, (*_depths(self.hits), depths)), *out,
                )  # fmt: skip

    def square(self, rows: Sequence[Tensor | None], out: Tensor) -> None:
        """Add the diagonal of `Jᵀ W J` to `out` `[X, Y, Z]`, for the weights W in `rows`.

        What a channel of a pixel owes to a vertex through several terms is added up first. In torch
        but for the pixels with one term, which are most: for more than preconditioners.
        """
        images, silhouettes, depths, normals = rows
        X, Y, Z = self.size
        g = out.new_zeros((X + 2) * (Y + 2) * (Z + 2))
        none = torch.zeros(0, dtype=torch.int64, device=out.device)
        lists = (
            (self.shown, images, silhouettes, self._corners),
            (self.hits, normals, normals, (none, none, out.new_zeros(0, 8 + 3 + 1))),
        )
        for terms, shown, masks, corners in lists:
            if terms is None or shown is None or masks is None:
                continue
            tables = TermTables(terms.owners, terms.table, corners[0], corners[2], self.size)
            others = terms.pixels[tables.at_faces]
            mixed = MixedPixels.of(terms.pixels, corners[1], others, self.pixels)
            self._square_alone(terms, shown * ~mixed.theirs[:, None], g)
            given = torch.cat((shown, masks.reshape(len(shown), -1)[:, :1]), 1)[mixed.pixels]
            tables.add_squares(mixed, given, out.view(-1))
        if depths is not None:
            self.pull((None, None, depths, None), g, squared=True)
        out += g.reshape(X + 2, Y + 2, Z + 2)[1:-1, 1:-1, 1:-1]

    @cached_property
    def mixed(self) -> MixedPixels:
        """The pixels with several terms of images and silhouettes."""
        assert self.shown is not None
        pixels = self.shown.pixels
        return MixedPixels.of(pixels, self.corner_pixels, pixels[:0], self.pixels)

    def _square_alone(self, terms: SortedTerms, weights: Tensor, g: Tensor) -> None:
        """Add each surface term's squares to the padded lattice."""
        listed = (terms.cells, terms.starts, terms.pixels, terms.table, weights)
        with current_stream(g.device) as stream:
            launch(
                pull_surface_for(True), len(terms.cells), stream,
                *map(array, listed), *self.steps, array(g),
            )  # fmt: skip

    @property
    def _corners(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.corner_cells, self.corner_pixels, self.corner_table


def _depths(hits: SortedTerms) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return hits.owners, hits.pixels, hits.table, hits.rates


def card_terms(
    scene: SceneTensors, met: Met, background: Tensor, shown: bool, depths: bool, normals: bool
) -> CardTerms:
    """The terms of one lattice.

    Args:
        scene: what was rendered.
        met: what its rays meet.
        background: `[1, C]` or `[N H W, C]`, what lies behind everything.
        shown: images or silhouettes are asked for.
        depths: likewise.
        normals: likewise.
    """
    _, X, Y, Z = scene.values.shape
    with current_stream(scene.values.device) as stream:
        lists = _shown(scene, met, background, stream) if shown else _nothing(scene)
        hits = _hits(scene, met, depths, normals, stream) if depths or normals else None
    count = len(scene.views) * scene.pixels
    return CardTerms(*lists, hits, depths, normals, (X, Y, Z), count)


Shown = tuple[SortedTerms | None, Tensor, Tensor, Tensor]  # surface terms, and the corner terms


def _nothing(scene: SceneTensors) -> Shown:
    none = torch.zeros(0, dtype=torch.int64, device=scene.values.device)
    return None, none, none, scene.values.new_zeros(0, 8 + 1)


def _shown(scene: SceneTensors, met: Met, background: Tensor, stream: Any) -> Shown:
    counts, C, new = met.counts.long(), scene.channels, scene.values.new_zeros
    corner_counts = (2 * counts).index_fill(0, met.alone, 0)  # what is alone has none
    ends, corner_ends = counts.cumsum(0), corner_counts.cumsum(0)
    size, corner_size = (int(x[-1]) if len(x) else 0 for x in (ends, corner_ends))
    owners, corner_cells = (counts.new_full((n,), NOWHERE) for n in (size, corner_size))
    pixels, corner_pixels = torch.zeros_like(owners), torch.zeros_like(corner_cells)
    table, corner_table = new(PLACE + 4 * C, size), new(corner_size, 8 + C + 1)
    grid, views = scene.numbers()
    given = (views, scene.lights, scene.albedo, background, met.pixels)
    filled = (owners, pixels, table, corner_cells, corner_pixels, corner_table)
    none = (scene.lights.new_zeros(0, 0), scene.lights.new_zeros(0, 0, 0, 0))
    launch(
        fill_for(C, scene.most, scene.reattach), len(met.pixels), stream,
        array(met.lattice), grid, *map(array, given), records(met.events), array(met.counts),
        scene.pixels, *map(array, (ends - counts, corner_ends - corner_counts, *filled, *none)),
    )  # fmt: skip
    there = corner_cells != NOWHERE
    return (
        SortedTerms.of(owners, pixels, table, new(0)),
        corner_cells[there], corner_pixels[there], corner_table[there],
    )  # fmt: skip


def _hits(scene: SceneTensors, met: Met, depths: bool, normals: bool, stream: Any) -> SortedTerms:
    K, new = len(met.pixels), scene.values.new_zeros
    owners = met.pixels.new_full((K,), NOWHERE)
    table, rates = new(PLACE + (4 * 3 if normals else 0), K), new(K if depths else 0)
    grid, views = scene.numbers()
    launch(
        fill_hits_for(scene.reattach, depths, normals), K, stream,
        array(met.lattice), grid, array(views), array(met.pixels), records(met.events),
        array(met.counts), scene.pixels, *map(array, (owners, table, rates)),
    )  # fmt: skip
    return SortedTerms.of(owners, met.pixels, table, rates)
