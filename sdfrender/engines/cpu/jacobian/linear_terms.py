"""The derivative of images in the lattice as a list of local terms, sorted by cell.

A *surface term* is one event in one pixel: with φ and `D = (D_x, D_y, D_z)`, the differences of
neighbouring samples blended trilinearly at a place in a cell,
    d image_c += a_c dφ + b_c·dD,    c = 1 … C.
A *corner term* depends on the 8 corners of a cell with weights of its own, and there are few of
them: the coverage of an event, and the motion of a graze,
    d image_c += m_c Σ_k w_k dφ_k,    d silhouette += m_{C+1} Σ_k w_k dφ_k.
Everything that lies in front of an event or behind it is already in the coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sdfrender.engines.cpu.bricks import BrickMap
from sdfrender.engines.cpu.engine import MOST_SUMS, Part, SceneArrays, Traced, split
from sdfrender.engines.cpu.jacobian.linear_apply import (
    LANES,
    pull_corners,
    pull_surface,
    push_corners,
    push_surface,
)
from sdfrender.engines.cpu.jacobian.linear_fill import (
    count_terms,
    fill_terms,
    lay_out,
    repeat_pixels,
)
from sdfrender.engines.cpu.jacobian.linear_squares import (
    square_corners,
    square_mixed,
    square_surface,
)
from sdfrender.kernels.bricks import FLAT_X, FLAT_Y, STEP_X, STEP_Y
from sdfrender.kernels.threads import run_all
from sdfrender.kernels.trilinear_cell import Grid, numbers

PLACE = 3  # rows of a surface term before its coefficients: x, y, z


@dataclass(frozen=True, eq=False)
class Terms:
    """Terms of some pixels of one lattice; no two lists share a pixel.

    Args:
        lattice: which of the batch.
        cells: `[K]` places of the cells with surface terms in the lattice's bricks, in order.
        starts: `[K + 1]` where the terms of each cell begin, multiples of `linear_apply.LANES`;
            each cell is filled up with terms of zeros.
        pixels: `[S]` flat index over all views.
        table: `[3 + 4 C, S]` place in the cell, then each channel's `a, b_x, b_y, b_z`.
        corner_cells: `[E]`.
        corner_pixels: `[E]`, in order.
        corner_table: `[E, 8 + C + 1]` weights and multipliers.
        mixed: `[M]` all terms, in order of the pixels, of those pixels that have more than one
            term, or a term next to a face of the box: index of a surface term, or `~index` of a
            corner term.
        count: surface and corner terms, without those of zeros.
    """

    lattice: int
    cells: Any
    starts: Any
    pixels: Any
    table: Any
    corner_cells: Any
    corner_pixels: Any
    corner_table: Any
    mixed: Any
    count: int

    def push(self, v: Any, images: Any, silhouettes: Any) -> None:
        """Add `J v` to `images` `[N H W, C]` and `silhouettes` `[N H W]`; v is in bricks."""
        push_surface(*self._surface, v, STEP_X, STEP_Y, images)
        push_corners(*self._corners, v, STEP_X, STEP_Y, images, silhouettes)

    def pull(self, images: Any, silhouettes: Any, g: Any) -> None:
        """Add the transpose of `push` to `g`, bricks."""
        pull_surface(*self._surface, images, STEP_X, STEP_Y, g)
        pull_corners(*self._corners, images, silhouettes, STEP_X, STEP_Y, g)

    def square(self, images: Any, silhouettes: Any, exact: bool, bricks: BrickMap, g: Any) -> None:
        """Add the diagonal of `Jᵀ W J` to `g`, in bricks, for the weights W in the images.

        Without `exact` as if each term had a row to itself, and nothing is added on the margin.
        """
        mixed = self.mixed if exact else self.mixed[:0]
        square_surface(*self._surface, mixed, images, STEP_X, STEP_Y, g)
        if exact:
            bricks.move(self._mixed_squares(images, silhouettes, bricks), g)
        else:
            square_corners(*self._corners, images, silhouettes, STEP_X, STEP_Y, g)
            bricks.clear_margin(g)

    def _mixed_squares(self, images: Any, silhouettes: Any, bricks: BrickMap) -> Any:
        """The part of the mixed pixels `[X, Y, Z]`.

        In a lattice, where each vertex has one place: a row is added up before it is squared.
        """
        X, Y, Z = bricks.resolution
        none = (0.0,) * 3
        grid = numbers(Grid(X, Y, Z, (Y + 2) * (Z + 2), Z + 2, none, none, none, 0.0))
        cells, corners = (_in_lattice(bricks, x) for x in (self.cells, self.corner_cells))
        surface = cells, self.starts, self.pixels, self.table
        around = corners, self.corner_pixels, self.corner_table
        squares = np.zeros((X + 2, Y + 2, Z + 2), self.table.dtype)
        row, flat = np.zeros(squares.size, np.float64), squares.reshape(-1)
        square_mixed(*surface, *around, self.mixed, images, silhouettes, grid, row, flat)
        return squares[1:-1, 1:-1, 1:-1]

    @property
    def _surface(self) -> tuple[Any, Any, Any, Any]:
        return self.cells, self.starts, self.pixels, self.table

    @property
    def _corners(self) -> tuple[Any, Any, Any]:
        return self.corner_cells, self.corner_pixels, self.corner_table


def linear_terms(scene: SceneArrays, traced: Traced, background: Any) -> list[Terms]:
    """The terms of every pixel, in one list per lattice and thread.

    Args:
        scene: what was rendered.
        traced: its events.
        background: `[1, C]` or `[N H W, C]`, what lies behind everything.
    """
    work = shares(scene, traced)
    return run_all(lambda x: _terms(scene, traced, background, *x), work, scene.threads)


def shares(scene: SceneArrays, traced: Traced) -> list[tuple[int, Part]]:
    """Lattices and events, one share per lattice and thread."""
    most = max(1, *(near.values.nbytes for near in traced.cells))
    parts = max(1, min(scene.threads, MOST_SUMS // most))
    return [
        (b, part)
        for b in range(len(scene.lattices))
        for part in split([f for f in traced.found if f.lattice == b], parts)
    ]


def _in_lattice(bricks: BrickMap, places: Any) -> Any:
    """Places `[…]` in bricks as places in the flat lattice with a margin."""
    _, Y, Z = bricks.resolution
    flat = bricks.flat(places)
    i, j, k = flat // FLAT_X, flat % FLAT_X // FLAT_Y, flat % FLAT_Y
    return (i * (Y + 2) + j) * (Z + 2) + k


def index_type(scene: SceneArrays, v: Any) -> Any:
    """What indices of terms, pixels and places in the bricks v are kept in."""
    terms = 2 * len(scene.views) * scene.width * scene.height * scene.most
    return np.int32 if terms < 1 << 31 > len(v) else np.int64


def lay_out_cells(ends: Any, index: Any) -> tuple[Any, Any, int, int]:
    """`cells` and `starts` of terms, how many there are, and how many with those of zeros.

    Args:
        ends: counts of terms in each cell; where its first one goes, afterwards.
        index: type of the cells.
    """
    cells = np.flatnonzero(ends).astype(index)
    count, starts = int(ends[cells].sum()), np.zeros(len(cells) + 1, np.uint64)
    return cells, starts, count, lay_out(cells, int(LANES), starts, ends)


def _terms(scene: SceneArrays, traced: Traced, background: Any, lattice: int, part: Part) -> Terms:
    grid, near = numbers(scene.grid), traced.cells[lattice]
    v, bricks = near.values, near.bricks.table
    C, P = background.shape[1], scene.width * scene.height
    index = index_type(scene, v)
    total = sum(end - begin for _, begin, end in part)

    at = np.zeros(total, np.int64)  # cell of each event
    ends = np.zeros(len(v), index)  # terms in each cell, then where the next one goes
    events, corners = 0, 0
    for found, begin, end in part:
        corners += count_terms(
            grid,
            bricks,
            scene.view_numbers(found.view),
            found.events,
            begin,
            end,
            at[events:],
            ends,
        )
        events += end - begin
    cells, starts, count, size = lay_out_cells(ends, index)

    pixels = np.zeros(size, np.uint32 if index == np.int32 else np.uint64)
    table = np.zeros((PLACE + 4 * C, size), v.dtype)
    corner_cells, corner_pixels = np.zeros(corners, index), np.zeros(corners, index)
    corner_table = np.zeros((corners, 8 + C + 1), v.dtype)
    mixed = np.zeros(total + corners, index)
    events, k, m = 0, 0, 0
    for found, begin, end in part:
        k, m = fill_terms(
            v, grid, bricks, scene.view_numbers(found.view), scene.lights_of(found.view),
            scene.albedo, background, found.events, begin, end, found.view * P, scene.reattach,
            at[events:], ends, pixels, table, corner_cells, corner_pixels, corner_table, k, mixed,
            m,
        )  # fmt: skip
        events += end - begin
    repeat_pixels(cells, starts, ends, pixels)
    return Terms(
        lattice, cells, starts, pixels, table,
        corner_cells[:k].copy(), corner_pixels[:k].copy(), corner_table[:k].copy(),
        mixed[:m].copy(), count + k,
    )  # fmt: skip
