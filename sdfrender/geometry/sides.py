"""Which way the triangles of a mesh face, where the file does not say it: what is inside.

A winding number tells inside from outside if triangles face outwards together. Many files have each
triangle twice, once each way, patches that face inwards, or triangles in any order. They are turned
here, for the winding number alone; the mesh itself stays as it is.

Takayama et al. 2014, *A simple method for correcting facet orientations in polygon meshes based on
ray casting*, as libigl has it, for surfaces that are not closed.
"""

from __future__ import annotations

import igl
import igl.embree
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from sdfrender.geometry.formats.polygons import Doubles, Indices

SAMPLES = 2000  # triangles that tell how well an orientation does
ASIDE = 1e-4  # of the box's diagonal, to both sides of them
NESTED = 0.95  # of a patch's triangles within another make it a cavity
CLEARLY = 0.25  # from a whole number; beside a single sheet, winding numbers are ± ½
RAYS = 20  # that each patch sends, at least
BETTER = 0.02  # of the surface, that turning must improve

Bools = NDArray[np.bool_]


def facing_outwards(verts: Doubles, faces: Indices) -> Indices:
    """Triangles `[G, 3]` that face outwards together, of the surface that `faces` cover.

    Args:
        verts: `[V, 3]` near the origin.
        faces: `[F, 3]`; triangles in the same place count once unless all face the same way.

    Returns:
        As they are, if they are closed and face one way. Else each triangle once, turned: patches
        that are closed face outwards, but for cavities that the file shows as such; others as more
        rays reach them from outside, where that leaves more of the surface between inside and
        outside than the file's own order does.
    """
    same = _joined(verts, faces)
    if _is_oriented(verts, same):
        return same
    once, doubled = _once(same)
    turned, patches = igl.bfs_orient(once)
    volumes: Doubles = np.bincount(patches, _volumes(verts, turned)).astype(np.float64)
    if not _open_edges(turned, patches).any():
        again = np.bincount(patches, doubled) > 0
        own: Doubles = np.bincount(patches, _volumes(verts, once)).astype(np.float64)
        return _nested(verts, turned, patches, volumes, own, again)
    best, most = same, explained(verts, same) + BETTER
    for parity in (False, True):
        flips, _ = igl.embree.reorient_facets_raycast(
            verts, once, rays_total=RAYS * len(once), rays_minimum=RAYS, use_parity=parity
        )
        found = np.where(flips[:, None], once[:, ::-1], once)
        share = explained(verts, found)
        if share > most:
            best, most = found, share
    return best


