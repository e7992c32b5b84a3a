"""The lattice of signed distance samples and its trilinear interpolation.

Notation, here and in the engines:
    `values[i, j, k]` is the sample at `bounds[0] + (i, j, k) * spacing`: vertex-centred, x first,
    negative inside, in world units. A batch of B lattices in one box is `[B, X, Y, Z]`.
    `φ` is the trilinear interpolant of `values`; `∇φ` its normal field, the trilinear blend of
    central differences at the vertices (support 4×4×4), which is continuous across cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdfrender.eager import eager
from sdfrender.equality import EqualByValue
from sdfrender.files.previews import strip
from sdfrender.geometry.grid import (
    UNIT_BOX,
    Resolution,
    box_as_kept,
    grid_points,
    samples_per_axis,
)
from sdfrender.geometry.preview import sides
from sdfrender.geometry.primitives import sphere
from sdfrender.geometry.redistance import redistanced
from sdfrender.geometry.trilinear import interpolate, vertex_gradients
from sdfrender.magnitude import needed, usable

if TYPE_CHECKING:
    import trimesh


@dataclass(frozen=True, eq=False)
class Lattice(EqualByValue):
    """Signed distances on a regular grid of vertices, interpolated trilinearly.

    Args:
        values: `[X, Y, Z]` or `[B, X, Y, Z]` floating point, world units, negative inside.
        bounds: `[2, 3]` world positions of the first and the last vertex. Sides may differ. They
            are kept in the dtype of `values`, but in float64 far from the origin, where float32
            does not hold them (`sdfrender.far`).

    Raises:
        TypeError: `values` is not a floating-point tensor.
        ValueError: wrong shape, fewer than 2 samples along an axis, an empty box, or numbers that
            are not finite or too large to be squared in float32.

    Example:
        >>> import torch, sdfrender as sr
        >>> float(sr.Lattice.sphere(0.5, resolution=65).sample(torch.zeros(3)))
        -0.5
    """

    values: Tensor
    bounds: Tensor

    @eager
    def __post_init__(self) -> None:
        if not isinstance(self.values, Tensor) or not self.values.is_floating_point():
            raise TypeError(f"values: need a floating-point torch.Tensor, got {type(self.values)}")
        if self.values.ndim not in (3, 4) or min(self.values.shape[-3:]) < 2:
            raise ValueError(
                "values: need [X, Y, Z] or [B, X, Y, Z] with at least 2 samples along each axis, "
                f"got {tuple(self.values.shape)}"
            )
        bounds = box_as_kept(self.bounds, self.values.dtype).to(self.values.device)
        if not usable(self.values):
            raise ValueError(f"values: need finite signed distances: {needed(self.values)}")
        object.__setattr__(self, "bounds", bounds)

    def _repr_html_(self) -> str:
        """In a notebook: the shape, the box, and the surface from three sides."""
        lower, upper = (", ".join(f"{x:.6g}" for x in corner) for corner in self.bounds.tolist())
        size = "×".join(map(str, self.values.shape[-3:]))
        title = f"{self.batch} × {size}" if self.values.ndim == 4 else size
        one = self.values.reshape(-1, *self.values.shape[-3:])[0]
        return strip(f"Lattice {title}, ({lower}) to ({upper})", sides(one, self.spacing))

    # ------------------------------------------------------------------ geometry of the grid

    @property
    def resolution(self) -> tuple[int, int, int]:
        """Samples along x, y and z."""
        X, Y, Z = self.values.shape[-3:]
        return X, Y, Z

    @property
    def batch(self) -> int:
        """Number of lattices; 1 when `values` has no batch dimension."""
        return self.values.shape[0] if self.values.ndim == 4 else 1

    @property
    def batched(self) -> bool:
        """Whether `values` has a batch dimension."""
        return self.values.ndim == 4

    @cached_property
    def spacing(self) -> Tensor:
        """`[3]` distance between neighbouring vertices along each axis, world units."""
        cells = torch.tensor(self.resolution, device=self.bounds.device) - 1
        return (self.bounds[1] - self.bounds[0]) / cells

    @cached_property
    def vertices(self) -> Tensor:
        """`[X, Y, Z, 3]` world positions of the samples."""
        return grid_points(self.resolution, self.bounds)

    def with_values(self, values: Tensor) -> Lattice:
        """The same box with other values, `[X, Y, Z]` or `[B, X, Y, Z]` of any resolution."""
        return Lattice(values, self.bounds)

    def to(self, target: torch.device | torch.dtype | str) -> Lattice:
        """Move to a device, or convert to a dtype."""
        values = self.values.to(target)
        return Lattice(values, self.bounds.to(values.device))

    # ------------------------------------------------------------------ interpolation

    def sample(self, points: Tensor) -> Tensor:
        """Trilinear φ at `points`; differentiable in `values` and `points`.

        Points outside the box take the value of the nearest point of the box.

        Args:
            points: `[..., 3]` world units. With B lattices `[B, ..., 3]`.

        Returns:
            `[...]` signed distances (`[B, ...]` for a batch).
        """
        return self._interpolate(self.values.unsqueeze(-1), points).squeeze(-1)

    def gradient(self, points: Tensor) -> Tensor:
        """The normal field ∇φ at `points`: blended central differences, not normalised.

        Differentiable in `values` and `points`. One-sided differences at the faces of the box.
        This is the field that shading uses (SDFDiff §4), not the derivative of `sample`, which
        jumps from cell to cell.

        Args:
            points: `[..., 3]` world units. With B lattices `[B, ..., 3]`.

        Returns:
            `[..., 3]`.
        """
        return self._interpolate(vertex_gradients(self.values, self.spacing), points)

    def _interpolate(self, field: Tensor, points: Tensor) -> Tensor:
        """Interpolate `field` `[(B,) X, Y, Z, C]` at `points`; returns `[..., C]`."""
        batched = self.values.ndim == 4
        if points.shape[-1] != 3 or (batched and points.shape[0] != self.batch):
            need = f"[{self.batch}, ..., 3]" if batched else "[..., 3]"
            raise ValueError(f"points: need {need}, got {tuple(points.shape)}")
        lead = points.shape[:-1]
        lattice_ids = None
        if batched:
            lattice_ids = torch.arange(self.batch, device=points.device)
            lattice_ids = lattice_ids.repeat_interleave(points[0].numel() // 3)
        flat = interpolate(field, self.to_index(points.reshape(-1, 3)), lattice_ids)
        return flat.reshape(*lead, field.shape[-1])

    def to_index(self, points: Tensor) -> Tensor:
        """World points `[..., 3]` to fractional vertex indices (0 … resolution − 1)."""
        return (points - self.bounds[0]) / self.spacing

    # ------------------------------------------------------------------ new lattices from this one

    def resample(self, resolution: Resolution) -> Lattice:
        """The same function sampled at another resolution, by trilinear interpolation.

        Differentiable in `values`. A constant or linear field is reproduced exactly. At the
        resolution that it has, a lattice is returned as it is.
        """
        X, Y, Z = samples_per_axis(resolution, self.bounds)
        if self.resolution == (X, Y, Z):
            return self
        values = self.values if self.values.ndim == 4 else self.values[None]
        values = torch.nn.functional.interpolate(
            values[:, None], size=(X, Y, Z), mode="trilinear", align_corners=True
        )[:, 0]
        return self.with_values(values if self.values.ndim == 4 else values[0])

    @eager
    def redistance(
        self, frozen_band: float = 1.2, reach: float = math.inf, reuse: bool = False
    ) -> Lattice:
        """Make `|∇φ| = 1` away from the surface, and leave the surface exactly where it is.

        All 8 corners of each cell that holds surface keep their values bit for bit, so the zero
        set of the trilinear interpolant does not move at all. Vertices within `frozen_band`
        spacings of the surface keep theirs too, which leaves the normals at the surface as they
        are. All other vertices become distances by Godunov's upwind scheme, swept from the ones
        that were kept (Zhao 2005, *A fast sweeping method for Eikonal equations*), first order in
        the spacing. Signs never change; -0.0 and 0.0 count as outside.

        Not differentiable: the result is detached.

        Args:
            frozen_band: in units of the smallest spacing. A vertex is kept when `|φ|` is below it
                and the surface is no more than that many vertices away; the second condition stops
                a field that is flat, or dips towards zero far from the surface, from being kept
                everywhere. 0 keeps the cells that hold surface and nothing else.
            reach: in units of the smallest spacing. Distances end there: what is farther from the
                surface gets ± that distance, which saves most of the work.
            reuse: nobody needs this lattice any more: the result may be written over its values,
                which saves memory.

        Returns:
            A lattice of the same box, resolution, type and device. A lattice without any surface
            is returned unchanged.

        Raises:
            ValueError: `frozen_band` is negative or not finite, or `reach` is not above it.

        Worked value: a sphere's field times 10 comes back, outside the cells that hold surface,
        with slope 1 instead of 10.
        """
        return self.with_values(redistanced(self.values, self.spacing, frozen_band, reach, reuse))

    # ------------------------------------------------------------------ constructors

    @classmethod
    def from_function(
        cls,
        function: Callable[[Tensor], Tensor],
        resolution: Resolution = 64,
        bounds: Tensor | Sequence[Sequence[float]] = UNIT_BOX,
        dtype: torch.dtype = torch.float32,
    ) -> Lattice:
        """Sample `function`, which maps points `[..., 3]` to signed distances `[...]`.

        `sdfrender.primitives` has functions to combine:
        `Lattice.from_function(union(sphere(0.4), torus(0.6, 0.1)), 96)`.
        """
        box = box_as_kept(bounds, dtype)
        return cls(function(grid_points(samples_per_axis(resolution, box), box)).to(dtype), box)

    @classmethod
    def sphere(
        cls,
        radius: float = 0.5,
        center: Sequence[float] = (0.0, 0.0, 0.0),
        resolution: Resolution = 64,
        bounds: Tensor | Sequence[Sequence[float]] = UNIT_BOX,
        dtype: torch.dtype = torch.float32,
    ) -> Lattice:
        """An exact distance field of a sphere.

        Args:
            radius: world units, as are the next.
            center: `[3]`.
            resolution: samples along the longest side, or along each axis.
            bounds: `[2, 3]` box.
            dtype: of the values.
        """
        return cls.from_function(sphere(radius, center), resolution, bounds, dtype)

    @classmethod
    def from_mesh(
        cls,
        mesh: trimesh.Trimesh | str | PathLike[str],
        resolution: Resolution = 64,
        bounds: Tensor | Sequence[Sequence[float]] | None = None,
        padding: float = 0.1,
    ) -> Lattice:
        """Exact distances to a triangle mesh, signed by its generalised winding number.

        The sign is robust: holes, duplicate faces and self-intersections give a sensible inside,
        and a mesh turned inside out is turned back.

        Args:
            mesh: a mesh, or a file that `sdfrender.load_mesh` reads.
            resolution: samples along the longest side, or along each axis.
            bounds: `[2, 3]` world box. Default: the mesh's box grown by `padding`.
            padding: margin on every side as a fraction of the longest side of the mesh.

        Raises:
            InputError: no such file, a mesh without triangles or with vertices that are not
                finite.
            ValueError: a box or resolution that a lattice cannot have.

        Source: inside is where `|w| > ½` (Jacobson et al. 2013; fast evaluation of Barill et al.
        2018).
        """
        # Only here: the libraries for meshes load slowly, and no image needs them.
        from sdfrender.geometry.mesh_distance import distances_on_grid
        from sdfrender.geometry.mesh_files import load_mesh

        loaded = load_mesh(mesh) if isinstance(mesh, str | PathLike) else mesh
        return cls(*distances_on_grid(loaded, resolution, bounds, padding))
