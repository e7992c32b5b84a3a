"""Images by the reference engine, in differentiable PyTorch on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from sdfrender.engines.reference import engine as reference
from sdfrender.engines.reference import sphere_tracer
from sdfrender.engines.reference.events import Events
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.trilinear import interpolate
from sdfrender.rendering.shade import Rays, Surface, composite, surface
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting, channels


def reference_pixels(
    lattice: Lattice,
    cameras: Cameras,
    lighting: Lighting,
    albedo: float | Tensor,
    coverage: bool,
    tracer: str,
    reattach: str,
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

    seen = surface(lattice, rays[events.rays], events, reattach)
    views = (events.rays // (H * W)) % N
    colors = shade(lattice, rays, events, seen, views, lighting, albedo)
    foreground, clear = composite(events, seen.alphas, colors, B * N * H * W)
    silhouettes = (1 - clear).view(B, N, H, W)
    return (
        foreground.view(B, N, H, W, foreground.shape[-1]),
        silhouettes,
        *first_hits(events, seen, rays, cameras, B),
    )


def camera_rays(cameras: Cameras, B: int = 1) -> Rays:
    """All rays of B copies of the cameras, flattened; differentiable in the cameras."""
    o, d = cameras.rays()
    # A pixel is 1/√(fx fy) wide per unit of depth; depth is t times the cosine off the axis.
    cosines = torch.einsum("nhwi,ni->nhw", d, cameras.c2w[:, :3, 2])
    focal = (cameras.Ks[:, 0, 0] * cameras.Ks[:, 1, 1]).sqrt()
    footprints = cosines / focal[:, None, None]
    R = footprints.numel()
    ids = torch.arange(B, device=d.device).repeat_interleave(R)
    return Rays(
        o.reshape(-1, 3).repeat(B, 1),
        d.reshape(-1, 3).repeat(B, 1),
        footprints.flatten().repeat(B),
        ids,
    )


def shade(
    lattice: Lattice,
    rays: Rays,
    events: Events,
    seen: Surface,
    views: Tensor,
    lighting: Lighting,
    albedo: float | Tensor,
) -> Tensor:
    """Colour `albedo · irradiance` of each event: `[E, C]`."""
    irradiance = lighting.shade(seen.normals, -rays.d[events.rays], seen.t, views)
    if isinstance(albedo, Tensor) and albedo.ndim == 4:
        last = torch.tensor(albedo.shape[:3]).to(seen.points) - 1
        box = lattice.bounds
        index = (seen.points - box[0]) / (box[1] - box[0]) * last
        return irradiance * interpolate(albedo.to(seen.points), index)
    return irradiance * channels(albedo, irradiance)


def first_hits(
    events: Events, seen: Surface, rays: Rays, cameras: Cameras, B: int
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
    z = seen.t[chosen] * (rays.d[pixels] * axes[view]).sum(-1)
    depths = z.new_full((B * N * H * W,), torch.inf).index_copy(0, pixels, z)
    normals = z.new_zeros(B * N * H * W, 3).index_copy(0, pixels, seen.normals[chosen])
    return depths.view(B, N, H, W), normals.view(B, N, H, W, 3), hit_mask.view(B, N, H, W)
