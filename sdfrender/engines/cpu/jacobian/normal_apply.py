"""`Jᵀ W J` in one pass over local terms: no image is made in between.

The terms are linear in four numbers at each vertex of their cells, `F = (φ, D_x, D_y, D_z)` with D
the differences of its neighbours. A pixel with a single term is a row of J by itself: what it adds
is `√W q` from the left and from the right, cell by cell. The terms of other pixels are added up
pixel by pixel first. Indices are unsigned, see `linear_apply`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64

from sdfrender.engines.cpu.jacobian.linear_apply import CHUNK
from sdfrender.engines.cpu.jacobian.linear_squares import cell_of, pixel_of
from sdfrender.kernels.bricks import STEP_X, STEP_Y
from sdfrender.kernels.compiled import inlined_lanes, kernel, lane_kernel
from sdfrender.kernels.trilinear_cell import Corners, dot, lane_weights, plus


@kernel
def name_vertices(cells: Any, numbers: Any, M: int, rows: Any) -> int:
    """Begin a list of the vertices of some cells: each of the M that products are with once.

    A cell has four edges along z. The two vertices of an edge are to be neighbours in the list, as
    they are among the M; an edge that is not among them is put at the end, whatever else is there.

    Args:
        cells: places in the bricks.
        numbers: which of the values of products each place has, see `BrickVertices`.
        M: see there.
        rows: `[M]` −1 at first; filled with a place of each vertex that is there.

    Returns:
        How many edges are to be put at the end.
    """
    others = 0
    for n in range(len(cells)):
        for e in range(4):
            p = int(cells[n]) + (e >> 1) * STEP_X + (e & 1) * STEP_Y
            a = numbers[p]
            if a + 1 < M and numbers[p + 1] == a + 1:
                rows[a], rows[a + 1] = p, p + 1
            else:
                others += 1
    return others


@kernel
def list_vertices(rows: Any, places: Any) -> int:
    """From what `name_vertices` leaves to `places` of the list; `rows`: where each vertex is in it.

    Returns how many there are.
    """
    count = 0
    for n in range(len(rows)):
        if rows[n] >= 0:
            places[count], rows[n] = rows[n], count
            count += 1
    return count


@kernel
def list_edges(cells: Any, numbers: Any, rows: Any, places: Any, count: int, edges: Any) -> int:
    """Fill `edges` `[K, 4]`: where the first vertex of each edge is in the list, see above.

    Edges that are not among the M vertices are put at the end; returns how long the list is then.
    """
    M = len(rows)
    for n in range(len(cells)):
        for e in range(4):
            p = int(cells[n]) + (e >> 1) * STEP_X + (e & 1) * STEP_Y
            a = numbers[p]
            if a + 1 < M and numbers[p + 1] == a + 1:
                edges[n, e] = rows[a]
            else:
                edges[n, e], places[count], places[count + 1] = count, p, p + 1
                count += 2
    return count


@kernel
def weigh_terms(pixels: Any, table: Any, mixed: Any, images: Any, q: Any) -> None:
    """Coefficients of surface terms times `√W`, zero for those in mixed pixels.

    Args:
        pixels: see `linear_terms.Terms`, as are the next two.
        table: of the surface terms.
        mixed: terms to leave out.
        images: `[N H W, C]` weights.
        q: `[4 C, S]` filled.
    """
    for c in range(images.shape[1]):
        for k in range(len(pixels)):
            s = np.sqrt(images[pixels[k], c])
            for r in range(4):
                q[4 * c + r, k] = s * table[3 + 4 * c + r, k]
    for m in mixed:
        if m >= 0:
            q[:, m] = 0


@kernel
def gather_mixed(
    cells: Any, starts: Any, pixels: Any, table: Any,
    corner_cells: Any, corner_pixels: Any, corner_table: Any, mixed: Any,
    images: Any, silhouettes: Any, at: Any, corners: Any, q: Any, firsts: Any, weights: Any,
) -> int:  # fmt: skip
    """Put the terms of mixed pixels one after the other, in one form.

    Args:
        cells: see `linear_terms.Terms`, as are all up to `mixed`.
        starts: where the surface terms of each cell begin.
        pixels: of the surface terms.
        table: of the surface terms.
        corner_cells: of the corner terms.
        corner_pixels: of the corner terms.
        corner_table: of the corner terms.
        mixed: the terms.
        images: `[N H W, C]` weights.
        silhouettes: `[N H W]` weights.
        at: `[E]` filled with the terms' cells.
        corners: `[E, 8]` filled with their weights at the corners.
        q: `[E, 4 C + 1]` zeros, filled with their coefficients: of each channel, of the silhouette.
        firsts: `[E + 1]` filled with the first term of each pixel, and the end.
        weights: `[E, C + 1]` filled with the pixels' weights.

    Returns:
        The number of pixels.
    """
    C, one, of = images.shape[1], table.dtype.type(1), table.dtype.type
    count, last = 0, -1
    for e in range(len(mixed)):
        m = mixed[e]
        pixel = pixel_of(m, pixels, corner_pixels)
        if pixel != last:
            firsts[count] = e
            for c in range(C):
                weights[count, c] = images[pixel, c]
            weights[count, C] = silhouettes[pixel]
            count, last = count + 1, pixel
        if m < 0:
            t = corner_table[~m]
            at[e] = corner_cells[~m]
            for k in range(8):
                corners[e, k] = t[k]
            for c in range(C):
                q[e, 4 * c] = t[8 + c]
            q[e, 4 * C] = t[8 + C]
        else:
            at[e] = cell_of(m, cells, starts)
            w = lane_weights(one, table[0, m], table[1, m], table[2, m])
            for k in range(8):
                corners[e, k] = of(w[k])
            for r in range(4 * C):
                q[e, r] = table[3 + r, m]
    firsts[count] = len(mixed)
    return count


@lane_kernel
def push_vertices(x: Any, neighbours: Any, F: Any) -> None:
    """`F` `[V, 4]` at some vertices, from values `x` and where those around them are in it."""
    for n in range(uint64(len(neighbours))):
        F[n, 0] = x[neighbours[n, 0]]
        F[n, 1] = x[neighbours[n, 2]] - x[neighbours[n, 1]]
        F[n, 2] = x[neighbours[n, 4]] - x[neighbours[n, 3]]
        F[n, 3] = x[neighbours[n, 6]] - x[neighbours[n, 5]]


@lane_kernel
def pull_vertices(F: Any, neighbours: Any, g: Any) -> None:
    """The transpose of `push_vertices`, added to `g`."""
    for n in range(uint64(len(neighbours))):
        g[neighbours[n, 0]] += F[n, 0]
        g[neighbours[n, 1]] -= F[n, 1]
        g[neighbours[n, 2]] += F[n, 1]
        g[neighbours[n, 3]] -= F[n, 2]
        g[neighbours[n, 4]] += F[n, 2]
        g[neighbours[n, 5]] -= F[n, 3]
        g[neighbours[n, 6]] += F[n, 3]


@inlined_lanes
def _of_edges(F: Any, e: Any, r: int) -> Corners:
    """Number r at the corners of a cell, `e` the first of each of its edges along z."""
    a, b, c, d, one = uint64(e[0]), uint64(e[1]), uint64(e[2]), uint64(e[3]), uint64(1)
    return (
        F[a, r], F[a + one, r], F[b, r], F[b + one, r],
        F[c, r], F[c + one, r], F[d, r], F[d + one, r],
    )  # fmt: skip


@lane_kernel
def normal_surface(edges: Any, starts: Any, table: Any, q: Any, F: Any, out: Any) -> None:
    """Add `Σ q (qᵀ F)` over the surface terms of pixels with a single term.

    Args:
        edges: `[K, 4]` of each cell, the first vertex of each of its edges along z; the second one
            follows it in F.
        starts: where the terms of each cell begin.
        table: `[3 …, S]` the terms' places in their cells; further rows are not read.
        q: `[4 C, S]` see `weigh_terms`.
        F: `[V, 4]`.
        out: `[V, 4]` added to.
    """
    one, zero = F.dtype.type(1), F.dtype.type(0)
    f, fx = np.zeros(CHUNK, F.dtype), np.zeros(CHUNK, F.dtype)
    fy, fz = np.zeros(CHUNK, F.dtype), np.zeros(CHUNK, F.dtype)
    for n in range(uint64(len(edges))):
        e = edges[n]
        phi, dx, dy, dz = (
            _of_edges(F, e, 0),
            _of_edges(F, e, 1),
            _of_edges(F, e, 2),
            _of_edges(F, e, 3),
        )
        a = x = y = z = (zero, zero, zero, zero, zero, zero, zero, zero)
        for begin in range(starts[n], starts[n + 1], CHUNK):
            size = min(CHUNK, starts[n + 1] - begin)
            if len(q) == 4:
                for k in range(size):
                    i = begin + k
                    w = lane_weights(one, table[0, i], table[1, i], table[2, i])
                    s = (
                        q[0, i] * dot(w, phi) + q[1, i] * dot(w, dx)
                        + q[2, i] * dot(w, dy) + q[3, i] * dot(w, dz)
                    )  # fmt: skip
                    f[k], fx[k], fy[k], fz[k] = s * q[0, i], s * q[1, i], s * q[2, i], s * q[3, i]
            else:
                for k in range(size):
                    f[k] = fx[k] = fy[k] = fz[k] = zero
                for r in range(0, len(q), 4):
                    for k in range(size):
                        i = begin + k
                        w = lane_weights(one, table[0, i], table[1, i], table[2, i])
                        s = (
                            q[r, i] * dot(w, phi) + q[r + 1, i] * dot(w, dx)
                            + q[r + 2, i] * dot(w, dy) + q[r + 3, i] * dot(w, dz)
                        )  # fmt: skip
                        f[k] += s * q[r, i]
                        fx[k] += s * q[r + 1, i]
                        fy[k] += s * q[r + 2, i]
                        fz[k] += s * q[r + 3, i]
            for k in range(size):
                i = begin + k
                w = lane_weights(one, table[0, i], table[1, i], table[2, i])
                a, x = plus(a, f[k], w), plus(x, fx[k], w)
            for k in range(size):  # another loop: the sums stay in registers
                i = begin + k
                w = lane_weights(one, table[0, i], table[1, i], table[2, i])
                y, z = plus(y, fy[k], w), plus(z, fz[k], w)
        _add_edge(out, e[0], (a[0], x[0], y[0], z[0]), (a[1], x[1], y[1], z[1]))
        _add_edge(out, e[1], (a[2], x[2], y[2], z[2]), (a[3], x[3], y[3], z[3]))
        _add_edge(out, e[2], (a[4], x[4], y[4], z[4]), (a[5], x[5], y[5], z[5]))
        _add_edge(out, e[3], (a[6], x[6], y[6], z[6]), (a[7], x[7], y[7], z[7]))


@inlined_lanes
def _add_edge(out: Any, first: Any, a: Any, b: Any) -> None:
    v = uint64(first)
    for r in range(4):
        out[v, r] += a[r]
    for r in range(4):
        out[v + uint64(1), r] += b[r]


@lane_kernel
def normal_mixed(
    edges: Any, corners: Any, q: Any, firsts: Any, weights: Any, F: Any, out: Any
) -> None:
    """Add what pixels with several terms have to do with `F`, to `out`, both `[V, 4]`.

    Args:
        edges: `[E, 4]` of the terms' cells, see `normal_surface`.
        corners: `[E, 8]` weights at the cells' corners.
        q: `[E, 4 C + 1]` coefficients, see `gather_mixed`.
        firsts: `[P + 1]` first term of each pixel, and the end.
        weights: `[P, C + 1]` of the pixels.
        F: `[V, 4]`.
        out: `[V, 4]` added to.
    """
    C = weights.shape[1] - 1
    S, b = np.zeros(C + 1, F.dtype), np.zeros(4, F.dtype)
    for p in range(len(weights)):
        for c in range(C + 1):
            S[c] = 0
        for n in range(firsts[p], firsts[p + 1]):
            for r in range(4):
                b[r] = 0
            for k in range(8):
                v, w = edges[n, k >> 1] + (k & 1), corners[n, k]
                for r in range(4):
                    b[r] += w * F[v, r]
            for c in range(C):
                for r in range(4):
                    S[c] += q[n, 4 * c + r] * b[r]
            S[C] += q[n, 4 * C] * b[0]
        for c in range(C + 1):
            S[c] *= weights[p, c]
        for n in range(firsts[p], firsts[p + 1]):
            for r in range(4):
                b[r] = 0
            for c in range(C):
                for r in range(4):
                    b[r] += S[c] * q[n, 4 * c + r]
            b[0] += S[C] * q[n, 4 * C]
            for k in range(8):
                v, w = edges[n, k >> 1] + (k & 1), corners[n, k]
                for r in range(4):
                    out[v, r] += w * b[r]
