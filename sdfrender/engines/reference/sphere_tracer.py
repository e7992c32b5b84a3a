"""The paper's tracer: step along the ray by φ itself until it is small (SDFDiff §4).

It needs a distance field: where |∇φ| > 1 it can step over a thin part, where |∇φ| < 1 it is slow.
The reference engine's exact roots have neither fault; this one is here for comparison.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdfrender.engines.reference.events import Events, opaque_events
from sdfrender.engines.reference.traversal import box_interval
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.sampling import sample_where, to_where

MAX_STEPS = 256  # of a ray; one that has not hit by then misses
HIT_DISTANCE = 1e-3  # in units of the smallest spacing
STEPS_AT_ONCE = 4  # between one removal of the rays that have ended and the next
RAYS_AT_ONCE = 1 << 19  # bounds the memory of a call, not its result


def trace(lattice: Lattice, rays_o: Tensor, rays_d: Tensor) -> Events:
    """Opaque events where sphere tracing stops: at `φ < HIT_DISTANCE · spacing`.

    Args:
        lattice: B lattices in one box.
        rays_o: `[B, R, 3]` world.
        rays_d: `[B, R, 3]` unit.

    Returns:
        Events with rays numbered `b·R + r`. Not differentiable.
    """
    B, R, _ = rays_o.shape
    fields = lattice.values.detach().reshape(B, *lattice.resolution, 1)
    index_o = lattice.to_index(rays_o.detach().to(fields))
    index_d = rays_d.detach().to(fields) / lattice.spacing
    last = torch.tensor(lattice.resolution).to(fields) - 1
    close = HIT_DISTANCE * float(lattice.spacing.min())
    hit = fields.new_full((B, R), torch.inf)
    for b, field in enumerate(fields):
        t_in, t_out = box_interval(index_o[b].T, index_d[b].T, last)
        for rays in torch.split((t_out > t_in).nonzero()[:, 0], RAYS_AT_ONCE):
            o = to_where(index_o[b].index_select(0, rays), lattice.resolution)
            d = to_where(index_d[b].index_select(0, rays), lattice.resolution, origin=0)
            hit[b, rays] = march(field, o, d, t_in[rays], t_out[rays], close)
    return opaque_events(hit.flatten())


def march(field: Tensor, o: Tensor, d: Tensor, t: Tensor, t_out: Tensor, close: float) -> Tensor:
    """Where each of R rays through one lattice stops at its surface.

    Args:
        field: `[X, Y, Z, 1]`.
        o: `[R, 3]` origins, as `sample_where` wants them.
        d: `[R, 3]` what a unit of t adds to them.
        t: `[R]` where the rays enter the box.
        t_out: `[R]` where they leave it.
        close: a value below this is a hit.

    Returns:
        `[R]` distances, infinity on a miss.
    """
    hit = torch.full_like(t, torch.inf)
    rays = torch.arange(len(t), device=t.device)
    for _ in range(MAX_STEPS // STEPS_AT_ONCE):
        t, near = advance(field, o, d, t, close)
        inside = t < t_out
        arrived = (near & inside).nonzero()[:, 0]
        hit[rays[arrived]] = t[arrived]
        going = (inside & ~near).nonzero()[:, 0]
        if not len(going):
            break
        rays, t, t_out, o, d = (x.index_select(0, going) for x in (rays, t, t_out, o, d))
    return hit


def advance(field: Tensor, o: Tensor, d: Tensor, t: Tensor, close: float) -> tuple[Tensor, Tensor]:
    """A few steps; a ray that is close to the surface stays where it is.

    Returns:
        The new `t` `[R]`, and which rays are close there, `[R]` bool.
    """
    for _ in range(STEPS_AT_ONCE):
        phi = sample_where(field, torch.addcmul(o, t[:, None], d))[:, 0]
        near = phi < close
        t = t + phi.masked_fill_(near, 0)
    return t, near
