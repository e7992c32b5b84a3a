"""Images by the reference engine, in differentiable PyTorch on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from sdfrender.engines.reference import engine as reference
from sdfrender.engines.reference import sphere_tracer
from sdfrender.engines.reference.events import Events
from sdfrender.geometry.lattice import Lattice
from sdfrender.rendering.coverage import coverages
from sdfrender.rendering.rays import Rays, camera_rays
from sdfrender.rendering.reattach import reattach
from sdfrender.rendering.shade import Surface, shade, surface_at
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting


def reference_pixels(
    lattice: Lattice,
    cameras: Cameras,
    lighting: Lighting,
    albedo: float | Tensor,
    coverage: bool,
    tracer: str,
    method: str,
    max_events: int,
) -> tuple[Tensor, ...]:
    """Colours `[B, N, H, W, C]`, silhouettes, depths, normals and hits, all with a leading `[B]`.

    Rays → events → re-attach → shade → composite.
    """
    B, N, H, W = lattice.batch, len(cameras), cameras.height, cameras.width
    # Events are looked for along rays in float64: at a glancing angle a rounded ray hits elsewhere.
    with torch.no_grad():
        exact = camera_rays(cameras.to(lattice.values.double()), B)
    cameras = cameras.to(lattice.values)
    rays = camera_rays(cameras, B)

    if tracer == "sphere":
        events = sphere_tracer.trace(lattice, exact.o.view(B, -1, 3), exact.d.view(B, -1, 3))
    else:
        events = reference.trace(
            lattice,
            exact.o.view(B, -1, 3),
            exact.d.view(B, -1, 3),
            exact.footprints.view(B, -1),
            coverage,
            max_events,
        )

    met = rays[events.rays]
    surface = surface_at(lattice, met, events, reattach(lattice, met, events, method))
    views = (events.rays // (H * W)) % N
    colors = shade(lattice, met, surface, views, lighting, albedo)
    alphas = coverages(lattice, met, events)
    foreground, clear = composite(events, alphas, colors, B * N * H * W)
    silhouettes = (1 - clear).view(B, N, H, W)
    return (
        foreground.view(B, N, H, W, foreground.shape[-1]),
        silhouettes,
        *first_hits(events, surface, rays, cameras, B),
    )


def first_hits(
    events: Events, surface: Surface, rays: Rays, cameras: Cameras, B: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Depth, normal and hit mask of each pixel from the first event that crosses the surface."""
    N, H, W = len(cameras), cameras.height, cameras.width
    crossing = torch.isfinite(events.t_hit).nonzero()[:, 0]
    # events are sorted by slot: of those of one ray, the first is written last
    order = crossing.flip(0)
    winner = torch.full((B * N * H * W,), -1, device=order.device)
    for slot in range(int(events.slots.max()) if len(events.slots) else -1, -1, -1):
        part = order[events.slots[order] == slot]
        winner[events.rays[part]] = part
    hit_mask = winner >= 0
    pixels = hit_mask.nonzero()[:, 0]
    chosen = winner[pixels]

    axes = cameras.c2w[:, :3, 2]  # optical axis of each camera
    view = (pixels // (H * W)) % N
    z = surface.t[chosen] * (rays.d[pixels] * axes[view]).sum(-1)
    depths = z.new_full((B * N * H * W,), torch.inf).index_copy(0, pixels, z)
    normals = z.new_zeros(B * N * H * W, 3).index_copy(0, pixels, surface.normals[chosen])
    return depths.view(B, N, H, W), normals.view(B, N, H, W, 3), hit_mask.view(B, N, H, W)


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
