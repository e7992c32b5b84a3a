"""Random deformations of lattices: new members of a category out of the few there are.

A warp maps points `q` of the new shape to points `p` of the old one, so that `φ'(q) = φ(p(q))`:
along each axis a monotone change of scale, a cross-section that changes with height, wings swept
back and up, mirroring. The result is moved and scaled as the dataset's objects are: centred, the
longest side of its box as long as before. Upper and lower halves of two shapes may be joined.

Nothing here knows where a lattice came from: from the images of an object, or from its 3D model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from sdfrender.geometry.grid import grid_points
from sdfrender.geometry.trilinear import vertex_gradients
from singleview.augment.symmetry import X, Z
from singleview.data.objects import LONGEST_SIDE


@dataclass(frozen=True)
class WarpSettings:
    """How far a warp may go; each number is the end of a range around zero."""

    scale: float = 0.25
    """Of the logarithm of the scale of each axis."""
    local_scale: float = 0.25
    """Of the logarithm of the scale at each of `knots` places along an axis."""
    knots: int = 5
    taper: float = 0.12
    """Of the logarithm of the cross-section's scale at each of `knots` heights."""
    sweep: float = 0.15
    """Slope of z and y over |x|, where left and right lie along x."""
    thickness: float = 0.012
    """World units added to the shape all around."""
    join: float = 0.25
    """Probability of joining two shapes of a category."""


@dataclass(frozen=True, eq=False)
class Warp:
    """One warp, as what it does from the new shape to the old one and back.

    Args:
        axes: `[3, knots + 1]` old coordinate at even places of the new one in [-1, 1], rising.
        taper: `[knots]` logarithm of the cross-section's scale at even heights in [-1, 1].
        sweep: `[2]` slopes of y and z over |x|.
        mirror: swap left and right.
        thickness: world units added all around.
        side: axis along which left and right lie, 0 (x) or 2 (z): they change places with it,
            here and there.
    """

    axes: Tensor
    taper: Tensor
    sweep: Tensor
    mirror: bool
    thickness: float
    side: int = X

    def to_old(self, q: Tensor) -> Tensor:
        """Points `[..., 3]` of the new shape to `[..., 3]` of the old one, canonical frame."""
        x, y, z = self._sides_first(q).unbind(-1)
        wide = self._taper(y)
        x, z = x * wide, z * wide
        y, z = y + self.sweep[0] * x.abs(), z + self.sweep[1] * x.abs()
        even = torch.linspace(-1, 1, self.axes.shape[1])
        x, y, z = (piecewise(even, a, v) for a, v in zip(self.axes, (x, y, z), strict=True))
        return self._sides_first(torch.stack((-x if self.mirror else x, y, z), -1))

    def to_new(self, p: Tensor) -> Tensor:
        """The inverse of `to_old`: points `[..., 3]` of the old shape to `[..., 3]`."""
        x, y, z = self._sides_first(p).unbind(-1)
        even = torch.linspace(-1, 1, self.axes.shape[1])
        old = (-x if self.mirror else x, y, z)
        x, y, z = (piecewise(a, even, v) for a, v in zip(self.axes, old, strict=True))
        y, z = y - self.sweep[0] * x.abs(), z - self.sweep[1] * x.abs()
        wide = self._taper(y)
        return self._sides_first(torch.stack((x / wide, y, z / wide), -1))

    def _sides_first(self, points: Tensor) -> Tensor:
        """Points with the axis of left and right in the place of x, or back again."""
        return points if self.side == X else points[..., [Z, 1, X]]

    def _taper(self, y: Tensor) -> Tensor:
        heights = torch.linspace(-1, 1, len(self.taper))
        wide: Tensor = piecewise(heights, self.taper, y.clamp(-1, 1)).exp()
        return wide


def random_warp(settings: WarpSettings, generator: torch.Generator, side: int = X) -> Warp:
    """Draw a warp of things whose left and right lie along the axis `side`."""

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(*shape, generator=generator) - 1

    log_slopes = settings.scale * uniform(3, 1) + settings.local_scale * uniform(3, settings.knots)
    if float(uniform(1)) < 0.4:  # most things have a left like their right
        log_slopes[0] = (log_slopes[0] + log_slopes[0].flip(0)) / 2
    steps = log_slopes.exp() * (2 / settings.knots)
    axes = torch.cat((torch.zeros(3, 1), steps.cumsum(1)), 1)
    return Warp(
        axes=axes - axes[:, -1:] / 2,
        taper=settings.taper * uniform(settings.knots),
        sweep=settings.sweep * uniform(2) * float(uniform(1) > 0),
        mirror=float(uniform(1)) > 0,
        thickness=settings.thickness * float(uniform(1)),
        side=side,
    )


