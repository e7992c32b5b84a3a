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
FINE_OCTAVES = ((0.5, 0.4), (0.2, 0.3), (0.09, 0.3))  # of fine paint
FINER = 0.0125  # edges of the triangles that carry that
OWN = 0.5  # of the amplitude of fine paint in single channels; the rest of it is grey
SEED = 0


def painted(
    mesh: trimesh.Trimesh, fine: bool = False
) -> tuple[trimesh.Trimesh, NDArray[np.float64]]:
    """The same surface in triangles small enough for the texture, and its colour at their corners.

    Args:
        mesh: the surface.
        fine: with texture as fine as stereo needs, much of it grey.

    Returns:
        The mesh, and `[V, 3]` albedo from `MIDDLE` − `SPREAD` to `MIDDLE` + `SPREAD`.
    """
    small = mesh.subdivide_to_size(FINER if fine else FINE, max_iter=12)
    assert isinstance(small, trimesh.Trimesh)  # not with indices too
    return small, fine_texture(small.vertices) if fine else solid_texture(small.vertices)


def solid_texture(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours at points in space: `[P, 3]` world units to `[P, 3]`."""
    random = np.random.default_rng(SEED)
    total = np.zeros((len(points), 3))
    for wavelength, amplitude in OCTAVES:
        for channel in range(3):
            for _ in range(WAVES):
                total[:, channel] += (
                    amplitude / math.sqrt(WAVES) * _wave(points, wavelength, random)
                )
    return MIDDLE + SPREAD * np.tanh(total)


def fine_texture(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same with shorter waves, in each channel and, stronger, in all of them alike."""
    random = np.random.default_rng(SEED)
    total = np.zeros((len(points), 3))
    for wavelength, amplitude in FINE_OCTAVES:
        size = amplitude / math.sqrt(WAVES)
        for channel in range(4):
            for _ in range(WAVES):
                wave = _wave(points, wavelength, random)
                if channel == 3:
                    total += size * wave[:, None]
                else:
                    total[:, channel] += OWN * size * wave
    return MIDDLE + SPREAD * np.tanh(total)


def _wave(
    points: NDArray[np.float64], wavelength: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """`[P]` a plane wave of amplitude 1, its direction and phase by lot."""
    direction = random.normal(size=3)
    direction *= 2 * math.pi / wavelength / np.linalg.norm(direction)
    wave: NDArray[np.float64] = np.sin(points @ direction + random.uniform(0, 2 * math.pi))
    return wave
