"""The surface points of events, their normals and their colours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender.engines.reference.events import Events
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.sampling import sample
from sdfrender.geometry.trilinear import interpolate, vertex_gradients
from sdfrender.rendering.ray_cells import face_axis
from sdfrender.rendering.rays import Rays
from sdfrender.view.lighting import Lighting, channels


@dataclass(frozen=True, eq=False)
class Surface:
    """Surface points of E events, attached to the lattice and the camera.

    Args:
        t: `[E]` distance along the ray.
        points: `[E, 3]` world.
        normals: `[E, 3]` unit, outward, world.
    """

    t: Tensor
    points: Tensor
    normals: Tensor


def surface_at(lattice: Lattice, rays: Rays, events: Events, t: Tensor) -> Surface:
    """The surface at events: `o + t·d`, and the normal field there.

    Differentiable in the lattice, 4×4×4 samples for a normal, in rays and distances. Where a ray
    enters the box inside the solid the normal is that of the box's face.

    Args:
        lattice: one lattice or a batch.
        rays: the ray of each event, `[E]`.
        events: E events.
        t: `[E]` their distances, see `reattach`, world units.
    """
    points = rays.o + t[:, None] * rays.d
    field = vertex_gradients(lattice.values, lattice.spacing).reshape(-1, *lattice.resolution, 3)
    normals = safe_normalize(sample(field, lattice.to_index(points), rays.lattice_ids))
    if bool(events.caps.any()):
        axis = face_axis(lattice, points.detach(), rays.d.detach())
        outward = -torch.nn.functional.one_hot(axis, 3) * rays.d.detach().sign()
        normals = torch.where(events.caps[:, None], outward, normals)
    return Surface(t, points, normals)


def shade(
    lattice: Lattice,
    rays: Rays,
    surface: Surface,
    views: Tensor,
    lighting: Lighting,
    albedo: float | Tensor,
) -> Tensor:
    """Colour `albedo · irradiance` of each event: `[E, C]`.

    Args:
        lattice: for the box that a lattice of albedo fills.
        rays: the ray of each event, `[E]`.
        surface: the E points.
        views: `[E]` which camera sees each.
        lighting: what falls on them.
        albedo: a number, `[C]`, or `[X, Y, Z, C]` over the lattice's box.
    """
    irradiance = lighting.shade(surface.normals, -rays.d, surface.t, views)
    if isinstance(albedo, Tensor) and albedo.ndim == 4:
        last = torch.tensor(albedo.shape[:3]).to(surface.points) - 1
        box = lattice.bounds
        index = (surface.points - box[0]) / (box[1] - box[0]) * last
        return irradiance * interpolate(albedo.to(surface.points), index)
    return irradiance * channels(albedo, irradiance)


def safe_normalize(x: Tensor) -> Tensor:
    """Unit vectors of `x` `[..., 3]`; a zero vector stays zero, with zero gradient."""
    square = (x * x).sum(-1, keepdim=True)
    return torch.where(square > 0, x * square.clamp(min=torch.finfo(x.dtype).tiny).rsqrt(), 0.0)
