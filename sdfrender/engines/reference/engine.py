"""The reference engine: exact events of the trilinear function, in plain PyTorch on any device.

Nothing here is differentiated. It defines the answer that every other engine must give, so it works
in float64 whatever the lattice's dtype is.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sdfrender.engines.reference import cell_root
from sdfrender.engines.reference.events import Events, concatenate, first_hits, scan_dips
from sdfrender.engines.reference.traversal import box_interval, pick, visit
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.trilinear import corner_offsets

RAYS_AT_ONCE = 1 << 17  # bounds the memory of a call, not its result
NEAR = 1e-6  # rays start this far from the eye, in units of the spacing
TINY = 1e-3  # shortest segment, in units of that


def trace(
    lattice: Lattice,
    rays_o: Tensor,
    rays_d: Tensor,
    footprints: Tensor,
    coverage: bool = True,
    max_events: int = 4,
) -> Events:
    """Find what each ray meets.

    Args:
        lattice: B lattices in one box.
        rays_o: `[B, R, 3]` world.
        rays_d: `[B, R, 3]` unit.
        footprints: `[B, R]` size of a pixel per unit of t, seen along the ray.
        coverage: find grazes too; otherwise only the first root of each ray.
        max_events: at most this many events per ray.

    Returns:
        Events with rays numbered `b·R + r`, sorted by slot.
    """
    B, R, _ = rays_o.shape
    lattice = Lattice(lattice.values.detach(), lattice.bounds).to(torch.float64)
    values = lattice.values.reshape(B, *lattice.resolution)
    origin, spacing = lattice.bounds[0], lattice.spacing
    o = ((rays_o.detach().double() - origin) / spacing).reshape(-1, 3).T.contiguous()
    d = (rays_d.detach().double() / spacing).reshape(-1, 3).T.contiguous()
    pixels = footprints.detach().double().flatten()
    t_in, t_out = box_interval(o, d, torch.tensor(lattice.resolution).to(o) - 1)
    in_front = NEAR * float(lattice.spacing.min())
    crossing = (t_out > t_in.clamp(min=in_front)).nonzero()[:, 0]

    low, high = corner_extremes(values)
    if coverage:  # where the surface may be within a pixel, and where nothing shows through
        reach = float((t_out * pixels)[crossing].max()) if len(crossing) else 0.0
        matters, opaque = low < reach, high < -0.5 * reach
    else:
        matters, opaque = low <= 0, high <= 0

    corners = values.flatten()
    offsets = corner_offsets(*lattice.resolution[1:], values.device)
    found = []
    for ids in torch.split(crossing, RAYS_AT_ONCE):
        o_part, d_part, near, far = (pick(x, ids) for x in (o, d, t_in, t_out))
        near = near.clamp(min=in_front)
        segments = visit(matters, opaque, o_part, d_part, near, far, ids // R)
        L = (segments.t_out - segments.t_in).clamp(min=TINY * in_front)
        c = cell_root.coefficients(
            corners.take(segments.cells + offsets[:, None]),
            segments.starts,
            pick(d_part, segments.rays) * L,
        )
        root = segments.t_in + L * cell_root.first_root(c)
        if coverage:
            a = segments.t_in / L
            s, q_min = cell_root.closest_approach(c, a)
            scale = 1 / (L * pixels[ids[segments.rays]])
            q_out = cell_root.evaluate(c, torch.ones_like(a)) / (a + 1) * scale
            t_min, at_face = segments.t_in + L * s, (s == 0) | (s == 1)
            events = scan_dips(
                segments, root, t_min, q_min * scale, q_out, at_face, len(ids), max_events
            )
        else:
            events = first_hits(segments, root, len(ids))
        found.append(replace(events, rays=ids[events.rays]))
    events = concatenate(found, o)
    caps = (events.t_hit <= t_in[events.rays]) & (t_in[events.rays] > 0)
    return replace(events, caps=caps)


def corner_extremes(values: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest corner of each cell: two `[B, X-1, Y-1, Z-1]` for `[B, X, Y, Z]`."""
    low = high = values
    for dim in (1, 2, 3):
        n = values.shape[dim] - 1
        low = torch.minimum(low.narrow(dim, 0, n), low.narrow(dim, 1, n))
        high = torch.maximum(high.narrow(dim, 0, n), high.narrow(dim, 1, n))
    return low, high
