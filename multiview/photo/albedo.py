"""Colours of a surface as a lattice of albedo, from what photographs show of it.

With light and surface held fixed, a photograph is linear in the albedo:
`E(a) = Σ_pixels (a(x) s − C)² + ρ Σ_edges (a_u − a_v)² + η Σ (a − a₀)²`, where `a(x)` is
trilinear, `s` the light that falls on the point, and the unknowns are the vertices near the
surface. The normal equations couple a vertex to its 26 neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from multiview.algebra.rows import SparseRows, edges
from multiview.algebra.solve import conjugate_gradients
from sdfrender import Lattice
from sdfrender.geometry.trilinear import corner_offsets, corner_weights
from sdfrender.kernels.compiled import kernel
from sdfrender.kernels.threads import run_all, slabs
from sdfrender.kernels.trilinear_cell import weights

Floats = NDArray[np.float32]

WIDTH = 3.2  # half width of the band of vertices that get a colour, cells
DARK = 0.02  # where less light falls on a point, its colour says nothing
PULL = 0.02  # η: towards a₀, what vertices have that nobody sees
ITERATIONS = 30  # of conjugate gradients, at most
TOLERANCE = 1e-3  # residual, relative to the right side, at which they end


def solve_albedo(
    lattice: Lattice,
    points: Tensor,
    light: Tensor,
    colors: Tensor,
    smoothness: float,
    start: Tensor,
    rest: Tensor,
) -> Tensor:
    """The albedo that fits best to colours seen at points of the surface.

    Not differentiable. All tensors are on one device.

    Args:
        lattice: the shape; the albedo gets its resolution.
        points: `[P, 3]` on the surface, world units.
        light: `[P, C]` what falls on them.
        colors: `[P, C]` what was seen.
        smoothness: ρ, in pixels: how many of them a difference of neighbours counts.
        start: `[X, Y, Z, C]`, where to start from.
        rest: `[C]`, a₀; also the albedo where there is no surface near, and in channels that no
            light falls in.

    Returns:
        `[X, Y, Z, C]`.
    """
    if points.device.type != "cpu":
        return solve_in_torch(lattice, points, light, colors, smoothness, start, rest)
    distance = (lattice.values / lattice.spacing.max()).abs().numpy()
    near = (distance < WIDTH).ravel()
    ids = np.flatnonzero(near)
    M, C = len(ids), len(rest)
    out = rest.repeat(near.size, 1)
    if not M or not len(points):
        return out.reshape(start.shape)
    unknown = np.full(near.size, -1, np.int32)
    unknown[ids] = np.arange(M, dtype=np.int32)

    # One weight for all channels, so that they share a matrix: exact for white light.
    lit = lit_channels(light)
    if not lit.any():
        return out.reshape(start.shape)
    brightness = light[:, lit].mean(-1)
    seen = (brightness > DARK) & (light[:, lit] > DARK / 2).all(-1)
    s = brightness[seen].numpy()
    ratio = torch.where(lit, colors[seen] / light[seen], rest).contiguous().numpy()
    index = ((points[seen] - lattice.bounds[0]) / lattice.spacing).contiguous().numpy()
    A, b = _normal_equations(index, s, ratio, unknown.reshape(distance.shape), M)
    matrix = _stencil_matrix(A, ids, unknown, distance.shape)
    matrix = matrix + np.float32(smoothness) * differences(unknown.reshape(distance.shape), M)
    matrix = (matrix + PULL * sparse.eye_array(M, dtype=np.float32, format="csr")).tocsr()
    b += PULL * rest.numpy()
    diagonal = np.repeat(matrix.diagonal(), C)
    operator = LinearOperator(
        (M * C, M * C), lambda x: (matrix @ x.reshape(M, C)).ravel(), dtype=np.float32
    )
    jacobi = LinearOperator((M * C, M * C), lambda x: x / diagonal, dtype=np.float32)
    x0 = start.reshape(-1, C).numpy()[ids].ravel()
    x, _ = cg(operator, b.ravel(), x0, rtol=TOLERANCE, maxiter=ITERATIONS, M=jacobi)
    out[torch.from_numpy(ids)] = torch.from_numpy(x.reshape(M, C).astype(np.float32))
    return out.reshape(*lattice.values.shape, C)


def solve_in_torch(
    lattice: Lattice,
    points: Tensor,
    light: Tensor,
    colors: Tensor,
    smoothness: float,
    start: Tensor,
    rest: Tensor,
) -> Tensor:
    """The twin of `solve_albedo` for any device; no matrix is formed."""
    X, Y, Z = lattice.resolution
    near = (lattice.values / lattice.spacing.max()).abs().reshape(-1) < WIDTH
    ids = near.nonzero()[:, 0]
    M, C = len(ids), len(rest)
    out = rest.repeat(len(near), 1)
    lit = lit_channels(light) if len(points) else light.new_zeros(C, dtype=torch.bool)
    if not M or not bool(lit.any()):
        return out.reshape(start.shape)
    unknown = torch.full_like(near, -1, dtype=torch.int64)
    unknown[ids] = torch.arange(M, device=ids.device)

    brightness = light[:, lit].mean(-1)
    seen = (brightness > DARK) & (light[:, lit] > DARK / 2).all(-1)
    s, ratio = brightness[seen], torch.where(lit, colors[seen] / light[seen], rest)
    index = lattice.to_index(points[seen])
    last = torch.tensor((X, Y, Z), device=index.device) - 2
    cell = torch.minimum(index.floor().clamp(min=0), last)
    i, j, k = cell.long().unbind(-1)
    columns = unknown[((i * Y + j) * Z + k)[:, None] + corner_offsets(Y, Z, index.device)]
    parts = s[:, None] * corner_weights(index - cell)
    pixels = SparseRows(columns.clamp(min=0), torch.where(columns >= 0, parts, 0.0), M)
    rough = edges(unknown.reshape(X, Y, Z), M, rest.dtype)

    def normal(a: Tensor) -> Tensor:
        held = smoothness * (rough.T @ (rough @ a)) + PULL * a
        return pixels.T @ (pixels @ a) + held

    b = pixels.T @ (s[:, None] * ratio) + PULL * rest
    diagonal = (pixels.squares + smoothness * rough.squares + PULL)[:, None]
    x0 = start.reshape(-1, C)[ids]
    out[ids] = conjugate_gradients(normal, b, TOLERANCE, ITERATIONS, x0, diagonal)
    return out.reshape(*lattice.values.shape, C)


def lit_channels(light: Tensor) -> Tensor:
    """`[C]` bool: in which channels of `[P, C]` enough light falls for colours to be told."""
    return (light > DARK / 2).any(0)


def with_unlit(color: Tensor, lit: Tensor) -> Tensor:
    """A colour `[C]`, grey in channels without light: the mean of the others, 1 if there are none.

    What is seen there is black whatever the albedo.
    """
    grey = color[lit].mean() if lit.any() else color.new_ones(())
    return torch.where(lit, color, grey)


def _normal_equations(
    index: Floats, s: Floats, ratio: Floats, unknown: Any, M: int
) -> tuple[Floats, Floats]:
    """What `add_pixels` adds up, on several threads: `[M, 27]` and `[M, C]`."""
    threads = torch.get_num_threads()

    def part(p: slice) -> tuple[Floats, Floats]:
        A, b = np.zeros((M, 27), np.float32), np.zeros((M, ratio.shape[1]), np.float32)
        add_pixels(index[p], s[p], ratio[p], unknown, A, b)
        return A, b

    (A, b), *others = run_all(part, slabs(max(len(s), 1), threads), threads)
    for more, beside in others:
        A += more
        b += beside
    return A, b


@kernel
def add_pixels(index: Any, s: Any, ratio: Any, unknown: Any, A: Any, b: Any) -> None:
    """Add the normal equations of `s² (a(x) − ratio)²`.

    Args:
        index: `[P, 3]` points in cells from the first vertex.
        s: `[P]`.
        ratio: `[P, C]`.
        unknown: `[X, Y, Z]` the row of each vertex, negative where it has none.
        A: `[M, 27]` added to: how each vertex is coupled to its neighbours, itself at 13.
        b: `[M, C]` added to.
    """
    X, Y, Z = unknown.shape
    w = np.zeros(8, np.float32)
    rows = np.zeros(8, np.int32)
    for p in range(len(s)):
        i = min(max(int(index[p, 0]), 0), X - 2)
        j = min(max(int(index[p, 1]), 0), Y - 2)
        k = min(max(int(index[p, 2]), 0), Z - 2)
        x, y, z = index[p, 0] - i, index[p, 1] - j, index[p, 2] - k
        corners = weights(x, y, z)
        for n in range(8):
            w[n] = s[p] * corners[n]
            rows[n] = unknown[i + (n >> 2), j + (n >> 1 & 1), k + (n & 1)]
        for n in range(8):
            if rows[n] < 0:
                continue
            for c in range(ratio.shape[1]):
                b[rows[n], c] += w[n] * s[p] * ratio[p, c]
            at = 9 * (1 - (n >> 2)) + 3 * (1 - (n >> 1 & 1)) + 1 - (n & 1)
            for m in range(8):
                A[rows[n], at + 9 * (m >> 2) + 3 * (m >> 1 & 1) + (m & 1)] += w[n] * w[m]


def _stencil_matrix(A: Floats, ids: Any, unknown: Any, shape: tuple[int, ...]) -> Any:
    """The sparse `[M, M]` matrix of a stencil `[M, 27]`."""
    _, Y, Z = shape
    steps = np.arange(3) - 1
    offsets = (steps[:, None, None] * Y * Z + steps[:, None] * Z + steps).ravel()
    rows, column = np.nonzero(A)
    neighbours = unknown[ids[rows] + offsets[column]]
    kept = neighbours >= 0
    M = len(ids)
    return sparse.csr_array(
        (A[rows, column][kept], (rows[kept].astype(np.int32), neighbours[kept])), shape=(M, M)
    )


def differences(unknown: Any, M: int) -> Any:
    """`Dᵀ D` of the differences D along all edges between unknown vertices: `[M, M]`."""
    first, second = [], []
    for axis in range(3):
        rolled = np.moveaxis(unknown, axis, 0)
        a, b = rolled[:-1].ravel(), rolled[1:].ravel()
        both = (a >= 0) & (b >= 0)
        first.append(a[both])
        second.append(b[both])
    a, b = np.concatenate(first), np.concatenate(second)
    ones = np.ones(len(a), np.float32)
    off = sparse.csr_array((ones, (a, b)), shape=(M, M))
    off = off + off.T
    return sparse.diags_array(off.sum(1), dtype=np.float32, format="csr") - off


def resampled(albedo: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A lattice of colours `[X, Y, Z, C]` at the vertices of another of the same box."""
    if albedo.shape[:3] == shape:
        return albedo
    planes = albedo.movedim(-1, 0)[None]
    fine = torch.nn.functional.interpolate(planes, shape, mode="trilinear", align_corners=True)
    return fine[0].movedim(0, -1).contiguous()
