"""Re-attachment: the distance of an event, moving with the lattice and the camera.

An engine says *where* along each ray something happens; those distances carry no derivative. Here
each is attached again, so that autograd sees exactly the local terms, 8 samples of a cell.

Notation: `x0 = o + t0·d` is the detached position of an event, `x(θ)` the same point moving with
the camera, `g` the derivative of φ inside the cell (constant under differentiation).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sdfrender.engines.reference.events import Events
from sdfrender.geometry.lattice import Lattice
from sdfrender.kernels.reattach import MIN_CURVATURE, MIN_SLOPE
from sdfrender.rendering.ray_cells import Cell, past_face, value_at
from sdfrender.rendering.rays import Rays


def reattach(lattice: Lattice, rays: Rays, events: Events, method: str) -> Tensor:
    """`[E]` distances of events along their rays, world units; of a dip, its closest approach.

    Args:
        lattice: one lattice or a batch.
        rays: the ray of each event, `[E]`.
        events: E events.
        method: `"implicit"` or `"one_step"`, of crossings.
    """
    t = torch.where(torch.isfinite(events.t_hit), events.t_hit, events.t_min).to(rays.d)
    crossing = torch.isfinite(events.t_hit) & ~events.caps
    on_face = events.caps | (~crossing & events.at_face)
    cases: list[tuple[Tensor, Callable[[Rays, Tensor], Tensor]]] = [
        (crossing, lambda r, t0: attach_hit(lattice, r, t0, method)),
        (on_face, lambda r, t0: attach_face(lattice, r, t0)),
        (~crossing & ~on_face, lambda r, t0: attach_graze(lattice, r, t0)),
    ]
    for chosen, attach in cases:
        ids = chosen.nonzero()[:, 0]
        if len(ids):
            t = t.index_copy(0, ids, attach(rays[ids], t[ids]))
    return t


def attach_hit(lattice: Lattice, rays: Rays, t0: Tensor, method: str) -> Tensor:
    """Distance of a crossing, `[E]` world units, differentiable in values and camera.

    `"implicit"`: `dt = −dφ / (∇φ·d)` (implicit function theorem), the slope kept at or below
    `−MIN_SLOPE·|∇φ|`. `"one_step"`: `t = t0 + φ` (SDFDiff §4: `p = s + f(s) v`), equal to it only
    for `|∇φ| = 1` and a ray along the normal.
    """
    phi = value_at(lattice, rays, t0)
    if method == "one_step":
        return t0 + phi
    with torch.no_grad():
        g = Cell.at(lattice, rays, t0).gradient()
    slope = (g * rays.d.detach()).sum(-1)
    length = g.norm(dim=-1)
    # where φ is constant there is no telling how the hit moves: it does not
    slope = torch.minimum(slope, -MIN_SLOPE * length).where(length > 0, -torch.inf)
    return t0 - (phi - phi.detach()) / slope


def attach_graze(lattice: Lattice, rays: Rays, t0: Tensor) -> Tensor:
    """Distance of a closest approach inside a cell, `[E]`; differentiable in values and camera.

    There `h = t (∇φ·d) − φ = 0` and `∂h/∂t = t φ''`, so `dt = −dh / (t φ'')`, with `φ''` kept
    above `MIN_CURVATURE / spacing`.
    """
    cell = Cell.at(lattice, rays, t0)
    h = t0 * (cell.gradient() * rays.d).sum(-1) - cell.value()
    least = MIN_CURVATURE / float(lattice.spacing.min())
    curvature = cell.second_derivative(rays.d.detach()).clamp(min=least)
    return t0 - (h - h.detach()) / (t0 * curvature)


def attach_face(lattice: Lattice, rays: Rays, t0: Tensor) -> Tensor:
    """Distance `[E]` of a point that stays on a face of a cell; differentiable in the camera."""
    return t0 - past_face(lattice, rays, t0)
