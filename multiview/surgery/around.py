"""Gaussian means around the vertices near a surface, window by window: the rest is never touched.

A window is filtered with as much around it as the filter reaches, so that it gets what filtering
the whole lattice would give it, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SIDE = 32  # vertices of a window along each axis
TRUNCATE = 4.0  # standard deviations that a filter reaches
FEWEST = 1e-4  # of what is counted, for a mean of it

Floats: TypeAlias = NDArray[np.floating[Any]]
Index: TypeAlias = tuple[NDArray[np.intp], ...]
Slices: TypeAlias = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a lattice that some of its vertices are in.

    Args:
        shape: of the lattice.
        sigma: standard deviation of the filter along each axis, in its cells.
        places: `[W, 3]` number of each window along each axis, in order.
    """

    shape: tuple[int, ...]
    sigma: Sequence[float]
    places: NDArray[np.intp]

    @classmethod
    def of(
        cls, ids: Index, shape: tuple[int, ...], sigma: Sequence[float], reached: bool = False
    ) -> Windows:
        """Those of the vertices `ids`, three times `[P]`, or of all that a filter of them reaches.

        Args:
            ids: of vertices.
            shape: of the lattice.
            sigma: of the filter.
            reached: whether what the filter reaches counts.
        """
        found = np.zeros([-(-n // SIDE) for n in shape], bool)
        radii = _radii(sigma) if reached else [0, 0, 0]
        for steps in product(*({*range(-r, r, SIDE), r} for r in radii)):
            moved = zip(ids, steps, shape, strict=True)
            found[tuple((i + step).clip(0, n - 1) // SIDE for i, step, n in moved)] = True
        return cls(shape, sigma, np.argwhere(found))

    def filtered(self, values: Floats, beside: int = 0) -> Iterator[tuple[Slices, Floats, Slices]]:
        """What `scipy.ndimage.gaussian_filter` of values `[X, Y, Z]` gives in each window.

        Args:
            values: of the lattice.
            beside: vertices on each side of a window that come along.

        Yields:
            Where the window is, filtered values of it and what is beside, and where it is in them.
        """
        reach = [r + beside for r in _radii(self.sigma)]
        for place in self.places:
            begin = [int(p) * SIDE for p in place]
            end = [min(b + SIDE, n) for b, n in zip(begin, self.shape, strict=True)]
            low = [max(b - r, 0) for b, r in zip(begin, reach, strict=True)]
            high = [min(e + r, n) for e, r, n in zip(end, reach, self.shape, strict=True)]
            smooth = ndimage.gaussian_filter(
                values[tuple(map(slice, low, high))], self.sigma, truncate=TRUNCATE
            )
            inner = [slice(b - a, e - a) for a, b, e in zip(low, begin, end, strict=True)]
            yield tuple(map(slice, begin, end)), smooth, tuple(inner)

    def means(self, total: Floats, count: Floats) -> Iterator[tuple[Slices, Floats]]:
        """The mean around each vertex of what is spread over some; 0 far from all of them.

        Args:
            total: `[X, Y, Z]` float32, sums of it.
            count: `[X, Y, Z]` float32, how much of it there is.

        Yields:
            Each window, and the means there.
        """
        both = zip(self.filtered(total), self.filtered(count), strict=True)
        for (part, sums, inner), (_, counts, _) in both:
            mean = np.where(counts > FEWEST, sums / np.maximum(counts, FEWEST), 0)
            yield part, mean[inner]

    def means_at(self, ids: Index, total: Floats, count: Floats) -> Floats:
        """The same at the vertices `ids` of these windows: `[P]`."""
        out = np.zeros(len(ids[0]), np.float32)
        for (part, mean), some in zip(self.means(total, count), self.members(ids), strict=True):
            out[some] = mean[tuple(i[some] - s.start for i, s in zip(ids, part, strict=True))]
        return out

    def members(self, ids: Index) -> Iterator[NDArray[np.intp]]:
        """Which of the vertices `ids` `[P]`, all in these windows, are in each of them."""
        counts = tuple(-(-n // SIDE) for n in self.shape)
        window = np.ravel_multi_index(tuple(i // SIDE for i in ids), counts)
        order = np.argsort(window, kind="stable")
        mine = np.ravel_multi_index(tuple(self.places.T), counts)
        begin = np.searchsorted(window, mine, sorter=order)
        end = np.searchsorted(window, mine, "right", sorter=order)
        for a, b in zip(begin, end, strict=True):
            yield order[a:b]


def _radii(sigma: Sequence[float]) -> list[int]:
    """How many vertices the filter reaches along each axis."""
    return [int(TRUNCATE * s + 0.5) for s in sigma]
