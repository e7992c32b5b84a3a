"""Lattices and cameras that hide no mistake of a stride, an axis or a centre."""

from __future__ import annotations

import torch

import sdfrender as sr
from sdfrender import primitives as sdf


def off_centre(cameras: sr.Cameras) -> sr.Cameras:
    """Different focal lengths, a principal point away from the middle."""
    Ks = cameras.Ks.clone()
    Ks[:, 0, 0] *= 1.15
    Ks[:, 0, 2] += 4.3
    Ks[:, 1, 2] -= 3.1
    return sr.Cameras(cameras.c2w, Ks, cameras.width, cameras.height)


def rough(resolution: tuple[int, int, int], seed: int, strength: float = 0.15) -> sr.Lattice:
    """A lattice that is far from a distance field, in a box with three different sides."""
    bounds = torch.tensor([[-1.0, -1.2, -0.8], [1.1, 1.0, 0.9]], dtype=torch.float64)
    base = sr.Lattice.from_function(sdf.sphere(0.6), resolution, bounds, torch.float64)
    noise = torch.randn(resolution, generator=torch.Generator().manual_seed(seed)).double()
    return base.with_values(3 * base.values + strength * noise)
