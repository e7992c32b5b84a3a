"""The lattice whose memory grows with its surface: blocks of 8³ vertices near it are kept.

What others keep of this kind was looked at: OpenVDB has no wheel for Python upstream; NanoVDB in
NVIDIA's Warp and fVDB (PyTorch) sample and trace their grids on NVIDIA cards, and know no box that
cuts a solid off, no events that are composited, and none of our derivatives. The kernels here index
blocks of their own, so that every formula is the one of dense lattices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from sdfrender.eager import eager
from sdfrender.equality import EqualByValue
from sdfrender.geometry.blocks import SIDE
from sdfrender.geometry.grid import UNIT_BOX, Resolution, box_as_kept, samples_per_axis
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.sparse.blocked import INSIDE, Blocked, blocks_along
from sdfrender.geometry.sparse.blocks import near_blocks, whole
from sdfrender.geometry.sparse.function import blocks_of_function
from sdfrender.geometry.sparse.redistance import redistanced_blocks
from sdfrender.geometry.sparse.resample import resampled
from sdfrender.geometry.trilinear import corner_weights
from sdfrender.magnitude import needed, usable

REACH = 4.5  # how far from the surface blocks are kept, in units of the smallest spacing


@dataclass(frozen=True, eq=False)
class SparseLattice(EqualByValue):
    """Signed distances on a regular grid of vertices, kept near the surface only.

    It stands for a `Lattice`, `to_dense()`: blocks of 8³ vertices are kept where the surface is
    near, and in all others the value is `far`, or `−far` inside. `sample`, `gradient`, `render`,
    `linearize`, `redistance` and `extract_mesh` give what they give for that lattice, without
    making it: in memory and time that grow with the surface, by 4 where the resolution doubles,
    and not by 8. On the CPU only.

    Args:
        values: `[n, 8, 8, 8]` float32 or float64, world units, negative inside: the blocks that are
            kept. What of a block lies beyond the last vertex of the lattice is never read.
        table: `[⌈X/8⌉, ⌈Y/8⌉, ⌈Z/8⌉]` int32: for the block with the vertices from `(8a, 8b, 8c)`
            which of the n it is, −1 if it is not kept and outside, −2 if inside.
        far: world units, above 0.
        resolution: `(X, Y, Z)` samples.
        bounds: `[2, 3]` world positions of the first and the last vertex, as those of `Lattice`.

    Raises:
        TypeError: values or a table of another kind.
        ValueError: shapes that do not fit, a block that is missing or there twice, fewer than 2
            samples along an axis, an empty box, or numbers that cannot be computed with.

    Example: a sphere at 512³ in 20 MB; as a `Lattice` it has 537.

    >>> import sdfrender as sr
    >>> ball = sr.SparseLattice.from_function(sr.primitives.sphere(0.5), 512)
    >>> ball.values.nbytes < 30e6, round(float(sr.extract_mesh(ball).volume), 3)
    (True, 0.524)
    """

    values: Tensor
    table: Tensor
    far: float
    resolution: tuple[int, int, int]
    bounds: Tensor

    @eager
    def __post_init__(self) -> None:
        kinds = (torch.float32, torch.float64)
        if not isinstance(self.values, Tensor) or self.values.dtype not in kinds:
            raise TypeError(f"values: need float32 or float64 values, got {_kind(self.values)}")
        if not isinstance(self.table, Tensor) or self.table.dtype != torch.int32:
            raise TypeError(f"table: need an int32 tensor, got {_kind(self.table)}")
        if self.values.device.type != "cpu" or self.table.device.type != "cpu":
            raise ValueError(f"values: need a tensor on the CPU, got {self.values.device}")
        X, Y, Z = (int(n) for n in samples_per_axis(self.resolution, self.bounds))
        need = blocks_along((X, Y, Z))
        if self.values.shape[1:] != (SIDE,) * 3 or tuple(self.table.shape) != need:
            raise ValueError(
                f"values: need [n, 8, 8, 8] and a table {[*need]} for {X}×{Y}×{Z} samples, got "
                f"{[*self.values.shape]} and {[*self.table.shape]}"
            )
        _check_table(self.table, len(self.values))
        far = float(torch.tensor(float(self.far), dtype=self.values.dtype))
        if not (far > 0 and usable(torch.tensor(far))):
            raise ValueError(f"far: need a number above 0, got {self.far}")
        if not usable(self.values):
            raise ValueError(f"values: need finite signed distances: {needed(self.values)}")
        object.__setattr__(self, "far", far)
        object.__setattr__(self, "resolution", (X, Y, Z))
        object.__setattr__(self, "bounds", box_as_kept(self.bounds, self.values.dtype))

    def __repr__(self) -> str:
        size = "×".join(map(str, self.resolution))
        return f"SparseLattice({size}, {len(self.values)} of {self.table.numel()} blocks)"

    # ------------------------------------------------------------------ geometry of the grid

    @property
    def batch(self) -> int:
        """1: there are no batches of them."""
        return 1

    @property
    def batched(self) -> bool:
        """False: there are no batches of them."""
        return False

    @cached_property
    def spacing(self) -> Tensor:
        """`[3]` distance between neighbouring vertices along each axis, world units."""
        return (self.bounds[1] - self.bounds[0]) / (torch.tensor(self.resolution) - 1)

    def with_values(self, values: Tensor) -> SparseLattice:
        """The same blocks with other values `[n, 8, 8, 8]`."""
        return replace(self, values=values)

    def blocked(self) -> Blocked:
        """The same for compiled kernels, without gradients; it shares its memory."""
        values = self.values.detach().contiguous().numpy()
        return Blocked(self.table.numpy(), values, values.dtype.type(self.far), self.resolution)

    def _with(self, blocks: Blocked) -> SparseLattice:
        """Other blocks in the same box."""
        table, values = torch.from_numpy(blocks.table), torch.from_numpy(blocks.values)
        return SparseLattice(values, table, float(blocks.far), blocks.sizes, self.bounds)

    # ------------------------------------------------------------------ interpolation

    def sample(self, points: Tensor) -> Tensor:
        """Trilinear φ at `points` `[..., 3]`, as `Lattice.sample`: `[...]`.

        Differentiable in `values` and `points`.
        """
        corners, weights = self._cells(points)
        return (weights * self._at(corners)).sum(-1).reshape(points.shape[:-1])

    def gradient(self, points: Tensor) -> Tensor:
        """The normal field ∇φ at `points` `[..., 3]`, as `Lattice.gradient`: `[..., 3]`.

        Differentiable in `values` and `points`.
        """
        corners, weights = self._cells(points)
        last = torch.tensor(self.resolution) - 1
        parts = []
        for axis in range(3):
            step = torch.eye(3, dtype=torch.int64)[axis]
            high, low = torch.minimum(corners + step, last), (corners - step).clamp(min=0)
            width = (high - low)[..., axis] * self.spacing[axis]
            slopes = (self._at(high) - self._at(low)) / width.to(self.values)
            parts.append((weights * slopes).sum(-1))
        return torch.stack(parts, -1).reshape(points.shape)

    def to_index(self, points: Tensor) -> Tensor:
        """World points `[..., 3]` to fractional vertex indices (0 … resolution − 1)."""
        return (points - self.bounds[0]) / self.spacing

    def _cells(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The corners `[P, 8, 3]` of the cell that each point is in, and their weights `[P, 8]`."""
        if points.shape[-1] != 3:
            raise ValueError(f"points: need [..., 3], got {tuple(points.shape)}")
        last = torch.tensor(self.resolution, dtype=points.dtype) - 1
        index = torch.minimum(self.to_index(points.reshape(-1, 3)).clamp(min=0), last)
        cell = torch.minimum(index.detach().floor(), last - 1)
        offsets = torch.cartesian_prod(*[torch.arange(2)] * 3)  # (8, 3)
        return cell.long()[:, None] + offsets, corner_weights(index - cell)

    def _at(self, index: Tensor) -> Tensor:
        """Values at vertices `[..., 3]`: `[...]`."""
        block = self.table[tuple((index // SIDE).unbind(-1))].long()
        i, j, k = (index % SIDE).unbind(-1)
        far = self.values.new_tensor(self.far)
        absent = torch.where(block == INSIDE, -far, far)
        if not len(self.values):
            return absent
        place = ((block.clamp(min=0) * SIDE + i) * SIDE + j) * SIDE + k
        kept = self.values.reshape(-1, 1)
        found = torch.nn.functional.embedding(place, kept).squeeze(-1)
        return torch.where(block < 0, absent, found)

    # ------------------------------------------------------------------ new lattices from this one

    def to_dense(self) -> Lattice:
        """The lattice that this one stands for; not differentiable."""
        return Lattice(torch.from_numpy(whole(self.blocked())), self.bounds)

    @eager
    def redistance(
        self, frozen_band: float = 1.2, reach: float = REACH, reuse: bool = False
    ) -> SparseLattice:
        """Make `|∇φ| = 1` away from the surface: `Lattice.redistance`, bit for bit.

        Blocks come and go with the surface: those with distances below `reach` are kept. Not
        differentiable: the result is detached.

        Args:
            frozen_band: in units of the smallest spacing.
            reach: likewise, and finite: what is farther from the surface has this distance, and
                `far` is that.
            reuse: nobody needs this lattice any more; it makes no difference here.

        Raises:
            ValueError: as `Lattice.redistance`, or a reach that is not finite.
        """
        spacing = self.spacing.double().numpy()
        return self._with(redistanced_blocks(self.blocked(), spacing, frozen_band, reach))

    def resample(self, resolution: Resolution) -> SparseLattice:
        """The same function at another resolution, by trilinear interpolation, as `Lattice` does.

        `far` stays as it is; blocks are kept where those here are. Not differentiable.
        """
        sizes = samples_per_axis(resolution, self.bounds)
        if sizes == self.resolution:
            return self
        return self._with(resampled(self.blocked(), sizes))

    # ------------------------------------------------------------------ constructors

    @classmethod
    def from_dense(cls, lattice: Lattice, reach: float = REACH) -> SparseLattice:
        """The blocks near the surface of a lattice; not differentiable.

        Values of blocks that have a vertex with `|φ| < reach`, or a corner of a cell that holds
        surface, are exact. All others become `± reach`: `Lattice.redistance(reach=reach)` has these
        already, and such a lattice comes back bit for bit.

        Args:
            lattice: one lattice of float32 or float64, on any device.
            reach: in units of the smallest spacing.

        Raises:
            ValueError: a batch of lattices, or a reach that is not above 0.
        """
        if lattice.batched:
            raise ValueError(f"lattice: need a single one, got a batch of {lattice.batch}")
        values = lattice.values.detach().cpu().contiguous()
        if values.dtype != torch.float64:
            values = values.float()
        bounds = lattice.bounds.cpu()
        kept = near_blocks(values.numpy(), _far(reach, bounds, lattice.resolution))
        table = torch.from_numpy(kept.table)
        return cls(torch.from_numpy(kept.values), table, float(kept.far), kept.sizes, bounds)

    @classmethod
    def from_function(
        cls,
        function: Callable[[Tensor], Tensor],
        resolution: Resolution = 64,
        bounds: Tensor | Sequence[Sequence[float]] = UNIT_BOX,
        dtype: torch.dtype = torch.float32,
        reach: float = REACH,
    ) -> SparseLattice:
        """Sample signed distances where they are less than `reach`.

        Args:
            function: maps points `[..., 3]` to signed distances `[...]`. It is asked in the middle
                of each block first: it must not change by more than the distance between two points
                (as none of `sdfrender.primitives` does), or surface may be missed.
            resolution: samples along the longest side, or along each axis.
            bounds: `[2, 3]` box.
            dtype: of the values.
            reach: in units of the smallest spacing.

        Raises:
            ValueError: as the constructor, or a reach that is not above 0.
        """
        box = box_as_kept(bounds, dtype)
        sizes = samples_per_axis(resolution, box)
        far = _far(reach, box, sizes)
        values, table = blocks_of_function(function, sizes, box, dtype, far)
        return cls(values, table, far, sizes, box)


AnyLattice: TypeAlias = Lattice | SparseLattice  # what has a surface, a box and vertices


def _far(reach: float, bounds: Tensor, sizes: tuple[int, int, int]) -> float:
    """A reach in world units, as redistancing has it."""
    spacing = (bounds[1] - bounds[0]) / (torch.tensor(sizes) - 1)
    far = reach * float(spacing.double().min())
    if not 0 < far < np.inf:
        raise ValueError(f"reach: need a finite number above 0, got {reach}")
    return far


def _check_table(table: Tensor, count: int) -> None:
    """Raise ValueError unless a table has each of `count` blocks once."""
    numbers = table.numpy().reshape(-1)
    kept = numbers[numbers >= 0]
    good = len(kept) == count and (numbers.size == 0 or numbers.min() >= INSIDE)
    if good and count:
        good = kept.max() < count and bool((np.bincount(kept, minlength=count) == 1).all())
    if not good:
        raise ValueError(
            f"table: need each block of {count} once, -1 or -2 for all others, got numbers from "
            f"{numbers.min()} to {numbers.max()}, {len(kept)} of them blocks"
        )


def _kind(x: object) -> object:
    return x.dtype if isinstance(x, Tensor) else type(x)
