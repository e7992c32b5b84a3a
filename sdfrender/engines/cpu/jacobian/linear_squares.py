"""The diagonal of `Jᵀ W J`, from local terms; exactly, or as if each term had a row to itself.

Pixels with one term away from the box's faces are the rule: their rows of J are squared term by
term. The rows of all others, `linear_terms.Terms.mixed`, are added up first.
"""

from __future__ import annotations

from typing import Any

from sdfrender.kernels.compiled import inlined, kernel, scalar
from sdfrender.kernels.trilinear_cell import (
    Grid,
    Stencil,
    add_to_corners,
    add_to_stencil,
    grid_of,
    lane_weights,
    stencil,
)


@kernel
def square_surface(
    cells: Any, starts: Any, pixels: Any, table: Any, mixed: Any, images: Any,
    sx: int, sy: int, g: Any,
) -> None:  # fmt: skip
    """Add the squares of the pixels that are not mixed to `g`, bricks.

    Args:
        cells: see `linear_terms.Terms`, as are the next four.
        starts: where the terms of each cell begin.
        pixels: of the terms.
        table: of the terms.
        mixed: terms to leave out.
        images: `[N H W, C]` weights.
        sx: step of `g` from one x to the next.
        sy: from one y to the next.
        g: added to.
    """
    weight = images.copy()
    for m in mixed:
        if m >= 0:
            weight[pixels[m]] = 0
    for n in range(len(cells)):
        for k in range(starts[n], starts[n + 1]):
            for c in range(images.shape[1]):
                u = weight[pixels[k], c]
                if u != 0:
                    add_to_stencil(g, cells[n], sx, sy, _squares(u, _row(table, k, c)))


@kernel
def square_corners(
    cells: Any, pixels: Any, table: Any, images: Any, silhouettes: Any, sx: int, sy: int, g: Any
) -> None:
    """Add the square of each corner term by itself to `g`, bricks.

    Args:
        cells: `linear_terms.Terms.corner_cells`; then `corner_pixels` and `corner_table`.
        pixels: of the terms.
        table: of the terms.
        images: `[N H W, C]` weights.
        silhouettes: `[N H W]` weights.
        sx: step of `g` from one x to the next.
        sy: from one y to the next.
        g: added to.
    """
    C = images.shape[1]
    for k in range(len(cells)):
        t, pixel = table[k], pixels[k]
        u = silhouettes[pixel] * t[8 + C] ** 2
        for c in range(C):
            u += images[pixel, c] * t[8 + c] ** 2
        w = (
            t[0] ** 2, t[1] ** 2, t[2] ** 2, t[3] ** 2,
            t[4] ** 2, t[5] ** 2, t[6] ** 2, t[7] ** 2,
        )  # fmt: skip
        add_to_corners(g, cells[k], sx, sy, w, u)


@inlined
def _squares(u: Any, s: Stencil) -> Stencil:
    """`u s²`, for each of 32 numbers."""
    return (
        u * s[0] ** 2, u * s[1] ** 2, u * s[2] ** 2, u * s[3] ** 2,
        u * s[4] ** 2, u * s[5] ** 2, u * s[6] ** 2, u * s[7] ** 2,
        u * s[8] ** 2, u * s[9] ** 2, u * s[10] ** 2, u * s[11] ** 2,
        u * s[12] ** 2, u * s[13] ** 2, u * s[14] ** 2, u * s[15] ** 2,
        u * s[16] ** 2, u * s[17] ** 2, u * s[18] ** 2, u * s[19] ** 2,
        u * s[20] ** 2, u * s[21] ** 2, u * s[22] ** 2, u * s[23] ** 2,
        u * s[24] ** 2, u * s[25] ** 2, u * s[26] ** 2, u * s[27] ** 2,
        u * s[28] ** 2, u * s[29] ** 2, u * s[30] ** 2, u * s[31] ** 2,
    )  # fmt: skip


@inlined
def _row(table: Any, k: int, c: int) -> Stencil:
    """What channel c owes to the 32 vertices of surface term k."""
    one, r = table.dtype.type(1), 3 + 4 * c
    w = lane_weights(one, table[0, k], table[1, k], table[2, k])
    return stencil(w, table[r, k], table[r + 1, k], table[r + 2, k], table[r + 3, k])


