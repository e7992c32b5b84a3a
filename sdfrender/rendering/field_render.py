"""Images of a field itself, by sphere tracing: of a network, or any function of a point.

A field is known only where it is evaluated, so a ray goes ahead by what the field says is free, and
where the sign changes the root is closed in on. `render` finds every root of a lattice; here a
solid that a ray crosses on less than the shortest step may be missed.

Notation: `t` is the distance along a ray, `f` the field there. Nothing here is differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender.eager import eager
from sdfrender.errors import InputError
from sdfrender.geometry.grid import UNIT_BOX, check_box
from sdfrender.meshes.mise import Bounds, Field
from sdfrender.rendering.render import Rendering, check_numbers, over
from sdfrender.rendering.shade import safe_normalize
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Lighting

CHUNK = 1 << 16  # points that are evaluated together
ROOT_STEPS = 10  # of the secant search between two signs


@dataclass(frozen=True)
class TraceSettings:
    """How far a ray may go ahead.

    Args:
        safety: part of the field's value that is taken as free: 1 for a distance, less for a field
            that changes faster than one per unit.
        shortest: step, as a fraction of the box's diagonal; what is thinner may be missed.
        longest: step, world units, for a field whose values far away mean little. Default: any.
    """

    safety: float = 0.9
    shortest: float = 1 / 1000
    longest: float = float("inf")

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name}: need a positive number, got {value}")


@eager
@torch.no_grad()
def render_field(
    field: Field,
    cameras: Cameras,
    bounds: Bounds = UNIT_BOX,
    *,
    lighting: Lighting | None = None,
    albedo: float | Tensor = 1.0,
    background: float | Tensor = 0.0,
    settings: TraceSettings | None = None,
    chunk: int = CHUNK,
) -> Rendering:
    """Render a field from every camera, one ray per pixel. Not differentiable.

    Only rays that are still on their way are evaluated. As in `render`, the field is cut off flat
    where it reaches the box. Silhouettes are 0 or 1.

    Args:
        field: points `[P, 3]`, world units, to values `[P]`: negative inside, not necessarily
            distances; differentiable by torch, which gives the normals. Called with the dtype and
            device of `cameras`.
        cameras: N views.
        bounds: `[2, 3]` the box outside which nothing is, world units.
        lighting: default `Lighting()`, a headlight of intensity 1.
        albedo: a number or `[C]`.
        background: a number, `[C]`, or images `[N, H, W, C]`.
        settings: of the steps.
        chunk: points that are evaluated together.

    Raises:
        ValueError: an empty box, a field that returns another shape, or lights of other cameras.
        InputError: a value that is not finite.

    Source: sphere tracing, Hart 1996; the roots by the Illinois variant of regula falsi.

    Example:
        >>> import sdfrender as sr
        >>> camera = sr.Cameras.look_at([[0.0, 0.0, 3.0]], width=65)
        >>> out = sr.render_field(sr.primitives.sphere(0.5), camera)
        >>> round(float(out.depths[0, 32, 32]), 3)
        2.5
    """
    box = torch.as_tensor(bounds).to(cameras.c2w)
    check_box(box)
    check_numbers("albedo", albedo)
    tracer = _Tracer(field, box, settings or TraceSettings(), chunk)
    lighting = lighting or Lighting()
    lighting.check_views(len(cameras))
    views = [_view(tracer, cameras[n], lighting.for_view(n), albedo) for n in range(len(cameras))]
    colors, depths, normals, hits = (torch.stack(x) for x in zip(*views, strict=True))
    silhouettes = hits.to(colors)
    return Rendering(
        over(colors, silhouettes, background, cameras), silhouettes, depths, normals, hits
    )


def _view(
    tracer: _Tracer, camera: Cameras, lighting: Lighting, albedo: float | Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colours `[H, W, C]`, depths, normals and hits of one view."""
    rays_o, rays_d = (x.reshape(-1, 3) for x in camera.rays())
    t, entered = tracer.trace(rays_o, rays_d)
    ids = t.isfinite().nonzero()[:, 0]
    d, t_hit = rays_d[ids], t[ids]
    n = tracer.normals(rays_o[ids] + t_hit[:, None] * d, d, entered[ids])
    shaded = lighting.shade(n, -d, t_hit) * torch.as_tensor(albedo).to(d).reshape(1, -1)

    size = (camera.height, camera.width)
    colors = d.new_zeros(len(t), shaded.shape[-1]).index_copy(0, ids, shaded)
    normals = torch.zeros_like(rays_d).index_copy(0, ids, n)
    depths = t * (rays_d @ camera.c2w[0, :3, 2])
    return (
        colors.reshape(*size, -1),
        depths.reshape(size),
        normals.reshape(*size, 3),
        t.isfinite().reshape(size),
    )