def warp_points(warp: Warp, rim: Tensor, points: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    """Points and parts deformed, then moved and scaled as objects are, by points of its rim.

    All `[…, 3]`, canonical frame.
    """
    rim = warp.to_new(rim)
    low, high = rim.amin(0), rim.amax(0)
    scale = LONGEST_SIDE / float((high - low).max())
    a, b = ((warp.to_new(x) - (low + high) / 2) * scale for x in (points, parts))
    return a, b


def warp_lattice(values: Tensor, warp: Warp, side: float, resolution: int) -> Tensor:
    """Deform a lattice over [-1, 1]³, then centre it and scale it to the longest side `side`.

    Args:
        values: `[R, R, R]` signed distances of a shape.
        warp: how.
        side: longest side of the result's box, world units.
        resolution: of the result.

    Returns:
        `[resolution]³` distances to first order.
    """
    unit = torch.tensor([[-1.0] * 3, [1.0] * 3])
    surface = warp.to_new(surface_points(values))
    low, high = surface.amin(0), surface.amax(0)
    scale = float((high - low).max()) / (side - 2 * warp.thickness)
    q = grid_points((resolution,) * 3, unit) * scale + (low + high) / 2
    warped = sample(values, warp.to_old(q)) / scale
    spacing = torch.full((3,), 2 / (resolution - 1))
    slope = vertex_gradients(warped, spacing).norm(dim=-1)
    distances: Tensor = warped / slope.clamp(0.7, 1.5) - warp.thickness
    return distances


def surface_points(values: Tensor) -> Tensor:
    """`[P, 3]` where edges of the lattice over [-1, 1]³ cross the surface; at least one."""
    R = values.shape[0]
    points = grid_points((R,) * 3, torch.tensor([[-1.0] * 3, [1.0] * 3]))
    found = []
    for axis in range(3):
        a, b = values.narrow(axis, 0, R - 1), values.narrow(axis, 1, R - 1)
        crossing = (a < 0) != (b < 0)
        t = (a / (a - b))[crossing]
        p = points.narrow(axis, 0, R - 1)[crossing]
        p[:, axis] += t * (2 / (R - 1))
        found.append(p)
    surface = torch.cat(found)
    return surface if len(surface) else torch.zeros(1, 3)


def join_lattices(lower: Tensor, upper: Tensor, height: float, width: float = 0.15) -> Tensor:
    """`lower` below `height` and `upper` above, blended over `width`; a `[R, R, R]` lattice.

    Args:
        lower: `[R, R, R]` distances over [-1, 1]³, canonical units.
        upper: the same.
        height: y of the seam, canonical units.
        width: of the seam, canonical units.
    """
    y = torch.linspace(-1, 1, lower.shape[1])[:, None]
    w = torch.sigmoid((y - height) * (4 / width))
    return (1 - w) * lower + w * upper


def sample(values: Tensor, points: Tensor) -> Tensor:
    """Lattice `[R, R, R]` over [-1, 1]³ at `points` `[..., 3]`; beyond the box, away from it."""
    inside = points.clamp(-1, 1)
    grid = inside.flip(-1).reshape(1, -1, 1, 1, 3)
    found = grid_sample(values[None, None], grid, align_corners=True).reshape(points.shape[:-1])
    return found + (points - inside).abs().sum(-1)


def piecewise(xs: Tensor, ys: Tensor, v: Tensor) -> Tensor:
    """`[...]` the line through `(xs, ys)` `[n]`, xs rising, at `v` `[...]`; straight beyond."""
    i = torch.searchsorted(xs, v.detach().contiguous()).clamp(1, len(xs) - 1) - 1
    slopes = (ys[1:] - ys[:-1]) / (xs[1:] - xs[:-1])
    line: Tensor = ys[i] + (v - xs[i]) * slopes[i]
    return line