@kernel
def square_mixed(
    cells: Any, starts: Any, pixels: Any, table: Any,
    corner_cells: Any, corner_pixels: Any, corner_table: Any, mixed: Any,
    images: Any, silhouettes: Any, grid_numbers: Any, row: Any, g: Any,
) -> None:  # fmt: skip
    """Add the squares of the mixed pixels to `g`, a flat lattice with a margin.

    There a vertex has one place: what a row owes to it is added up before it is squared.

    Args:
        cells: see `linear_terms.Terms`, as are all up to `mixed`, but for the places of cells,
            which are those in `g`.
        starts: where the surface terms of each cell begin.
        pixels: of the surface terms.
        table: of the surface terms.
        corner_cells: of the corner terms.
        corner_pixels: of the corner terms.
        corner_table: of the corner terms.
        mixed: the terms to add, in order of the pixels.
        images: `[N H W, C]` weights.
        silhouettes: `[N H W]` weights.
        grid_numbers: size and place of the lattice, see `grid_of`.
        row: room for a row of J, as `g`; zeros, and zeros again afterwards.
        g: added to.
    """
    grid = grid_of(grid_numbers)
    C = images.shape[1]
    begin = 0
    while begin < len(mixed):
        pixel = pixel_of(mixed[begin], pixels, corner_pixels)
        end = begin + 1
        while end < len(mixed) and pixel_of(mixed[end], pixels, corner_pixels) == pixel:
            end += 1
        for c in range(C + 1):
            u = silhouettes[pixel] if c == C else images[pixel, c]
            if u == 0:
                continue
            for m in mixed[begin:end]:
                if m < 0:
                    t = corner_table[~m]
                    w = (t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
                    add_to_corners(row, corner_cells[~m], grid.sx, grid.sy, w, t[8 + c])
                elif c < C:
                    p = cell_of(m, cells, starts)
                    add_to_stencil(row, p, grid.sx, grid.sy, _row(table, m, c))
            for m in mixed[begin:end]:
                p = corner_cells[~m] if m < 0 else cell_of(m, cells, starts)
                _fold_block(row, grid, p)
            for m in mixed[begin:end]:
                p = corner_cells[~m] if m < 0 else cell_of(m, cells, starts)
                _square_block(row, grid, p, u, g)
        begin = end


@inlined
def pixel_of(m: int, pixels: Any, corner_pixels: Any) -> int:
    """Pixel of a term of `mixed`."""
    return corner_pixels[~m] if m < 0 else pixels[m]  # type: ignore[no-any-return]


@inlined
def cell_of(m: int, cells: Any, starts: Any) -> int:
    """Cell of a surface term, by bisection."""
    low, high = 0, len(cells)
    while high - low > 1:
        middle = (low + high) >> 1
        if starts[middle] <= m:
            low = middle
        else:
            high = middle
    return cells[low]  # type: ignore[no-any-return]


@scalar
def _fold_block(row: Any, grid: Grid, p: int) -> None:
    """Transpose of `geometry.padding.pad` in the 4×4×4 samples around a cell."""
    i, rest = p // grid.sx, p % grid.sx
    at = (i, rest // grid.sy, rest % grid.sy)
    sizes, steps = (grid.X, grid.Y, grid.Z), (grid.sx, grid.sy, 1)
    for axis in range(3):
        s, b, c = steps[axis], steps[(axis + 1) % 3], steps[(axis + 2) % 3]
        for n in range(16):
            q = p + ((n >> 2) - 1) * b + ((n & 3) - 1) * c
            if at[axis] == 1:
                row[q] += 2 * row[q - s]
                row[q + s] -= row[q - s]
                row[q - s] = 0
            if at[axis] == sizes[axis] - 1:
                row[q + s] += 2 * row[q + 2 * s]
                row[q] -= row[q + 2 * s]
                row[q + 2 * s] = 0


@scalar
def _square_block(row: Any, grid: Grid, p: int, u: float, g: Any) -> None:
    """`g += u · row²` in the 4×4×4 samples around a cell, which are set to zero in `row`."""
    for i in range(-1, 3):
        for j in range(-1, 3):
            for k in range(-1, 3):
                q = p + i * grid.sx + j * grid.sy + k
                if row[q] != 0:
                    g[q] += u * row[q] * row[q]
                    row[q] = 0
