"""Coverage: how much of its pixel an event covers."""

from __future__ import annotations

from torch import Tensor

from sdfrender.engines.reference.events import Events
from sdfrender.geometry.lattice import Lattice
from sdfrender.rendering.ray_cells import Cell, past_face, value_at
from sdfrender.rendering.rays import Rays


def coverages(lattice: Lattice, rays: Rays, events: Events) -> Tensor:
    """`[E]` coverage in [0, 1] of events on rays `[E]`: 1 where they are opaque whatever moves."""
    alphas = rays.d.new_ones(len(rays.d))
    partial = (~events.opaque).nonzero()[:, 0]
    if len(partial):
        t_min = events.t_min[partial].to(rays.d)
        alphas = alphas.index_copy(0, partial, coverage(lattice, rays[partial], t_min))
    return alphas


def coverage(lattice: Lattice, rays: Rays, t0: Tensor) -> Tensor:
    """`alpha = clamp(½ − φ/(t·footprint), 0, 1)` at the closest approach `t0`.

    By the envelope theorem the motion of `t0` does not matter to first order, so the derivative in
    the values is that of φ at a fixed distance. In the camera it is `∇φ·dx` with a ∇φ for which
    `∇φ·d = φ/t`: true inside a cell, and on a face the choice among the two sides' gradients that
    makes the point's motion along the face come out right.

    Args:
        lattice: one lattice or a batch.
        rays: `[E]`.
        t0: `[E]` world units.

    Returns:
        `[E]`.
    """
    if rays.differentiable:
        cell = Cell.at(lattice, rays, t0)  # φ and ∇φ of the same cell
        phi = cell.value()
        excess = phi.detach() / t0 - (cell.gradient() * rays.d).sum(-1).detach()
        phi = phi + excess * past_face(lattice, rays, t0)
    else:
        phi = value_at(lattice, rays, t0)
    return (0.5 - phi / (t0 * rays.footprints)).clamp(0, 1)
