"""Pixels that depend on the lattice through more than one local term, and their rows of J.

Most pixels have one surface term, which is a row of J by itself. What several terms of a pixel say
about a vertex must be added up before it is squared, or weighted and pulled back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

PIECE = 1 << 15  # terms whose rows are added up together
STENCIL = 7  # of a corner: itself, and its neighbours before and behind along each axis


@dataclass(frozen=True, eq=False)
class MixedPixels:
    """P pixels with E terms, pixel by pixel.

    Args:
        codes: `[E]` index of a surface term, or `~index` of a corner term.
        firsts: `[P + 1]` where the terms of each pixel begin.
        pixels: `[P]` flat index over all views.
        theirs: `[N H W]` bool, the same pixels.
    """

    codes: Tensor
    firsts: Tensor
    pixels: Tensor
    theirs: Tensor

    @classmethod
    def of(cls, pixels: Tensor, corner_pixels: Tensor, others: Tensor, count: int) -> MixedPixels:
        """Pixels with a corner term, or more than one surface term; and some others.

        Args:
            pixels: `[S]` of the surface terms.
            corner_pixels: `[E]` of the corner terms.
            others: pixels with one surface term that are to be here, too.
            count: N H W.
        """
        terms = torch.zeros(count, dtype=torch.int32, device=pixels.device)
        terms.index_add_(0, pixels, torch.ones_like(pixels, dtype=torch.int32))
        theirs = terms > 1
        theirs[corner_pixels] = True
        theirs[others] = True
        whose = torch.cat((pixels, corner_pixels))
        numbers = [torch.arange(len(x), device=x.device) for x in (pixels, corner_pixels)]
        codes = torch.cat((numbers[0], ~numbers[1]))
        kept = theirs[whose]
        whose, order = torch.sort(whose[kept], stable=True)
        found, counts = torch.unique_consecutive(whose, return_counts=True)
        firsts = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
        return cls(codes[kept][order], firsts, found, theirs)

    def pieces(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Codes of about `PIECE` terms, and the number of each one's pixel; no pixel is cut."""
        counts = self.firsts.diff()
        whose = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        begin, firsts = 0, self.firsts.tolist()
        for end in firsts[1:]:
            if end - begin >= PIECE or end == firsts[-1]:
                yield self.codes[begin:end], whose[begin:end]
                begin = end


