"""Meshes with colours of their own: a solid texture, so that no seam and no triangle shows."""

from __future__ import annotations

import math

import numpy as np
import trimesh
from numpy.typing import NDArray

OCTAVES = ((0.6, 0.5), (0.3, 0.3), (0.15, 0.2))  # wavelengths in world units, and amplitudes
WAVES = 4  # in random directions, of each octave
MIDDLE, SPREAD = 0.5, 0.35  # of the albedo
FINE = 0.03  # world units: edges of the triangles that carry it, at most
SEED = 0


def painted(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, NDArray[np.float64]]:
    """The same surface in triangles small enough for the texture, and its colour at their corners.

    Returns:
        The mesh, and `[V, 3]` albedo from `MIDDLE` − `SPREAD` to `MIDDLE` + `SPREAD`.
    """
    fine = mesh.subdivide_to_size(FINE)
    assert isinstance(fine, trimesh.Trimesh)  # not with indices too
    return fine, solid_texture(fine.vertices)


def solid_texture(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours at points in space: `[P, 3]` world units to `[P, 3]`."""
    random = np.random.default_rng(SEED)
    total = np.zeros((len(points), 3))
    for wavelength, amplitude in OCTAVES:
        for channel in range(3):
            for _ in range(WAVES):
                direction = random.normal(size=3)
                direction *= 2 * math.pi / wavelength / np.linalg.norm(direction)
                phase = random.uniform(0, 2 * math.pi)
                wave = np.sin(points @ direction + phase)
                total[:, channel] += amplitude / math.sqrt(WAVES) * wave
    return MIDDLE + SPREAD * np.tanh(total)
