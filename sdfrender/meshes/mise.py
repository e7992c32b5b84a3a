"""Meshes of fields: any function of a point that is negative inside.

Notation: the box is cut into cells, level after level into eight each; *samples* are the corners of
cells. An *active* cell has corners of both signs. Nothing here is differentiable.

MISE (Mescheder et al. 2019, §3.3) evaluates a coarse grid and then, level by level, only what
active cells cut into eight need. A surface can leave an active cell through a face whose four
corners have one sign; the published method cuts it off there. Here such a neighbour is cut up too,
so that the following holds at every level:

    (closure)  where two neighbouring samples differ in sign, both are known, and so are all
               corners of the four cells around the edge between them.

A triangle of marching cubes depends on its cell's eight samples alone, and its vertices lie on such
edges. So of a connected surface of the dense grid either everything is found or nothing, and it is
found if some cell at some level is active because of it; and nothing else is found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.geometry.grid import UNIT_BOX, box_as_kept
from sdfrender.geometry.lattice import Lattice
from sdfrender.meshes.extraction import extract_mesh

# Points [P, 3], world units, to values [P]: negative inside, zero on the surface. Not necessarily
# distances.
Field: TypeAlias = Callable[[Tensor], Tensor]
Bounds: TypeAlias = Tensor | Sequence[Sequence[float]]
Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float32]

CHUNK = 1 << 16  # points that are evaluated together
CORNERS = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]


@dataclass(frozen=True)
class Extraction:
    """What MISE found.

    Args:
        lattice: the finest grid. Values far from the surface are interpolated, with the right sign.
        evaluations: points at which the field was evaluated.
    """

    lattice: Lattice
    evaluations: int

    def mesh(self) -> trimesh.Trimesh:
        """The surface, watertight; see `sdfrender.extract_mesh`."""
        return extract_mesh(self.lattice)


def extract_field(
    field: Field,
    bounds: Bounds = UNIT_BOX,
    coarse: int | Sequence[int] = 32,
    levels: int = 3,
    chunk: int = CHUNK,
) -> trimesh.Trimesh:
    """The zero surface of a field as a watertight mesh: `mise` and marching cubes.

    Closed by caps where the solid meets the box. Arguments and errors are those of `mise`.

    Example: the volume of a ball, which is 0.5236.

    >>> import sdfrender as sr
    >>> round(float(sr.extract_field(sr.primitives.sphere(0.5)).volume), 2)
    0.52
    """
    return mise(field, bounds, coarse, levels, chunk).mesh()


def mise(
    field: Field,
    bounds: Bounds = UNIT_BOX,
    coarse: int | Sequence[int] = 32,
    levels: int = 3,
    chunk: int = CHUNK,
    slope: float | None = None,
) -> Extraction:
    """Evaluate a field on a fine grid, but only near its surface (multiresolution extraction).

    The mesh of the result is that of the dense grid, for every component that the coarse grid sees;
    see the head of this module.

    Args:
        field: points `[P, 3]` float32, world units, to values `[P]`, negative inside. Called
            without gradients.
        bounds: `[2, 3]` the box, world units.
        coarse: cells of the first grid along the longest side, or along each axis.
        levels: how often cells are halved; the result has `coarse · 2^levels` cells and one sample
            more.
        chunk: points that are evaluated together.
        slope: of the field at most, where its values are small; 1 for distances. Cells that may
            hold surface by that are halved as well, in all levels but the last, so that nothing is
            missed which a grid of half the final cells would see. Default: not known.

    Raises:
        ValueError: an empty box, one so far from the origin that float32 does not hold it, fewer
            than one cell, or a field that returns another shape.
        InputError: a value that is not finite, or no sample of the coarse grid inside.
    """
    box = box_as_kept(bounds, torch.float32)
    if box.dtype != torch.float32:
        raise ValueError(
            f"bounds: need a box near enough to the origin for points in float32, got "
            f"{box.tolist()}: take an offset from the field's points and add it to the mesh"
        )
    if levels < 0 or chunk < 1:
        raise ValueError(f"levels, chunk: need at least 0 and 1, got {levels} and {chunk}")
    if slope is not None and not slope > 0:
        raise ValueError(f"slope: need a number above 0, got {slope}")
    cells = cells_per_axis(coarse, box)
    grid = _Grid(field, box, cells, chunk)
    grid.evaluate(np.ones(cells, dtype=bool))
    if slope is None:
        grid.need_inside()
    for level in range(levels):
        grid.refine(slope if level < levels - 1 else None)
    grid.need_inside()
    return Extraction(Lattice(torch.from_numpy(grid.values), box), grid.evaluations)


def cells_per_axis(coarse: int | Sequence[int], box: Tensor) -> tuple[int, int, int]:
    """Cells along each axis of a box `[2, 3]`: one number means those along the longest side."""
    if isinstance(coarse, int):
        size = (box[1] - box[0]).double()
        X, Y, Z = (int(n) for n in (size / size.max() * coarse).round().clamp(min=1))
    else:
        if len(coarse) != 3:
            raise ValueError(f"coarse: need one number or three, got {list(coarse)}")
        X, Y, Z = (int(n) for n in coarse)
    if min(X, Y, Z) < 1 or (isinstance(coarse, int) and coarse < 1):
        raise ValueError(f"coarse: need at least 1 cell along each axis, got {coarse}")
    return X, Y, Z


class _Grid:
    """The samples of one level: `values` `[X+1, Y+1, Z+1]`, `known` the same shape."""

    def __init__(self, field: Field, box: Tensor, cells: tuple[int, int, int], chunk: int) -> None:
        self.field, self.box, self.chunk = field, box, chunk
        self.evaluations = 0
        shape = tuple(n + 1 for n in cells)
        self.values: Floats = np.zeros(shape, dtype=np.float32)
        self.known: Bools = np.zeros(shape, dtype=bool)

    def evaluate(self, cells: Bools) -> None:
        """Evaluate the field at all corners of `cells` `[X, Y, Z]` that are not known yet."""
        wanted = np.zeros_like(self.known)
        for corner in CORNERS:
            _at(wanted, corner)[...] |= cells
        wanted &= ~self.known
        index = wanted.nonzero()
        columns = [axis[torch.from_numpy(i)] for axis, i in zip(self._axes(), index, strict=True)]
        self.values[index] = self._call(torch.stack(columns, -1)).numpy()
        self.known |= wanted

    def need_inside(self) -> None:
        """Raise InputError unless a sample is inside."""
        lowest = float(self.values.min())
        if not lowest < 0:
            cells = max(self.values.shape) - 1
            raise InputError(
                f"field: no surface, the smallest of {self.values.size} values in the box "
                f"{self.box.tolist()} is {lowest:.4g}, need one below 0, or more than {cells} "
                "coarse cells"
            )

    def _axes(self) -> list[Tensor]:
        """Positions along x, y, z, exactly those of a lattice's samples."""
        bounds = zip(*self.box.double().tolist(), self.values.shape, strict=True)
        return [
            torch.linspace(low, high, n, dtype=torch.float64).float() for low, high, n in bounds
        ]

    def refine(self, slope: float | None) -> None:
        """Go on to cells of half the size."""
        parents = _mixed(self.values)
        if slope is not None:
            parents |= self._near(slope)
        coarse, known = self.values, self.known
        shape = tuple(2 * n - 1 for n in coarse.shape)
        self.values = _interpolated(coarse)
        self.known = np.zeros(shape, dtype=bool)
        self.known[::2, ::2, ::2] = known
        done = np.zeros_like(parents)
        while bool((todo := parents & ~done).any()):
            self.evaluate(_children(todo))
            done |= todo
            parents = _parents(self._open_cells())

    def _near(self, slope: float) -> Bools:
        """`[X, Y, Z]` known cells that a field of this slope may be zero in.

        Any point of a cell is within half a diagonal of a corner.
        """
        size = (self.box[1] - self.box[0]).double().numpy() / (np.array(self.values.shape) - 1)
        reach = 0.5 * slope * float(np.linalg.norm(size))
        near = np.zeros(tuple(n - 1 for n in self.values.shape), dtype=bool)
        close = self.known & (np.abs(self.values) < reach)
        for corner in CORNERS:
            near |= _at(close, corner)
        return near

    def _open_cells(self) -> Bools:
        """`[X, Y, Z]` active cells with a corner that is not known."""
        active = _mixed(self.values)
        complete = np.ones_like(active)
        for corner in CORNERS:
            complete &= _at(self.known, corner)
        return active & ~complete

    @torch.no_grad()
    def _call(self, points: Tensor) -> Tensor:
        """The field at points `[P, 3]`, checked."""
        parts = []
        for part in torch.split(points, self.chunk):
            found = self.field(part)
            if not isinstance(found, Tensor) or found.shape != part.shape[:1]:
                got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
                raise ValueError(f"field: need values [{len(part)}] for as many points, got {got}")
            found = found.detach().float().cpu()
            if not bool(found.isfinite().all()):
                bad = int((~found.isfinite()).nonzero()[0, 0])
                raise InputError(
                    f"field: need finite values, got {float(found[bad])} at {part[bad].tolist()}"
                )
            parts.append(found)
        self.evaluations += len(points)
        return torch.cat(parts) if parts else points[:, 0]


