"""GGX's microfacets, and what a surface of them reflects of light that is even: split-sum tables.

α = roughness² (Burley 2012); n normal, v towards the eye, l towards the light, h half between.

    D(h) = α² / (π ((n·h)² (α² − 1) + 1)²)                       Walter et al. 2007, equation 33
    G₁(v) = 2 n·v / (n·v + √(α² + (1 − α²) (n·v)²))              equation 34, G = G₁(v) G₁(l)
    F(v·h) = F₀ + (1 − F₀) (1 − v·h)⁵                            Schlick 1994
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

TABLE = 48  # samples of n·v and of roughness, each
QUADRATURE = (128, 64)  # of the lobe: by height, by turn


def ggx(cosine: Tensor, roughness: float | Tensor) -> Tensor:
    """D of `n·h` `[...]`: the density of normals; differentiable."""
    a2 = roughness**4
    bottom = cosine * cosine * (a2 - 1) + 1
    density: Tensor = a2 / (math.pi * bottom * bottom)
    return density


def smith(cosine: Tensor, roughness: float | Tensor) -> Tensor:
    """G₁ of `n·v` `[...]`: what of the normals that face v is not hidden; differentiable."""
    a2 = roughness**4
    c2 = cosine * cosine
    share: Tensor = 2 * cosine / (cosine + (a2 + (1 - a2) * c2).sqrt())
    return share


def schlick(cosine: Tensor, specular: float | Tensor) -> Tensor:
    """F of `v·h` `[...]`; differentiable."""
    reflected: Tensor = specular + (1 - specular) * (1 - cosine) ** 5
    return reflected


@lru_cache(maxsize=1)
def split_sum() -> Tensor:
    """`[TABLE, TABLE, 2]` scale A and bias B of F₀ by n·v and roughness, both from 0 to 1.

    A surface under even light of radiance 1 reflects `A F₀ + B` (Karis 2013): A and B are the means
    over visible normals of `G₁(l) (1 − (1 − v·h)⁵)` and `G₁(l) (1 − v·h)⁵`. The first sample of
    each axis is at half a step, as its limit.
    """
    axis = torch.linspace(0, 1, TABLE, dtype=torch.float64)
    nv = axis.clamp(min=0.5 / TABLE)
    rows = [_reflected(nv, float(roughness)) for roughness in axis.clamp(min=0.5 / TABLE)]
    return torch.stack(rows, 1).float()


def _reflected(nv: Tensor, roughness: float) -> Tensor:
    """`[P, 2]` A and B of P values of n·v, by sums over normals in equal shares of D (n·h)."""
    by_height, by_turn = QUADRATURE
    u = (torch.arange(by_height).double() + 0.5) / by_height
    turn = (torch.arange(by_turn).double() + 0.5) * (math.pi / by_turn)  # by symmetry half
    a2 = roughness**4
    nh = ((1 - u) / (1 + (a2 - 1) * u)).sqrt()[:, None]  # D (n·h) dh is even in u
    sine = (1 - nh * nh).sqrt()
    eye = (1 - nv * nv).sqrt()[:, None, None]
    vh = eye * sine * turn.cos() + nv[:, None, None] * nh  # (P, U, T)
    nl = 2 * vh * nh - nv[:, None, None]
    lit = (nl > 0) & (vh > 0)
    shadow = smith(nl.clamp(min=1e-9), roughness) * smith(nv, roughness)[:, None, None]
    weight = torch.where(lit, shadow * vh / (nh * nv[:, None, None]), 0)
    grazing = (1 - vh.clamp(0, 1)) ** 5
    parts = (weight * (1 - grazing), weight * grazing)
    return torch.stack([x.mean((1, 2)) for x in parts], -1)


def reflected(nv: Tensor, roughness: Tensor) -> tuple[Tensor, Tensor]:
    """A and B of `split_sum` at n·v and roughness `[P]` each, bilinear; differentiable."""
    table = split_sum().to(nv)
    x, y = (value.clamp(0, 1) * (TABLE - 1) for value in (nv, roughness))
    i, j = (value.detach().floor().clamp(max=TABLE - 2).long() for value in (x, y))
    a, b = (x - i)[:, None], (y - j)[:, None]
    low = (1 - b) * table[i, j] + b * table[i, j + 1]
    high = (1 - b) * table[i + 1, j] + b * table[i + 1, j + 1]
    scale, bias = ((1 - a) * low + a * high).unbind(-1)
    return scale, bias
