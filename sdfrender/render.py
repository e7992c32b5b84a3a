"""Images of lattices, with gradients: rays → events → re-attach → shade → composite."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender.cameras import Cameras
from sdfrender.engines import reference, sphere_tracer
from sdfrender.engines.events import Events
from sdfrender.lattice import Lattice
from sdfrender.lighting import Lighting, channels
from sdfrender.shade import Rays, Surface, composite, surface
from sdfrender.trilinear import interpolate

TRACERS = ("exact", "sphere")
REATTACHMENTS = ("implicit", "one_step")
ENGINES = ("auto", "reference")
MAX_EVENTS = 4  # events composited per ray


@dataclass(frozen=True)
class Rendering:
    """What `render` returns. For a batch of B lattices each tensor has a leading `[B]`.

    Args:
        images: `[N, H, W, C]` linear colour, premultiplied by coverage, over the background.
        silhouettes: `[N, H, W]` coverage in [0, 1].
        depths: `[N, H, W]` camera z of the first hit, world units; infinity on a miss.
        normals: `[N, H, W, 3]` unit, outward, world frame, at the first hit; zero on a miss.
        hit_mask: `[N, H, W]` bool, the ray through the pixel's centre meets the surface.
    """

    images: Tensor
    silhouettes: Tensor
    depths: Tensor
    normals: Tensor
    hit_mask: Tensor


def render(
    lattice: Lattice,
    cameras: Cameras,
    *,
    lighting: Lighting | None = None,
    albedo: float | Tensor = 1.0,
    background: float | Tensor = 0.0,
    coverage: bool = True,
    tracer: str = "exact",
    reattach: str = "implicit",
    engine: str = "auto",
) -> Rendering:
    """Render one lattice, or each of B lattices, from every camera.

    Differentiable in `lattice.values`, `albedo`, the tensors in `lighting`, `background`,
    `cameras.c2w` and `cameras.Ks`. Not differentiable: where along the ray an event is looked for
    and in which cell, how many events there are, `hit_mask`, `lattice.bounds`. Depths and normals
    carry gradients at hits only. With `coverage=False` silhouettes are 0 or 1 and constant.

    World units and frame are the lattice's. The hit is the first root of the trilinear function
    along the ray; outside its box the lattice is empty, so a solid that reaches the box is cut off
    flat there.

    Args:
        lattice: `[X, Y, Z]` or `[B, X, Y, Z]` values.
        cameras: N views; moved to the lattice's dtype and device.
        lighting: default `Lighting()`, a headlight of intensity 1.
        albedo: a number, `[C]`, or a lattice of colours `[X, Y, Z, C]` (any resolution, same box).
        background: a number, `[C]`, or images `[N, H, W, C]`.
        coverage: anti-aliased silhouettes with up to `MAX_EVENTS` composited events per ray
            (φ/t against the pixel's footprint); otherwise one ray per pixel, hit or miss.
        tracer: `"exact"`, or `"sphere"` (the paper's, which needs `coverage=False`).
        reattach: `"implicit"` (implicit function theorem), or `"one_step"` (the paper's).
        engine: `"auto"` or `"reference"`.

    Raises:
        ValueError: an unknown name, a shape that does not fit, or the sphere tracer with coverage.

    Source: SDFDiff (Jiang, Ji, Han, Zwicker, CVPR 2020) §4; coverage as in the README.

    Worked value: `render(Lattice.sphere(0.5), Cameras.look_at([[0.0, 0.0, 3.0]]))` has depth 2.5
    and colour 1.0 in the middle of the image.
    """
    _check(tracer, reattach, engine, coverage)
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
            MAX_EVENTS,
        )

    seen = surface(lattice, rays[events.rays], events, reattach)
    colors = shade(lattice, rays, events, seen, lighting or Lighting(), albedo)
    foreground, clear = composite(events, seen.alphas, colors, B * N * H * W)

    C = foreground.shape[-1]
    behind = _background(background, cameras, foreground)
    images = foreground.view(B, N, H, W, C) + clear.view(B, N, H, W, 1) * behind
    depths, normals, hit_mask = first_hits(events, seen, rays, cameras, B)
    out = Rendering(images, (1 - clear).view(B, N, H, W), depths, normals, hit_mask)
    if lattice.values.ndim == 3:
        out = Rendering(**{name: x[0] for name, x in vars(out).items()})
    return out


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
    lighting: Lighting,
    albedo: float | Tensor,
) -> Tensor:
    """Colour `albedo · irradiance` of each event: `[E, C]`."""
    irradiance = lighting.shade(seen.normals, -rays.d[events.rays], seen.t)
    if isinstance(albedo, Tensor) and albedo.ndim == 4:
        last = torch.tensor(albedo.shape[:3]).to(seen.points) - 1
        box = lattice.bounds
        index = (seen.points - box[0]) / (box[1] - box[0]) * last
        return irradiance * interpolate(albedo.to(seen.points), index)
    if isinstance(albedo, Tensor) and albedo.ndim > 1:
        raise ValueError(f"albedo: need a number, [C] or [X, Y, Z, C], got {tuple(albedo.shape)}")
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


def _background(background: float | Tensor, cameras: Cameras, like: Tensor) -> Tensor:
    """A number, `[C]` or `[N, H, W, C]`, ready to be added to `[B, N, H, W, C]`."""
    x = torch.as_tensor(background).to(like)
    if x.ndim <= 1:
        return x.reshape(1, 1, 1, -1)
    need = (len(cameras), cameras.height, cameras.width)
    if x.ndim != 4 or x.shape[:3] != need:
        raise ValueError(
            f"background: need a number, [C] or {[*need, 'C']}, got shape {tuple(x.shape)}"
        )
    return x


def _check(tracer: str, reattach: str, engine: str, coverage: bool) -> None:
    for name, value, known in (
        ("tracer", tracer, TRACERS),
        ("reattach", reattach, REATTACHMENTS),
        ("engine", engine, ENGINES),
    ):
        if value not in known:
            raise ValueError(f"{name}: need one of {', '.join(known)}, got {value!r}")
    if tracer == "sphere" and coverage:
        raise ValueError("tracer='sphere' knows hit or miss only: pass coverage=False")