class _Tracer:
    """Hits and normals of a field in a box."""

    def __init__(self, field: Field, box: Tensor, settings: TraceSettings, chunk: int) -> None:
        self.field, self.box, self.chunk = field, box, chunk
        self.safety = settings.safety
        self.shortest = settings.shortest * float((box[1] - box[0]).norm())
        self.longest = max(settings.longest, self.shortest)

    def trace(self, rays_o: Tensor, rays_d: Tensor) -> tuple[Tensor, Tensor]:
        """Distance to the first hit of each ray, and the axis of the face where it meets the box.

        Args:
            rays_o: `[R, 3]`.
            rays_d: `[R, 3]` unit.

        Returns:
            `t` `[R]`, infinite on a miss, and `entered` `[R]`: 0, 1 or 2 where the hit is the cut
            at the box's face, else -1.
        """
        near, far, axis = box_interval(rays_o, rays_d, self.box)
        t = torch.full_like(near, torch.inf)
        entered = torch.full_like(axis, -1)
        ids = (far > near).nonzero()[:, 0]
        at, value = near[ids], self.values(rays_o[ids] + near[ids, None] * rays_d[ids])
        cut = value < 0
        t[ids[cut]], entered[ids[cut]] = at[cut], axis[ids[cut]]
        ids, at, value = ids[~cut], at[~cut], value[~cut]

        while len(ids):
            step = (self.safety * value).clamp(self.shortest, self.longest)
            end = torch.minimum(at + step, far[ids])
            o, d = rays_o[ids], rays_d[ids]
            ahead = self.values(o + end[:, None] * d)
            hit = ahead < 0
            if bool(hit.any()):
                t[ids[hit]] = self._root(
                    o[hit], d[hit], (at[hit], end[hit]), (value[hit], ahead[hit])
                )
            on = ~hit & (end < far[ids])
            ids, at, value = ids[on], end[on], ahead[on]
        return t, entered

    def _root(
        self, o: Tensor, d: Tensor, t: tuple[Tensor, Tensor], f: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The root between `t[0]`, outside, and `t[1]`, inside, by the Illinois method."""
        (a, b), (fa, fb) = t, f
        before = torch.zeros_like(a)
        for _ in range(ROOT_STEPS):
            c = a + (b - a) * (fa / (fa - fb))
            fc = self.values(o + c[:, None] * d)
            inside = fc < 0
            side = torch.where(inside, -1.0, 1.0).to(a)
            # an end that stays for a second time counts half, or it would never move
            share = torch.where(side == before, 0.5, 1.0).to(a)
            fa, fb = torch.where(inside, share * fa, fc), torch.where(inside, fc, share * fb)
            a, b, before = torch.where(inside, a, c), torch.where(inside, c, b), side
        return a + (b - a) * (fa / (fa - fb))

    def normals(self, points: Tensor, d: Tensor, entered: Tensor) -> Tensor:
        """Unit outward normals `[P, 3]` at hits; at a cut the box's own."""
        parts = []
        for part in torch.split(points, self.chunk):
            with torch.enable_grad():
                x = part.detach().requires_grad_()
                (slope,) = torch.autograd.grad(self.field(x).sum(), x)
            parts.append(slope)
        slopes = torch.cat(parts) if parts else points
        if not bool(slopes.isfinite().all()):
            raise InputError("field: need finite gradients, got NaN or infinity")
        outward = -torch.nn.functional.one_hot(entered.clamp(min=0), 3) * d.sign()
        return torch.where((entered >= 0)[:, None], outward, safe_normalize(slopes))

    def values(self, points: Tensor) -> Tensor:
        """The field at points `[P, 3]`, checked."""
        parts = [self._checked(part) for part in torch.split(points, self.chunk)]
        return torch.cat(parts) if len(points) else points[:, 0]

    def _checked(self, points: Tensor) -> Tensor:
        found = self.field(points)
        if not isinstance(found, Tensor) or found.shape != points.shape[:1]:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"field: need values [{len(points)}] for as many points, got {got}")
        if not bool(found.isfinite().all()):
            bad = int((~found.isfinite()).nonzero()[0, 0])
            raise InputError(
                f"field: need finite values, got {float(found[bad])} at {points[bad].tolist()}"
            )
        return found


def box_interval(rays_o: Tensor, rays_d: Tensor, box: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays are inside a box.

    Args:
        rays_o: `[R, 3]`.
        rays_d: `[R, 3]` unit.
        box: `[2, 3]`.

    Returns:
        `near` and `far` `[R]`, from 0 on, `near >= far` for a ray that misses; and the axis `[R]`
        of the face it enters through.
    """
    sides = (box[:, None] - rays_o) / rays_d  # (2, R, 3)
    # along an axis that a ray does not move in it is always inside, or never
    inside = (rays_o > box[0]) & (rays_o < box[1])
    still = rays_d == 0
    low = torch.where(still, torch.where(inside, -torch.inf, torch.inf), sides.amin(0))
    high = torch.where(still, torch.where(inside, torch.inf, -torch.inf), sides.amax(0))
    near, axis = low.max(-1)
    return near.clamp(min=0), high.amin(-1), axis
