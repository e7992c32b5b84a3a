"""Rotations of a category's meshes to one another, from the overlap of their voxels.

`a_i` `[R, R, R]` is the share of mesh i's surface in each voxel, blurred, as thin parts of two
objects are near each other but hardly ever in the same voxels; `g` is one of the 24 rotations of a
cube. Of each pair the overlaps are

    O(g, i, k) = Σ a_i(g⁻¹ x) a_k(x) / (|a_i| |a_k|),

and what is sought are rotations `g_i` with the largest sum of `O(g_k⁻¹ g_i, i, k)` over all pairs.
It is raised mesh by mesh, from several starts: all turned to one of the meshes, each in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sdfrender.geometry.mesh_files import Doubles
from singleview.align.turns import Solid, rotations, turned

ROUNDS = 30  # of turning each mesh, at most
STARTS = 40  # meshes that all others are turned to at first, at most
BLUR = 1 / 12  # standard deviation, of the box's side
AS_FILED = 0.01  # by which two meshes as they lie in their files are taken to overlap more

Table = NDArray[np.float32]  # O [24, N, N]


def align_category(surfaces: Sequence[Solid], kept: Sequence[bool]) -> list[Doubles]:
    """One of the 24 rotations for each of N meshes, `[3, 3]` each; the identity where kept.

    Args:
        surfaces: `[R, R, R]` each, shares of its surface over the box [-1, 1]³.
        kept: which ones stay as they are; else the frame is that of most files.
    """
    group = rotations()
    quotients = _quotients(group)
    table = pair_overlaps(surfaces, group)
    table[0] += AS_FILED  # the first rotation is the identity
    fixed = np.array(kept, bool)
    roots = np.flatnonzero(fixed) if fixed.any() else np.argsort(-table.max(0).sum(1))
    best, most = np.zeros(len(surfaces), np.intp), -np.inf
    for root in roots[:STARTS].tolist():
        start = np.where(fixed, 0, table[:, :, root].argmax(0))
        start[root] = 0
        found, total = settle(table, start, fixed, quotients)
        if total > most:
            best, most = found, total
    chosen = [group[g] for g in best]
    return chosen if fixed.any() else as_most_files(chosen)


def settle(
    table: Table, start: NDArray[np.intp], fixed: NDArray[np.bool_], quotients: NDArray[np.intp]
) -> tuple[NDArray[np.intp], float]:
    """Raise the sum mesh by mesh until none turns; rotations `[N]` by number, and the sum."""
    turns = start.copy()
    N = len(turns)
    others = ~np.eye(N, dtype=bool)
    for _ in range(ROUNDS):
        before = turns.copy()
        for i in np.flatnonzero(~fixed):
            k = np.flatnonzero(others[i])
            turns[i] = int(table[quotients[turns[k]].T, i, k].sum(1).argmax())
        if np.array_equal(before, turns):
            break
    pairs = table[quotients[turns[None, :], turns[:, None]], np.arange(N)[:, None], np.arange(N)]
    return turns, float(pairs[others].sum())


def pair_overlaps(surfaces: Sequence[Solid], group: Sequence[Doubles]) -> Table:
    """O `[24, N, N]`: of mesh i, turned, and mesh k, in [0, 1].

    Worked value: 1 of a mesh with itself, not turned.
    """
    R = surfaces[0].shape[0]
    soft = [ndimage.gaussian_filter(a, BLUR * R) for a in surfaces]
    units = [a / max(float(np.linalg.norm(a)), 1e-9) for a in soft]
    flat = np.stack([a.ravel() for a in units])
    found = [np.stack([turned(a, g).ravel() for a in units]) @ flat.T for g in group]
    return np.stack(found).astype(np.float32)


def as_most_files(chosen: Sequence[Doubles]) -> list[Doubles]:
    """The same rotations in the frame in which most meshes stay as they are in their files."""
    counts = [sum(np.array_equal(R, other) for other in chosen) for R in chosen]
    frame = chosen[int(np.argmax(counts))]
    return [frame.T @ R for R in chosen]


def overlaps_with_others(surfaces: Sequence[Solid]) -> list[float]:
    """Of each mesh, as it stands, the mean overlap with the others; 1 for a single one."""
    N = len(surfaces)
    if N == 1:
        return [1.0]
    table = pair_overlaps(surfaces, rotations()[:1])[0]
    return [float((table[i].sum() - table[i, i]) / (N - 1)) for i in range(N)]


def _quotients(group: Sequence[Doubles]) -> NDArray[np.intp]:
    """`[24, 24]` the number of `R_a⁻¹ R_b`."""
    numbers = {R.astype(int).tobytes(): n for n, R in enumerate(group)}
    return np.array([[numbers[(a.T @ b).astype(int).tobytes()] for b in group] for a in group])
