"""Signed distances again, in plain torch on any device: the twin of `redistance` for cards.

All vertices in reach take a step of the same upwind scheme at once, round after round, until none
of them comes nearer. That takes as many rounds as the longest way from the surface has vertices,
and ends at the same distances as fast sweeping, which goes through them in order.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import max_pool3d

ROUNDS = 8  # between two looks at whether anything has changed, each of which waits for the card


def redistanced_in_rounds(
    phi: Tensor, spacing: tuple[float, float, float], frozen_band: float, reach: float
) -> Tensor:
    """One lattice `[X, Y, Z]`; arguments and result as those of `redistance.redistanced`."""
    corners = _surface_corners(phi)
    if not bool(corners.any()):
        return phi
    h = min(spacing)
    close = phi.abs() < frozen_band * h
    frozen = corners | (close & _within(corners, math.ceil(frozen_band)))
    d = torch.where(frozen, phi.abs(), reach * h)
    moving = (~frozen).reshape(-1)
    if math.isfinite(reach):  # farther vertices keep what they have
        moving &= _within(frozen, math.ceil(reach)).reshape(-1)
    at = moving.nonzero()[:, 0]
    around = _neighbours(at, phi.shape)
    flat = torch.cat((d.reshape(-1), d.new_full((1,), math.inf)))
    while True:
        before = flat[at]
        for _ in range(ROUNDS):
            nearer = [torch.minimum(flat[low], flat[high]) for low, high in around]
            flat[at] = torch.minimum(flat[at], _upwind(nearer, spacing))
        if torch.equal(before, flat[at]):
            break
    d = flat[:-1].reshape(phi.shape)
    return torch.where(frozen, phi, torch.where(phi < 0, -d, d))


def _surface_corners(phi: Tensor) -> Tensor:
    """`[X, Y, Z]` the corners of all cells that hold surface."""
    low, high = phi, phi
    for axis in range(3):
        n = phi.shape[axis] - 1
        low = torch.minimum(low.narrow(axis, 0, n), low.narrow(axis, 1, n))
        high = torch.maximum(high.narrow(axis, 0, n), high.narrow(axis, 1, n))
    holds = (low <= 0) & (high >= 0)
    out = torch.zeros_like(phi, dtype=torch.bool)
    X, Y, Z = holds.shape
    for n in range(8):
        i, j, k = n >> 2, n >> 1 & 1, n & 1
        out[i : i + X, j : j + Y, k : k + Z] |= holds
    return out


def _within(chosen: Tensor, steps: int) -> Tensor:
    """The vertices that a chosen one is at most `steps` from along every axis."""
    near = chosen[None, None].float()
    for axis in range(3):  # one after the other: the box of steps is many times as much work
        wide = [steps if k == axis else 0 for k in range(3)]
        near = max_pool3d(near, [2 * n + 1 for n in wide], 1, wide)
    return near[0, 0] > 0


def _neighbours(at: Tensor, size: torch.Size) -> list[tuple[Tensor, Tensor]]:
    """Flat indices of the vertices before and behind along each axis; X Y Z where there is none."""
    X, Y, Z = size
    found = []
    for n, stride in ((X, Y * Z), (Y, Z), (Z, 1)):
        place = at // stride % n
        low = torch.where(place > 0, at - stride, X * Y * Z)
        found.append((low, torch.where(place < n - 1, at + stride, X * Y * Z)))
    return found


def _upwind(nearer: list[Tensor], spacing: tuple[float, float, float]) -> Tensor:
    """The x that solves `Σ max(0, (x − a)/h)² = 1` over the axes (Zhao 2005, equation 2.3)."""
    h = torch.tensor(spacing, dtype=torch.float64, device=nearer[0].device)
    (a, ha), (b, hb), (c, hc) = _sorted(
        [(x.double(), step) for x, step in zip(nearer, h, strict=True)]
    )
    wa, wb, wc = 1 / (ha * ha), 1 / (hb * hb), 1 / (hc * hc)
    # In quadratic form, from the nearest neighbour on; what is infinite drops out
    b, c = torch.where(b < math.inf, b - a, math.inf), torch.where(c < math.inf, c - a, math.inf)
    near, w = torch.where(ha > b, b, 0.0), wa + wb
    p, q = wb * near, wb * near * near - 1
    x = torch.where(ha > b, (p + (p * p - w * q).clamp(min=0).sqrt()) / w, ha)
    near = torch.where(x > c, c, 0.0)
    w, p, q = w + wc, p + wc * near, q + wc * near * near
    x = torch.where(x > c, (p + (p * p - w * q).clamp(min=0).sqrt()) / w, x)
    new: Tensor = (a + x).to(nearer[0])
    return new


def _sorted(axes: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Neighbours and the spacings along their axes, the nearest first.

    By three comparisons: to sort three numbers at each of millions of vertices takes a card longer.
    """
    for n in (0, 1, 0):
        (a, ha), (b, hb) = axes[n : n + 2]
        swap = a > b
        axes[n] = torch.minimum(a, b), torch.where(swap, hb, ha)
        axes[n + 1] = torch.maximum(a, b), torch.where(swap, ha, hb)
    return axes
