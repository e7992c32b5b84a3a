"""What a surface shows beyond its colour and light: fine colours, and what depends on the view.

Highlights, and shadows that move with the camera, are no albedo times light. They are added to it,
as a function of place x and of the direction v to the eye: `f(x, v) = Σ_l Σ_n w_n(x) Σ_k c_lnk
Y_k(v)`. Each layer l is a lattice over the box of the shape, with trilinear weights w_n and
coefficients of real spherical harmonics Y_k of some degrees at its vertices next to the surface. A
fine layer of degree 0 has colours that the shape's own lattice is too coarse for, a coarse one has
the other degrees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdfrender.files.tensors import need_tensor
from sdfrender.geometry.sparse.lattice import AnyLattice
from sdfrender.geometry.trilinear import corner_offsets
from sdfrender.kernels.arrays import Ints, Singles
from sdfrender.kernels.threads import run_all, slabs
from sdfrender.looks.view_sums import add_values
from sdfrender.rendering.render import Rendering
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import sh_basis

Shape = tuple[int, int, int]
Degrees = tuple[int, int]

MOST_DEGREE = 3  # of harmonics
MOST_VERTICES = 2**31  # of a lattice that int32 can number
MOST_TIMES = 8  # vertices of a lattice of colours for each of the shape's: twice as fine


def harmonics(directions: Tensor, degrees: Degrees) -> Tensor:
    """Real spherical harmonics of some degrees, of unit vectors `[P, 3]`: `[P, K]`.

    Their mean square over all directions is 1, and that of degree 0 is 1 everywhere. Worked value:
    degrees 0 to 2 are 9 functions, in the order of `sdfrender.view.lighting.sh_basis`; 7 more are
    of degree 3, the highest.
    """
    first, last = degrees
    basis = math.sqrt(4 * math.pi) * sh_basis(directions)
    if last == 3:
        basis = torch.cat((basis, _cubic(directions)), -1)
    return basis[:, first**2 : (last + 1) ** 2].contiguous()


def _cubic(directions: Tensor) -> Tensor:
    """`[P, 7]` those of degree 3: yx², xyz, yz², z³, xz², zx², xy² and what makes them harmonic."""
    x, y, z = directions.unbind(-1)
    a, b, c, d = (math.sqrt(k) for k in (35 / 8, 105, 21 / 8, 7 / 4))
    polynomials = [
        a * y * (3 * x * x - y * y),
        b * x * y * z,
        c * y * (5 * z * z - 1),
        d * z * (5 * z * z - 3),
        c * x * (5 * z * z - 1),
        b / 2 * z * (x * x - y * y),
        a * x * (x * x - 3 * y * y),
    ]
    return torch.stack(polynomials, -1)


class Places(NamedTuple):
    """Where P points are in a lattice, and from where they are seen.

    Args:
        cells: `[P]` the flat number of the first vertex of each one's cell.
        f: `[P, 3]` where in the cell, 0 to 1.
        basis: `[P, K]` harmonics of the direction to the eye.
    """

    cells: Ints
    f: Singles
    basis: Singles

    @classmethod
    def of(
        cls, points: Tensor, to_eye: Tensor, bounds: Tensor, shape: Shape, degrees: Degrees
    ) -> Places:
        """Those of points `[P, 3]` in a box `[2, 3]` seen from `to_eye` `[P, 3]`, unit vectors."""
        X, Y, Z = shape
        last = torch.tensor((X - 1, Y - 1, Z - 1))
        index = (points - bounds[0]) / (bounds[1] - bounds[0]) * last
        cell = torch.minimum(index.floor().clamp(min=0), last - 1.0)
        first = (cell.int() * torch.tensor((Y * Z, Z, 1), dtype=torch.int32)).sum(-1)
        f = (index - cell).clamp(0, 1).float().contiguous()
        return cls(first.numpy(), f.numpy(), harmonics(to_eye.float(), degrees).numpy())

    def some(self, p: slice) -> Places:
        """Those of some of the points."""
        return Places(self.cells[p], self.f[p], self.basis[p])


@dataclass(frozen=True, eq=False)
class Layer:
    """A lattice of coefficients over the box of a shape, at the vertices next to its surface.

    Args:
        shape: samples of the lattice along each axis.
        degrees: of its harmonics: the first and the last.
        ids: `[M]` int32, flat numbers of the vertices that have coefficients, ascending.
        values: `[M, K, C]`, one for each harmonic and channel.
    """

    shape: Shape
    degrees: Degrees
    ids: Tensor
    values: Tensor

    def __post_init__(self) -> None:
        (first, last), count = self.degrees, math.prod(self.shape)
        if min(self.shape) < 2 or count >= MOST_VERTICES:
            raise ValueError(f"shape: need from 2 samples to 2^31 in all, got {self.shape}")
        if not 0 <= first <= last <= MOST_DEGREE:
            raise ValueError(f"degrees: need two from 0 to {MOST_DEGREE}, got {self.degrees}")
        K = (last + 1) ** 2 - first**2
        if self.values.ndim != 3 or self.values.shape[:2] != (len(self.ids), K):
            need = (len(self.ids), K, "C")
            raise ValueError(f"values: need {need}, got {tuple(self.values.shape)}")
        if len(self.ids) and not 0 <= int(self.ids.min()) <= int(self.ids.max()) < count:
            raise ValueError(f"ids: need numbers of {count} vertices")

    @cached_property
    def row_of(self) -> Ints:
        """`[X Y Z]` the row of each vertex, −1 where it has none."""
        return numbered(self.ids, self.shape)

    def at(self, places: Places) -> Tensor:
        """`[P, C]`; 0 where no vertex of a cell has coefficients."""
        out = np.zeros((len(places.cells), self.values.shape[-1]), np.float32)
        values = self.values.contiguous().numpy()
        add_on_threads(places, self.row_of, offsets_in(self.shape), values, out)
        return torch.from_numpy(out)


def add_on_threads(
    places: Places, row_of: Ints, offsets: Ints, values: Singles, out: Singles
) -> None:
    """What `add_values` does, on several threads."""

    def part(p: slice) -> None:
        add_values(*places.some(p), row_of, offsets, values, out[p])

    threads = torch.get_num_threads()
    run_all(part, slabs(max(len(out), 1), threads), threads)


def numbered(ids: Tensor, shape: Shape) -> Ints:
    """`[X Y Z]` where in a list of flat numbers each vertex is, −1 where it is not."""
    row_of = np.full(math.prod(shape), -1, np.int32)
    row_of[ids.numpy()] = np.arange(len(ids), dtype=np.int32)
    return row_of


def offsets_in(shape: Shape) -> Ints:
    """`[8]` steps to a cell's corners."""
    offsets: Ints = corner_offsets(shape[1], shape[2], torch.device("cpu")).numpy()
    return offsets


