"""What a ray meets: events in the order a ray meets them, and the scan that finds them.

A *dip* of φ along a ray is an event. With `q = φ / (t·footprint)`, the distance to the surface in
pixels, and `m` the smallest q since the last event ended, a dip ends where the ray leaves a cell
with `q > max(m, 0) + ½`, or leaves the box. It counts when `m < ½`; its coverage is
`alpha = clamp(½ − m, 0, 1)`. A ray ends in a dip that crossed the surface and has `m ≤ −½`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender.engines.reference.traversal import Segments


@dataclass(frozen=True, eq=False)
class Events:
    """E events of R rays. `t` are distances along the ray, in world units.

    Args:
        rays: `[E]` the ray each event belongs to.
        slots: `[E]` 0 for the ray's first event, 1 for its second, …
        t_hit: `[E]` where φ first becomes ≤ 0 in this dip; infinity for a graze.
        t_min: `[E]` where φ/t is smallest in this dip (so far as the ray was followed).
        opaque: `[E]` the coverage is 1 whatever happens nearby.
        at_face: `[E]` `t_min` is on a face between cells, and moves with that face.
        caps: `[E]` the ray enters the box already inside the solid: the hit is the box's face.
    """

    rays: Tensor
    slots: Tensor
    t_hit: Tensor
    t_min: Tensor
    opaque: Tensor
    at_face: Tensor
    caps: Tensor


def scan_dips(
    segments: Segments,
    root: Tensor,
    t_min: Tensor,
    q_min: Tensor,
    q_out: Tensor,
    at_face: Tensor,
    num_rays: int,
    max_events: int,
) -> Events:
    """Walk the segments of all rays in order and close dips into events.

    Args:
        segments: S of them.
        root: `[S]` distance of the first root in each segment, infinite where there is none.
        t_min: `[S]` distance of the closest approach in each segment.
        q_min: `[S]` φ there, in pixels.
        q_out: `[S]` φ where the segment ends, in pixels.
        at_face: `[S]` whether the closest approach is at an end of the segment.
        num_rays: R.
        max_events: per ray.
    """
    m = q_min.new_full((num_rays,), torch.inf)
    hit = m.clone()
    best = torch.zeros(num_rays, dtype=torch.long, device=m.device)  # segment of the minimum
    count = torch.zeros_like(best)
    done = torch.zeros(num_rays, dtype=torch.bool, device=m.device)
    closed: list[tuple[Tensor, ...]] = []

    def close(r: Tensor, opaque: Tensor) -> None:
        closed.append((r, count[r], hit[r], t_min[best[r]], opaque, at_face[best[r]]))
        count[r] += 1
        done[r] = opaque | (count[r] >= max_events)
        m[r] = torch.inf
        hit[r] = torch.inf

    first = 0
    for size in segments.rounds:
        part = slice(first, first + size)
        first += size
        r = segments.rays[part]
        live = (~done[r]).nonzero()[:, 0]
        r, s = r[live], live + part.start
        lower = q_min[s] < m[r]
        m_r = torch.where(lower, q_min[s], m[r])
        m[r] = m_r
        best[r] = torch.where(lower, s, best[r])
        hit_r = torch.minimum(hit[r], root[s])
        hit[r] = hit_r
        opaque = torch.isfinite(hit_r) & (m_r <= -0.5)
        ends = (m_r < 0.5) & (opaque | (q_out[s] > m_r.clamp(min=0) + 0.5))
        ending = ends.nonzero()[:, 0]
        if len(ending):
            close(r[ending], opaque[ending])
    leaving = ((m < 0.5) & ~done).nonzero()[:, 0]  # dips that the far side of the box cut short
    close(leaving, torch.zeros_like(leaving, dtype=torch.bool))

    rays, slots, t_hit, t_close, whole, face = (
        torch.cat(part) for part in zip(*closed, strict=True)
    )
    return Events(rays, slots, t_hit, t_close, whole, face, torch.zeros_like(whole))


def first_hits(segments: Segments, root: Tensor, num_rays: int) -> Events:
    """One opaque event at the first root of each ray that has one.

    Of S segments with roots at distances `root` `[S]`, infinite where there is none.
    """
    t = root.new_full((num_rays,), torch.inf).scatter_reduce(0, segments.rays, root, "amin")
    return opaque_events(t)


def opaque_events(t: Tensor) -> Events:
    """One opaque event for each ray whose hit distance `t` `[R]` is finite."""
    rays = torch.isfinite(t).nonzero()[:, 0]
    no = torch.zeros_like(rays, dtype=torch.bool)
    return Events(rays, torch.zeros_like(rays), t[rays], t[rays], ~no, no, no)


def concatenate(parts: list[Events], like: Tensor) -> Events:
    """All events of several sets, sorted by slot so that events of one slot are contiguous.

    Of no sets, none: with the dtype and device of `like` `[...]`.
    """
    if not parts:
        return opaque_events(like.new_full((1,), torch.inf))
    fields = [torch.cat(f) for f in zip(*[vars(p).values() for p in parts], strict=True)]
    order = fields[1].argsort(stable=True)
    return Events(*[f[order] for f in fields])
