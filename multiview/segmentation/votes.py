"""One shape of what all photographs say: cells that enough of them allow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from multiview.segmentation.object_box import ObjectBox
from multiview.segmentation.photograph import Array, Floats, Mask, Photograph

RESOLUTION = 96  # cells along the box's longest side
SEEN_BY = 0.3  # of the photographs at least have a cell of the object in frame


class Shown(NamedTuple):
    """Where a photograph shows P points: row, column, whether in frame, depths, `[P]` each."""

    row: NDArray[np.int32]
    column: NDArray[np.int32]
    framed: Mask
    depths: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a box.

    Args:
        centers: `[P, 3]` world units.
        spacing: side of a cell, world units.
        shape: how many along each of the box's axes.
    """

    centers: Array
    spacing: float
    shape: tuple[int, ...]
    _shown: dict[Photograph, Shown] = field(default_factory=dict)

    @classmethod
    def of(cls, box: ObjectBox, resolution: int = RESOLUTION) -> Cells:
        """The cubic cells of a box."""
        return cls(*box.grid(resolution))

    def shown(self, photo: Photograph) -> Shown:
        """Where a photograph shows the centres; found once, since every round asks for it."""
        if photo not in self._shown:
            row, column, framed = photo.pixels_of(self.centers)
            depths = (self.centers - photo.center) @ photo.c2w[:3, 2]
            small = (row.astype(np.int32), column.astype(np.int32))
            self._shown[photo] = Shown(*small, framed, depths.astype(np.float32))
        return self._shown[photo]

    def picture(self, photo: Photograph, chosen: Mask) -> Mask:
        """`[H, W]` where a photograph shows any of the chosen cells."""
        drawn = np.zeros(photo.shape, bool)
        shown = self.shown(photo)
        depths = shown.depths[chosen]
        front = depths > 0
        if not front.any():
            return drawn
        side = self.spacing * photo.K[0, 0] / np.median(depths[front])  # pixels
        framed = chosen & shown.framed
        drawn[shown.row[framed], shown.column[framed]] = True
        width = max(1, int(np.ceil(1.4 * side)))  # a cell's diagonal in its picture
        square = np.ones((width, width), bool)
        grown = ndimage.binary_dilation(drawn, square)
        closed: Mask = ndimage.binary_closing(np.pad(grown, width), square)
        return closed[width:-width, width:-width]

    def sums(self, photographs: list[Photograph], planes: list[Floats]) -> tuple[Array, Array]:
        """`[P]` sums of what N pictures `[H, W]` hold where they show cells, and how many do."""
        total, seen = np.zeros(len(self.centers)), np.zeros(len(self.centers))
        for photo, plane in zip(photographs, planes, strict=True):
            shown = self.shown(photo)
            total += np.where(shown.framed, plane[shown.row, shown.column], 0)
            seen += shown.framed
        return total, seen
