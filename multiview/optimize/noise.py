"""Noise of the images, and how much smoothness it calls for.

Regularisation weighs what images say against what shapes are like, so it belongs to how far images
can be believed: its weight is that of clean images, plus a part in proportion to the variance that
noise has in the energy, σ² (p/h)², with p a pixel's width at the object and h the spacing.
"""

from __future__ import annotations

import torch
from torch.nn.functional import conv2d, max_pool2d

from multiview.optimize.energy import pixels_in_cells
from multiview.optimize.targets import Targets
from sdfrender import Lattice

# Immerkær 1996: a difference of two Laplacians, blind to what is linear along rows or columns.
KERNEL = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
GAUSSIAN = 1.4826  # standard deviations in a median absolute deviation
FEWEST = 100  # pixels that tell a noise
CLEAN = 0.01  # what edges, texture and 8 bits come to in images without any to speak of
DOUBLE = 0.03  # noise σ p/h at which smoothness counts twice


def image_noise(targets: Targets) -> float:
    """Standard deviation of the images' noise, estimated inside the silhouettes.

    By the median, which edges and texture hardly move as long as most of the surface is plain:
    photographs of a matte figure have .003. Zero where there is too little to tell.

    J. Immerkær, "Fast Noise Variance Estimation", CVIU 64(2), 1996, with the median of absolute
    values for their mean.
    """
    if min(targets.silhouettes.shape[1:]) < len(KERNEL):
        return 0.0
    inside = torch.minimum(targets.silhouettes, targets.image_weights) > 0.999
    near = -max_pool2d(-inside[:, None].float(), 3, 1)[:, 0] > 0.5  # (n, H - 2, W - 2): 3×3 inside
    if int(near.sum()) < FEWEST:
        return 0.0
    found = []
    for image, chosen in zip(targets.images, near, strict=True):
        differences = conv2d(image.permute(2, 0, 1)[:, None], KERNEL[None, None])[:, 0]
        found.append(differences[:, chosen].flatten())
    deviation = GAUSSIAN * torch.cat(found).abs().median()
    return float(deviation / KERNEL.norm())


def smoothness_under_noise(targets: Targets, lattice: Lattice) -> float:
    """By what the weight of smoothness grows: exactly 1 for clean images."""
    pixels = float(pixels_in_cells(lattice, targets).mean())
    variance = max(image_noise(targets) ** 2 - CLEAN**2, 0.0)
    return 1 + variance * (pixels / DOUBLE) ** 2
