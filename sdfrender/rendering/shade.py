"""The local, differentiable part: from event positions to coverage, hits, normals and colours.

The engine says *where* along each ray something happens; those distances carry no derivative. Here
each is re-attached to the lattice and the camera, so that autograd sees exactly the local terms:
8 samples of a cell for a hit or a coverage, 4×4×4 for a normal.

Notation: `x0 = o + t0·d` is the detached position of an event, `x(θ)` the same point moving with
the camera, `g` the derivative of φ inside the cell (constant under differentiation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender.engines.reference.events import Events
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.sampling import sample
from sdfrender.geometry.trilinear import gather_corners, vertex_gradients
from sdfrender.kernels.surface_point import MIN_CURVATURE, MIN_SLOPE


@dataclass(frozen=True, eq=False)
class Rays:
    """R rays of one lattice batch, differentiable in the camera.

    Args:
        o: `[R, 3]` world.
        d: `[R, 3]` unit.
        footprints: `[R]` size of a pixel per unit of t, seen along the ray.
        lattice_ids: `[R]` which lattice each ray meets.
    """

    o: Tensor
    d: Tensor
    footprints: Tensor
    lattice_ids: Tensor

    def __getitem__(self, ids: Tensor) -> Rays:
        return Rays(*[x.index_select(0, ids) for x in vars(self).values()])

    @property
    def differentiable(self) -> bool:
        """A camera parameter asks for a gradient."""
        return self.o.requires_grad or self.d.requires_grad or self.footprints.requires_grad


@dataclass(frozen=True, eq=False)
class Surface:
    """Surface points of E events, attached to the lattice and the camera.

    Args:
        t: `[E]` distance along the ray.
        points: `[E, 3]` world.
        normals: `[E, 3]` unit, outward, world.
        alphas: `[E]` coverage.
    """

    t: Tensor
    points: Tensor
    normals: Tensor
    alphas: Tensor


def surface(lattice: Lattice, rays: Rays, events: Events, reattach: str) -> Surface:
    """Attach events to the lattice: coverage, distance, position and normal of each.

    Args:
        lattice: one lattice or a batch.
        rays: the ray of each event, `[E]`.
        events: E events.
        reattach: `"implicit"` or `"one_step"`.
    """
    t = torch.where(torch.isfinite(events.t_hit), events.t_hit, events.t_min).to(rays.d)
    alphas = torch.ones_like(t)
    crossing = torch.isfinite(events.t_hit) & ~events.caps
    on_face = events.caps | (~crossing & events.at_face)
    cases: list[tuple[Tensor, Callable[[Rays, Tensor], Tensor]]] = [
        (crossing, lambda r, t0: attach_hit(lattice, r, t0, reattach)),
        (on_face, lambda r, t0: attach_face(lattice, r, t0)),
        (~crossing & ~on_face, lambda r, t0: attach_graze(lattice, r, t0)),
    ]
    for chosen, attach in cases:
        ids = chosen.nonzero()[:, 0]
        if len(ids):
            t = t.index_copy(0, ids, attach(rays[ids], t[ids]))
    partial = (~events.opaque).nonzero()[:, 0]
    if len(partial):
        t_min = events.t_min[partial].to(rays.d)
        alphas = alphas.index_copy(0, partial, coverage(lattice, rays[partial], t_min))

    points = rays.o + t[:, None] * rays.d
    field = vertex_gradients(lattice.values, lattice.spacing).reshape(-1, *lattice.resolution, 3)
    normals = safe_normalize(sample(field, lattice.to_index(points), rays.lattice_ids))
    if bool(events.caps.any()):
        axis = face_axis(lattice, points.detach(), rays.d.detach())
        outward = -torch.nn.functional.one_hot(axis, 3) * rays.d.detach().sign()
        normals = torch.where(events.caps[:, None], outward, normals)
    return Surface(t, points, normals, alphas)


def attach_hit(lattice: Lattice, rays: Rays, t0: Tensor, reattach: str) -> Tensor:
    """Distance of a crossing, differentiable in values and camera.

    `"implicit"`: `dt = −dφ / (∇φ·d)` (implicit function theorem), the slope kept at or below
    `−MIN_SLOPE·|∇φ|`. `"one_step"`: `t = t0 + φ` (SDFDiff §4: `p = s + f(s) v`), equal to it only
    for `|∇φ| = 1` and a ray along the normal.
    """
    phi = value_at(lattice, rays, t0)
    if reattach == "one_step":
        return t0 + phi
    with torch.no_grad():
        g = Cell.at(lattice, rays, t0).gradient()
    slope = (g * rays.d.detach()).sum(-1)
    length = g.norm(dim=-1)
    # where φ is constant there is no telling how the hit moves: it does not
    slope = torch.minimum(slope, -MIN_SLOPE * length).where(length > 0, -torch.inf)
    return t0 - (phi - phi.detach()) / slope


def attach_graze(lattice: Lattice, rays: Rays, t0: Tensor) -> Tensor:
    """Distance of a closest approach inside a cell, differentiable in values and camera.

    There `h = t (∇φ·d) − φ = 0` and `∂h/∂t = t φ''`, so `dt = −dh / (t φ'')`, with `φ''` kept
    above `MIN_CURVATURE / spacing`.
    """
    cell = Cell.at(lattice, rays, t0)
    h = t0 * (cell.gradient() * rays.d).sum(-1) - cell.value()
    least = MIN_CURVATURE / float(lattice.spacing.min())
    curvature = cell.second_derivative(rays.d.detach()).clamp(min=least)
    return t0 - (h - h.detach()) / (t0 * curvature)


def attach_face(lattice: Lattice, rays: Rays, t0: Tensor) -> Tensor:
    """Distance of a point that stays on a face between cells; differentiable in the camera."""
    return t0 - past_face(lattice, rays, t0)


def coverage(lattice: Lattice, rays: Rays, t0: Tensor) -> Tensor:
    """`alpha = clamp(½ − φ/(t·footprint), 0, 1)` at the closest approach `t0`.

    By the envelope theorem the motion of `t0` does not matter to first order, so the derivative in
    the values is that of φ at a fixed distance. In the camera it is `∇φ·dx` with a ∇φ for which
    `∇φ·d = φ/t`: true inside a cell, and on a face the choice among the two sides' gradients that
    makes the point's motion along the face come out right.
    """
    if rays.differentiable:
        cell = Cell.at(lattice, rays, t0)  # φ and ∇φ of the same cell
        phi = cell.value()
        excess = phi.detach() / t0 - (cell.gradient() * rays.d).sum(-1).detach()
        phi = phi + excess * past_face(lattice, rays, t0)
    else:
        phi = value_at(lattice, rays, t0)
    return (0.5 - phi / (t0 * rays.footprints)).clamp(0, 1)


def composite(
    events: Events, alphas: Tensor, colors: Tensor, num_rays: int
) -> tuple[Tensor, Tensor]:
    """Blend events front to back: `Σ T α c` with `T` the product of `1 − α` before.

    Args:
        events: sorted by slot.
        alphas: `[E]`.
        colors: `[E, C]`.
        num_rays: R.

    Returns:
        Premultiplied colours `[R, C]` and what remains transparent `[R]`.
    """
    total = colors.new_zeros(num_rays, colors.shape[1])
    clear = alphas.new_ones(num_rays)
    for slot in range(int(events.slots.max()) + 1 if len(events.slots) else 0):
        part = (events.slots == slot).nonzero()[:, 0]
        r, alpha = events.rays[part], alphas[part]
        through = clear[r]
        total = total.index_add(0, r, (through * alpha)[:, None] * colors[part])
        clear = clear.index_copy(0, r, through * (1 - alpha))
    return total, clear


def safe_normalize(x: Tensor) -> Tensor:
    """Unit vectors along the last axis; a zero vector stays zero, with zero gradient."""
    square = (x * x).sum(-1, keepdim=True)
    return torch.where(square > 0, x * square.clamp(min=torch.finfo(x.dtype).tiny).rsqrt(), 0.0)


def past_face(lattice: Lattice, rays: Rays, t0: Tensor) -> Tensor:
    """`[E]` how far past the nearest face between cells a moving camera carries a point.

    `(x(θ) − x0)·n / (d·n)` with n the face's normal: zero in value, differentiable in the camera.
    """
    x, d = rays.o + t0[:, None] * rays.d, rays.d.detach()
    axis = face_axis(lattice, x.detach(), d)[:, None]
    return ((x - x.detach()).gather(1, axis) / d.gather(1, axis))[:, 0]


def face_axis(lattice: Lattice, points: Tensor, d: Tensor) -> Tensor:
    """`[E]` normal axis of the face between cells that rays `d` cross nearest to `points`."""
    index = lattice.to_index(points)
    return (
        ((index - index.round()).abs() * lattice.spacing / d.abs()).nan_to_num(torch.inf).argmin(-1)
    )


def value_at(lattice: Lattice, rays: Rays, t: Tensor) -> Tensor:
    """`[E]` φ at distance `t` along each ray, differentiable in values and camera."""
    field = lattice.values.reshape(-1, *lattice.resolution, 1)
    index = lattice.to_index(rays.o + t[:, None] * rays.d)
    return sample(field, index, rays.lattice_ids)[:, 0]


@dataclass(frozen=True, eq=False)
class Cell:
    """The cell around each of E points and where the point is in it; all of it differentiable.

    Args:
        corners: `[E, 2, 2, 2]` values.
        f: `[E, 3]` position in the cell, 0 … 1.
        spacing: `[3]`.
    """

    corners: Tensor
    f: Tensor
    spacing: Tensor

    @classmethod
    def at(cls, lattice: Lattice, rays: Rays, t: Tensor) -> Cell:
        """The cell at distance `t` along each ray."""
        index = lattice.to_index(rays.o + t[:, None] * rays.d)
        field = lattice.values.reshape(-1, *lattice.resolution, 1)
        fixed = index.detach()
        corners, f = gather_corners(field, fixed, rays.lattice_ids)
        # a point on the box's face may be rounded to its outside, where clamping has no derivative
        return cls(corners.reshape(-1, 2, 2, 2), f + (index - fixed), lattice.spacing)

    def value(self) -> Tensor:
        """`[E]` φ."""
        x, y, z = self.f.unbind(-1)
        return _lerp(_lerp(_lerp(self.corners, x), y), z)

    def gradient(self) -> Tensor:
        """`[E, 3]` ∇φ inside the cell, world units."""
        c, (x, y, z) = self.corners, self.f.unbind(-1)
        dx = _lerp(_lerp(c[:, 1] - c[:, 0], y), z)
        dy = _lerp(_lerp(c[:, :, 1] - c[:, :, 0], x), z)
        dz = _lerp(_lerp(c[..., 1] - c[..., 0], x), y)
        return torch.stack((dx, dy, dz), -1) / self.spacing

    def second_derivative(self, d: Tensor) -> Tensor:
        """`[E]` second derivative of φ along `d` `[E, 3]`; not differentiable."""
        c, (x, y, z) = self.corners.detach(), self.f.detach().unbind(-1)
        u, v, w = (d / self.spacing).unbind(-1)
        cx, cy = c[:, 1] - c[:, 0], c[:, :, 1] - c[:, :, 0]
        xy = _lerp(cx[:, 1] - cx[:, 0], z)
        xz = _lerp(cx[..., 1] - cx[..., 0], y)
        yz = _lerp(cy[..., 1] - cy[..., 0], x)
        return 2 * (u * v * xy + u * w * xz + v * w * yz)


def _lerp(c: Tensor, f: Tensor) -> Tensor:
    """Blend the first axis after E of `c` `[E, 2, ...]` by `f` `[E]`."""
    f = f.reshape(-1, *[1] * (c.ndim - 2))
    return c[:, 0] + (c[:, 1] - c[:, 0]) * f
