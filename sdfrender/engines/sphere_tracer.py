"""The paper's tracer: step along the ray by φ itself until it is small (SDFDiff §4).

It needs a distance field: where |∇φ| > 1 it can step over a thin part, where |∇φ| < 1 it is slow.
The reference engine's exact roots have neither fault; this one is here for comparison.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdfrender.engines.events import Events, opaque_events
from sdfrender.engines.traversal import box_interval
from sdfrender.lattice import Lattice
from sdfrender.trilinear import interpolate

MAX_STEPS = 256
HIT_DISTANCE = 1e-3  # in units of the smallest spacing


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
    field = lattice.values.detach().reshape(B, *lattice.resolution, 1)
    o = lattice.to_index(rays_o.detach()).reshape(-1, 3)
    d = (rays_d.detach() / lattice.spacing).reshape(-1, 3)
    t_in, t_out = box_interval(o.T, d.T, torch.tensor(lattice.resolution).to(o) - 1)
    hit = torch.full_like(t_in, torch.inf)
    rays = (t_out > t_in).nonzero()[:, 0]
    t = t_in[rays]
    for _ in range(MAX_STEPS):
        phi = interpolate(field, o[rays] + t[:, None] * d[rays], rays // R)[:, 0]
        near = phi < HIT_DISTANCE * float(lattice.spacing.min())
        hit[rays[near]] = t[near]
        t = t + phi
        going = (~near & (t < t_out[rays])).nonzero()[:, 0]
        rays, t = rays[going], t[going]
        if not len(rays):
            break
    return opaque_events(hit)