@dataclass(frozen=True, eq=False)
class TermTables:
    """Surface terms and corner terms of one lattice.

    Args:
        cells: `[S]` of the surface terms, flat in the padded lattice.
        table: `[3 + 4 C, S]` place in the cell, then each channel's coefficients.
        corner_cells: `[E]`.
        corner_table: `[E, 8 + C + 1]` weights and multipliers.
        size: `(X, Y, Z)`.
    """

    cells: Tensor
    table: Tensor
    corner_cells: Tensor
    corner_table: Tensor
    size: tuple[int, int, int]

    @property
    def at_faces(self) -> Tensor:
        """`[S]` bool: surface terms that read the margin of the padded lattice."""
        out = torch.zeros_like(self.cells, dtype=torch.bool)
        for n, at in zip(self.size, _coordinates(self.cells, self.size), strict=True):
            out |= (at == 1) | (at == n - 1)
        return out

    def add_squares(self, mixed: MixedPixels, weights: Tensor, out: Tensor) -> None:
        """Add the weighted squares of the rows of mixed pixels to a lattice.

        Args:
            mixed: the pixels.
            weights: `[P, C + 1]` of their channels, and of the silhouette.
            out: `[X Y Z]` added to.
        """
        rows = weights.shape[1]
        for codes, whose in mixed.pieces():
            here = whose - whose[0]
            entries = [
                self._surface(codes[codes >= 0], here[codes >= 0], rows),
                self._corners(~codes[codes < 0], here[codes < 0], rows),
            ]
            key, value = (torch.cat(x) for x in zip(*entries, strict=True))
            key, place = torch.unique(key, return_inverse=True)
            total = value.new_zeros(len(key)).index_add_(0, place, value)
            row, vertex = key // len(out), key % len(out)
            weight = weights.reshape(-1)[row + int(whose[0]) * rows].double()
            out.index_add_(0, vertex, (weight * total**2).to(out))

    def _surface(self, terms: Tensor, here: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """Entries of surface terms: row and vertex as one number, and what they are."""
        C, place = rows - 1, self.table[:3, terms].double()
        coefficients = self.table[3:, terms].double().reshape(C, 4, -1)
        x, y, z = (torch.stack((1 - u, u), -1) for u in place)  # (n, 2) each
        w = (x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).reshape(-1, 8)
        sx, sy, _ = steps = self._steps()
        offsets = [a * sx + b * sy + c for a in (0, 1) for b in (0, 1) for c in (0, 1)]
        around = [0] + [sign * step for step in steps for sign in (-1, 1)]
        offset = torch.tensor([[o + s for s in around] for o in offsets], device=terms.device)
        at = self.cells[terms][:, None] + offset.reshape(-1)  # (n, 56)
        factors = torch.cat(
            [
                coefficients[:, :1],
                *(k * coefficients[:, 1 + n : 2 + n] for n in range(3) for k in (-1, 1)),
            ],
            1,
        )  # (C, 7, n)
        value = (w[None, :, :, None] * factors.permute(0, 2, 1)[:, :, None]).flatten(
            2
        )  # (C, n, 56)
        row = here[None] * rows + torch.arange(C, device=terms.device)[:, None]  # (C, n)
        row, at, value = (
            x.expand(C, len(terms), 8 * STENCIL).reshape(-1) for x in (row[..., None], at, value)
        )
        return self._folded(row, at, value)

    def _corners(self, terms: Tensor, here: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """Entries of corner terms, as `_surface` has them."""
        table = self.corner_table[terms].double()
        sx, sy, _ = self._steps()
        offsets = [a * sx + b * sy + c for a in (0, 1) for b in (0, 1) for c in (0, 1)]
        at = self.corner_cells[terms][:, None] + torch.tensor(offsets, device=terms.device)
        value = table[:, 8:, None] * table[:, None, :8]  # (n, C + 1, 8)
        row = here[:, None] * rows + torch.arange(rows, device=terms.device)
        shape = value.shape
        return self._folded(
            row[..., None].expand(shape).reshape(-1),
            at[:, None].expand(shape).reshape(-1),
            value.reshape(-1),
        )

    def _folded(self, row: Tensor, at: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """From places of the padded lattice to vertices: the transpose of `arrays.padded`."""
        X, Y, Z = self.size
        places = _coordinates(at, self.size)
        parts = []
        inside = torch.ones_like(at, dtype=torch.bool)
        strides = (Y * Z, Z, 1)
        x, y, z = (c - 1 for c in places)
        vertex = (x * Y + y) * Z + z
        for n, c, s in zip(self.size, places, strides, strict=True):
            for beyond, inwards in ((c == 0, s), (c == n + 1, -s)):
                inside &= ~beyond
                for steps, factor in ((1, 2.0), (2, -1.0)):
                    parts.append(
                        (row[beyond], vertex[beyond] + steps * inwards, factor * value[beyond])
                    )
        parts.append((row[inside], vertex[inside], value[inside]))
        row, vertex, value = (torch.cat(x) for x in zip(*parts, strict=True))
        return row * (X * Y * Z) + vertex, value

    def _steps(self) -> tuple[int, int, int]:
        _, Y, Z = self.size
        return (Y + 2) * (Z + 2), Z + 2, 1


def _coordinates(at: Tensor, size: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Places of the padded lattice along each axis; 1 is the first vertex."""
    _, Y, Z = size
    return at // ((Y + 2) * (Z + 2)), at // (Z + 2) % (Y + 2), at % (Z + 2)