# ---------------------------------------------------------------------- grids


def _at(samples: Bools, corner: tuple[int, int, int]) -> Bools:
    """`[X, Y, Z]`: of every cell the sample at one of its corners; a view."""
    part = tuple(slice(c, n - 1 + c) for c, n in zip(corner, samples.shape, strict=True))
    view: Bools = samples[part]
    return view


def _mixed(values: Floats) -> Bools:
    """`[X, Y, Z]` cells with corners of both signs."""
    inside = values < 0
    some = np.zeros(tuple(n - 1 for n in values.shape), dtype=bool)
    every = np.ones_like(some)
    for corner in CORNERS:
        np.logical_or(some, _at(inside, corner), out=some)
        np.logical_and(every, _at(inside, corner), out=every)
    mixed: Bools = some & ~every
    return mixed


def _children(cells: Bools) -> Bools:
    """Cells of half the size, in the given ones."""
    return cells.repeat(2, 0).repeat(2, 1).repeat(2, 2)


def _parents(cells: Bools) -> Bools:
    """Cells of twice the size that hold a given one."""
    X, Y, Z = (n // 2 for n in cells.shape)
    found: Bools = np.logical_or.reduce(cells.reshape(X, 2, Y, 2, Z, 2), axis=(1, 3, 5))
    return found


def _interpolated(values: Floats) -> Floats:
    """Samples at half the spacing: means of 2, 4 or 8, which keep the sign that these share."""
    for axis in range(3):
        moved = np.moveaxis(values, axis, 0)
        fine = np.zeros((2 * len(moved) - 1, *moved.shape[1:]), dtype=np.float32)
        fine[::2] = moved
        fine[1::2] = 0.5 * moved[:-1] + 0.5 * moved[1:]
        values = np.moveaxis(fine, 0, axis)
    return np.ascontiguousarray(values)