def explained(verts: Doubles, faces: Indices) -> float:
    """The share of the surface that has inside on one side and outside on the other.

    1 for a closed mesh; less with walls inside, sheets, and triangles that face anywhere: beside
    them winding numbers are not nearly whole, or as large on both sides.
    """
    corners = verts[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    total = np.cumsum(areas)
    if not total[-1] > 0:
        return 0.0
    at = np.searchsorted(total, (np.arange(SAMPLES) + 0.5) / SAMPLES * total[-1])
    at = at.clip(max=len(faces) - 1)
    middle = corners[at].mean(1)
    aside = ASIDE * np.linalg.norm(np.ptp(corners.reshape(-1, 3), axis=0))
    step = aside * normals[at] / np.maximum(areas[at], 1e-300)[:, None]
    w = igl.fast_winding_number(verts, faces, np.concatenate((middle + step, middle - step)))
    whole = np.round(w).reshape(2, -1)
    clear = (np.abs(w.reshape(2, -1) - whole) < CLEARLY).all(0)
    return float((clear & ((whole[0] == 0) != (whole[1] == 0))).mean())


def _joined(verts: Doubles, faces: Indices) -> Indices:
    """Triangles with one number for all vertices in a place, without those that have no area."""
    _, first, ids = np.unique(verts + 0.0, axis=0, return_index=True, return_inverse=True)
    same = first[ids.reshape(-1)[faces]]
    a, b, c = same.T
    kept: Indices = np.ascontiguousarray(same[(a != b) & (b != c) & (c != a)], dtype=np.int64)
    return kept


def _is_oriented(verts: Doubles, faces: Indices) -> bool:
    """Whether triangles are closed, face one way in each body, and all bodies the same way."""
    if len(faces) == 0 or _open_edges(faces, np.zeros(len(faces), np.int64)).any():
        return len(faces) == 0
    if len(np.unique(np.sort(faces, 1), axis=0)) < len(faces) and _once(faces)[1].any():
        return False
    size = int(faces.max()) + 1
    links = coo_matrix((np.ones(2 * len(faces)), (faces[:, [0, 1]].T.ravel(),
                        faces[:, [1, 2]].T.ravel())), (size, size))  # fmt: skip
    bodies = connected_components(links, directed=False)[1][faces[:, 0]]
    volumes = np.bincount(bodies, _volumes(verts, faces))
    volumes = volumes[np.bincount(bodies) > 0]
    return bool((volumes > 0).all() or (volumes < 0).all())


def _open_edges(faces: Indices, patches: Indices) -> Bools:
    """Of each patch, whether its edges are not passed as often one way as the other."""
    start, end = faces.ravel(), np.roll(faces, -1, 1).ravel()
    low, high = np.minimum(start, end), np.maximum(start, end)
    patch = np.repeat(patches, 3)
    order = np.lexsort((high, low, patch))
    low, high, patch = low[order], high[order], patch[order]
    way = np.where(start[order] == low, 1, -1)
    new = np.ones(len(low), bool)
    new[1:] = (np.diff(low) != 0) | (np.diff(high) != 0) | (np.diff(patch) != 0)
    first = np.flatnonzero(new)
    open_ = np.add.reduceat(way, first) != 0
    found: Bools = np.bincount(patch[first], open_, minlength=int(patches.max()) + 1) > 0
    return found


def _once(faces: Indices) -> tuple[Indices, Bools]:
    """Each triangle once, and whether it was there in both ways."""
    ordered = np.sort(faces, 1)
    a, b, c = faces.T
    even = ((a < b) & (b < c)) | ((b < c) & (c < a)) | ((c < a) & (a < b))
    _, first, ids = np.unique(ordered, axis=0, return_index=True, return_inverse=True)
    ids = ids.reshape(-1)
    ways = np.bincount(ids, even), np.bincount(ids, ~even)
    kept = np.argsort(first)
    return faces[first[kept]], ((ways[0] > 0) & (ways[1] > 0))[kept]


def _nested(
    verts: Doubles, faces: Indices, patches: Indices, volumes: Doubles, own: Doubles, again: Bools
) -> Indices:
    """Closed patches outwards, but for cavities: those that the file turns against what is around.

    Args:
        verts: `[V, 3]`.
        faces: `[F, 3]`, each patch facing one way.
        patches: `[F]` of which each is.
        volumes: `[P]` signed, of the patches as they are.
        own: `[P]` signed, as the file has them.
        again: `[P]` patches that were there in both ways, so that the file tells nothing.
    """
    signs = np.where(volumes < 0, -1, 1)
    largest = int(np.abs(volumes).argmax())
    against = (np.sign(own) == -np.sign(own[largest])) & ~again & (own != 0)
    outwards = np.where((signs < 0)[patches, None], faces[:, ::-1], faces)
    solid = outwards[~against[patches]]
    for patch in np.flatnonzero(against).tolist():
        chosen = patches == patch
        middles = verts[outwards[chosen]].mean(1)
        if float((igl.fast_winding_number(verts, solid, middles) > 0.5).mean()) > NESTED:
            outwards[chosen] = outwards[chosen][:, ::-1]
    turned: Indices = np.ascontiguousarray(outwards)
    return turned


def _volumes(verts: Doubles, faces: Indices) -> Doubles:
    """`[F]` signed volumes under each triangle, seen from the middle of the vertices."""
    a, b, c = (verts[faces[:, k]] - verts.mean(0) for k in range(3))
    volumes: Doubles = np.einsum("fk,fk->f", a, np.cross(b, c)) / 6
    return volumes
