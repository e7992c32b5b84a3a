"""Noise of the images, and how much smoothness it calls for.

Regularisation weighs what images say against what shapes are like, so it belongs to how far images
can be believed: its weight is that of clean images, plus a part in proportion to the variance that
noise has in the energy, σ² (p/h)², with p a pixel's width at the object and h the spacing.
"""

from __future__ import annotations

from multiview.optimize.energy import pixels_in_cells
from multiview.photo.targets import Targets
from sdfrender import Lattice

CLEAN = 0.01  # what edges, texture and 8 bits come to in images without any to speak of
DOUBLE = 0.03  # noise σ p/h at which smoothness counts twice


def smoothness_under_noise(targets: Targets, lattice: Lattice) -> float:
    """By what the weight of smoothness grows: exactly 1 for clean images."""
    pixels = float(pixels_in_cells(lattice, targets).mean())
    variance = max(targets.noise**2 - CLEAN**2, 0.0)
    return 1 + variance * (pixels / DOUBLE) ** 2