@dataclass(frozen=True, eq=False)
class ViewDependence:
    """The sum of some layers.

    Args:
        layers: over the same box, that of the shape.
    """

    layers: tuple[Layer, ...]

    def at(self, points: Tensor, to_eye: Tensor, bounds: Tensor) -> Tensor:
        """What is added to the colour of points. Not differentiable.

        Args:
            points: `[P, 3]` on the surface, world units.
            to_eye: `[P, 3]` unit vectors from them to the eye, world frame.
            bounds: `[2, 3]` the box of the shape.

        Returns:
            `[P, C]`, of full scale.
        """
        parts = []
        for layer in self.layers:
            places = Places.of(points, to_eye, bounds, layer.shape, layer.degrees)
            parts.append(layer.at(places))
        return torch.stack(parts).sum(0)

    def image(self, out: Rendering, cameras: Cameras, lattice: AnyLattice) -> Tensor:
        """What is added to the images of a rendering, before the lens: `[n, H, W, C]`.

        Args:
            out: a rendering of the lattice.
            cameras: its n views.
            lattice: the shape.
        """
        added = torch.zeros(*out.hit_mask.shape, self.layers[0].values.shape[-1])
        for view, hit in enumerate(out.hit_mask):
            seen = cameras[[view]]
            points = seen.unproject(out.depths[[view]].detach(), hit[None])
            colors = self.at(points, to_eye(points, seen.centers), lattice.bounds)
            added[view][hit] = colors * out.silhouettes[view][hit][:, None].detach()
        return added

    def seen(self, out: Rendering, cameras: Cameras, lattice: AnyLattice) -> Rendering:
        """A rendering of the lattice with its images as they are with it; see `image`."""
        return replace(out, images=out.images + self.image(out, cameras, lattice))

    def packed(self) -> dict[str, Tensor]:
        """Tensors that `unpacked` reads."""
        tensors = {}
        for n, layer in enumerate(self.layers):
            tensors[f"view.{n}.shape"] = torch.tensor(layer.shape)
            tensors[f"view.{n}.degrees"] = torch.tensor(layer.degrees)
            tensors[f"view.{n}.ids"] = layer.ids
            tensors[f"view.{n}.values"] = layer.values.half()
        return tensors

    @classmethod
    def unpacked(cls, tensors: Mapping[str, Tensor], vertices: int) -> ViewDependence | None:
        """What `packed` was made of; None if there was nothing.

        Args:
            tensors: of a file.
            vertices: of the shape's lattice.

        Raises:
            ValueError: tensors that are not those of layers over such a shape.
        """
        layers: list[Layer] = []
        while (name := f"view.{len(layers)}") + ".ids" in tensors:
            X, Y, Z = need_tensor(tensors, f"{name}.shape", (3,), whole=True).tolist()
            first, last = need_tensor(tensors, f"{name}.degrees", (2,), whole=True).tolist()
            need_few((X, Y, Z), vertices)
            values = need_tensor(tensors, f"{name}.values", ("M", "K", "C"), (0, "K", "C"))
            ids = need_tensor(tensors, f"{name}.ids", (len(values),), whole=True).int()
            if layers and values.shape[2] != layers[0].values.shape[2]:
                raise ValueError(f"'{name}.values' with another number of channels")
            layers.append(Layer((X, Y, Z), (first, last), ids, values.float()))
        return cls(tuple(layers)) if layers else None


def need_few(shape: Sequence[int], vertices: int) -> None:
    """Check that a lattice of colours is not much finer than the shape's, before memory is taken.

    Args:
        shape: samples of it along each axis.
        vertices: of the shape's lattice.

    Raises:
        ValueError: it is more than about twice as fine.
    """
    if min(shape) < 1 or math.prod(shape) > MOST_TIMES * vertices:
        size = "×".join(map(str, shape))
        raise ValueError(f"a lattice of {size} colours over one of {vertices} distances")


def to_eye(points: Tensor, centers: Tensor) -> Tensor:
    """Unit vectors `[P, 3]` from points `[P, 3]` to the camera that sees each, `[P or 1, 3]`."""
    return torch.nn.functional.normalize(centers - points, dim=-1)
