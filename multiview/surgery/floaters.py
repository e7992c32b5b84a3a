"""Take out what no photograph asked for: debris outside the object and bubbles inside it."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from sdfrender import Lattice

FACES = ndimage.generate_binary_structure(3, 1)


def remove_floaters(lattice: Lattice, fraction: float = 0.02) -> Lattice:
    """Keep the bodies with at least `fraction` of the largest one's volume, and fill hidden voids.

    A body is a face-connected set of vertices inside the surface. A void is a set of vertices
    outside it from which the faces of the box cannot be reached; no camera outside sees it.
    Not differentiable. The surface of what is kept does not move.

    Args:
        lattice: one lattice.
        fraction: of the largest body's number of vertices.
    """
    values = lattice.values.detach()
    inside = (values < 0).cpu().numpy()
    bodies, count = ndimage.label(inside, FACES)
    sizes = np.bincount(bodies.ravel(), minlength=count + 1)
    sizes[0] = 0
    debris = inside & (sizes < fraction * sizes.max())[bodies]
    voids = ndimage.binary_fill_holes(inside, FACES) & ~inside
    if not debris.any() and not voids.any():
        return lattice
    cell = float(lattice.spacing.max())
    gone, filled = (torch.from_numpy(m).to(values.device) for m in (debris, voids))
    values = torch.where(gone, values.abs().clamp(min=cell), values)
    values = torch.where(filled, -values.abs().clamp(min=cell), values)
    return lattice.with_values(values).redistance()
