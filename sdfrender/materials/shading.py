"""What an eye sees of points with a material under an environment, by the split-sum approximation.

    L = (1 − m) a/π E(n) + (A F₀ + B) Lᵣ(r) s(r),   F₀ = (1 − m) specular + m a

a base colour, m metalness; E the irradiance of what the point sees of the environment; r the
direction that v is mirrored to; Lᵣ the environment filtered by the lobe (`Environment.filtered`);
A and B of `microfacet.split_sum`; s what the point sees of the environment at r, `open_at`.

All is differentiable in normals, base colour and roughness, except where n·l or n·v is cut at zero.
Source: Karis 2013, "Real Shading in Unreal Engine 4".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdfrender.materials.environment import (
    HEIGHT,
    LEVELS,
    Environment,
    four_pixels,
    level_weights,
    picture_directions,
    solid_angles,
)
from sdfrender.materials.microfacet import reflected

SKY = HEIGHT  # rows of the picture that visibility is known in
LEAST_COSINE = 1e-3  # of n·v
PART = 8192  # points at a time
Corners = list[tuple[Tensor, Tensor]]  # vertices [P] and their weights [P], of a triangle


def sky_directions() -> Tensor:
    """`[K, 3]` directions in which visibility is known, float64."""
    return picture_directions(SKY).reshape(-1, 3)


def transfer(normals: Tensor, seen: Tensor) -> Tensor:
    """`[P, K]` what each direction's radiance adds to E / π; differentiable in normals.

    Args:
        normals: `[P, 3]` unit.
        seen: `[P, K]` visibility, 0 to 1.
    """
    weight = (solid_angles(SKY) / math.pi).repeat_interleave(2 * SKY).to(normals)
    facing = (normals @ sky_directions().to(normals).T).clamp(min=0)
    result: Tensor = facing * seen.to(normals) * weight
    return result


def irradiance(normals: Tensor, seen: Tensor, environment: Environment) -> Tensor:
    """`[P, 3]` E / π of points that see some of the sky."""
    light = environment.resized(SKY).radiance.reshape(-1, 3).to(normals)
    parts = zip(torch.split(normals, PART), torch.split(seen, PART), strict=True)
    return torch.cat([transfer(n, s) @ light for n, s in parts])


def mirrored(normals: Tensor, to_eye: Tensor) -> tuple[Tensor, Tensor]:
    """Directions `[P, 3]` that the eye's is mirrored to, and n·v `[P]`; differentiable."""
    cosine = (normals * to_eye).sum(-1)
    return 2 * cosine[:, None] * normals - to_eye, cosine.clamp(min=LEAST_COSINE, max=1)


def open_at(directions: Tensor, normals: Tensor, seen: Tensor, corners: Corners) -> Tensor:
    """`[P]` how far points see the sky in one direction each; 1 where it is below their horizon.

    Args:
        directions: `[P, 3]` unit.
        normals: `[P, 3]` unit.
        seen: `[V, K]` visibility from the vertices.
        corners: the vertices between which the points are.
    """
    pixels, weights = four_pixels(directions, SKY)
    sky = sky_directions().to(normals)[pixels]  # (P, 4, 3)
    weights = weights * ((sky * normals[:, None]).sum(-1) > 0)
    found = torch.zeros_like(weights[:, 0])
    for vertex, share in corners:
        found = found + share * (weights * seen[vertex[:, None], pixels].to(weights)).sum(-1)
    total = weights.sum(-1)
    return torch.where(total > 0, found / total.clamp(min=1e-9), torch.ones_like(total))


def lookup(filtered: Tensor, directions: Tensor, roughness: Tensor) -> Tensor:
    """`[P, 3]` Lᵣ: of `[L, H, W, 3]`, trilinear; differentiable in all arguments."""
    H = filtered.shape[1]
    pixels, weights = four_pixels(directions, H)
    levels, shares = level_weights(roughness)
    flat = filtered.reshape(len(LEVELS), -1, 3)
    found = torch.zeros(len(directions), 3).to(filtered)
    for level in range(2):
        for pixel in range(4):
            weight = shares[:, level] * weights[:, pixel]
            found = found + weight[:, None] * flat[levels[:, level], pixels[:, pixel]]
    return found


def shade(
    base_color: Tensor,
    roughness: Tensor,
    specular: float,
    metallic: float,
    even: Tensor,
    mirror: Tensor,
    cosine: Tensor,
) -> Tensor:
    """`[P, 3]` L of the equation above; differentiable in all tensors.

    Args:
        base_color: `[P, 3]`.
        roughness: `[P]`.
        specular: F₀ of what does not conduct.
        metallic: m, 0 to 1.
        even: `[P, 3]` E / π.
        mirror: `[P, 3]` Lᵣ s.
        cosine: `[P]` n·v.
    """
    scale, bias = reflected(cosine, roughness)
    facing = (1 - metallic) * specular + metallic * base_color
    lobe = scale[:, None] * facing + bias[:, None]
    seen: Tensor = (1 - metallic) * base_color * even + lobe * mirror
    return seen
