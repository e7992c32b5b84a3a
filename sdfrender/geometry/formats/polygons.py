"""Polygons of any number of corners, and the triangles that cover the same surface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]

FLAT = 1e-9  # of a polygon's area; a triangle with less of it has none


@dataclass(frozen=True, eq=False)
class Polygons:
    """What a mesh file holds.

    Args:
        verts: `[V, 3]`; those that no polygon uses may be anything, NaN as well.
        corners: `[C]` numbers of vertices, polygon after polygon.
        counts: `[P]` corners of each polygon.
        notes: what the file has that was not read, a sentence each.
    """

    verts: Doubles
    corners: Indices
    counts: Indices
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of_triangles(cls, verts: Doubles, faces: Indices, notes: Iterable[str] = ()) -> Polygons:
        """From triangles `[F, 3]`."""
        return cls(verts, faces.reshape(-1), np.full(len(faces), 3), list(notes))

    def triangles(self) -> Indices:
        """`[F, 3]`, in the order of the polygons and facing as they do.

        Convex polygons become fans, others are ear-clipped; polygons of less than three corners
        have no surface and give none.

        Raises:
            ValueError: a corner that is no vertex.
        """
        if len(self.corners) == 0:
            return np.zeros((0, 3), np.int64)
        low, high = int(self.corners.min()), int(self.corners.max())
        if low < 0 or high >= len(self.verts):
            bad = low if low < 0 else high
            raise ValueError(f"a face names vertex {bad} of {len(self.verts)}, counted from 0")
        starts = np.cumsum(self.counts) - self.counts
        faces, owners = [], []
        for n in np.unique(self.counts[self.counts >= 3]).tolist():
            ids = np.flatnonzero(self.counts == n)
            polygons = self.corners[starts[ids, None] + np.arange(n)]  # (P, n)
            cut = _cut(self.verts, polygons)
            faces.append(cut.reshape(-1, 3))
            owners.append(np.repeat(ids, n - 2))
        if not faces:
            return np.zeros((0, 3), np.int64)
        order = np.argsort(np.concatenate(owners), kind="stable")
        return np.concatenate(faces)[order]


def numbers_of(words: Sequence[Any]) -> Doubles:
    """`[N]` numbers from words as text or bytes; NaN for what C programs print for it.

    Raises:
        ValueError: a word that is no number.
    """
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        return np.array([_number(word) for word in words], dtype=np.float64)


def _number(word: Any) -> float:
    text = word.decode("ascii", "replace") if isinstance(word, bytes) else str(word)
    plain = text.lower().lstrip("+-")
    if plain.startswith(("nan", "1.#", "inf")):  # -nan(ind), 1.#QNAN, 1.#INF
        return np.nan
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"need a number, got {text[:40]!r}") from None


def _cut(verts: Doubles, polygons: Indices) -> Indices:
    """`[P, n − 2, 3]` triangles of polygons `[P, n]`."""
    P, n = polygons.shape
    if n == 3:
        return polygons[:, None]
    points = verts[polygons]  # (P, n, 3)
    with np.errstate(all="ignore"):  # vertices may be NaN or huge: such polygons become fans
        points = points - points[:, :1]
        normals = np.cross(points, np.roll(points, -1, 1)).sum(1)  # Newell; its length is 2 A
        fan = np.stack([np.zeros(n - 2, int), np.arange(1, n - 1), np.arange(2, n)], -1)
        areas = _areas(points, fan, normals)
        size = (normals * normals).sum(-1)
        star = ~(areas <= FLAT * size[:, None]).any(1) | ~np.isfinite(size) | (size == 0)
    if n == 4:
        other = np.array([[1, 2, 3], [1, 3, 0]])
        with np.errstate(all="ignore"):
            better = _areas(points, other, normals).min(1) > areas.min(1)
        chosen = np.where((~star & better)[:, None, None], other, fan)
    else:
        chosen = np.tile(fan, (P, 1, 1))
        for i in np.flatnonzero(~star).tolist():
            chosen[i] = _clipped(points[i], normals[i])
    return polygons[np.arange(P)[:, None, None], chosen]


def _areas(points: Doubles, triangles: Indices, normals: Doubles) -> Doubles:
    """`[P, T]` twice the areas along the `normals` `[P, 3]`, times their lengths."""
    a, b, c = (points[:, triangles[:, k]] for k in range(3))  # (P, T, 3)
    areas: Doubles = np.einsum("ptk,pk->pt", np.cross(b - a, c - a), normals)
    return areas


def _clipped(points: Doubles, normal: Doubles) -> Indices:
    """`[n − 2, 3]` triangles of one polygon `[n, 3]`, seen along its normal."""
    from sdfrender.geometry.formats.ears import clip_ears  # compiled: only where it is needed

    drop = int(np.abs(normal).argmax())
    flat = np.delete(points, drop, 1) / max(float(np.abs(points).max()), 1e-300)
    if (normal[drop] < 0) != (drop == 1):  # counter-clockwise in the plane that is left
        flat = flat * np.array([-1.0, 1.0])
    triangles: Indices = clip_ears(np.ascontiguousarray(flat))
    return triangles
