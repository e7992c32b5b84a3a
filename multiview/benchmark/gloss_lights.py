"""The lights of shiny meshes: one that they are photographed in, others to predict them in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdfrender.materials.environment import picture_directions

Floats = NDArray[np.float64]

LAMP_DIRECTIONS = 24  # per lamp
PICTURE = 256  # rows of the picture of a light


@dataclass(frozen=True, eq=False)
class GlossLight:
    """A sky of wide lobes, and lamps: discs far away.

    Args:
        lobes: `[S, 7]` direction, κ and radiance: `radiance · exp(κ (d·direction − 1))`.
        lamps: `[M, 7]` direction, radius in radians and radiance.
    """

    lobes: Floats
    lamps: Floats

    @classmethod
    def of(cls, lobes: list[tuple[float, ...]], lamps: list[tuple[float, ...]]) -> GlossLight:
        """From rows whose directions need not be unit."""
        rows = [np.array(x, np.float64).reshape(-1, 7) for x in (lobes, lamps)]
        for array in rows:
            array[:, :3] /= np.linalg.norm(array[:, :3], axis=1, keepdims=True)
        return cls(*rows)

    def scaled(self, factor: float) -> GlossLight:
        """Brighter by a factor."""
        lobes, lamps = self.lobes.copy(), self.lamps.copy()
        lobes[:, 4:] *= factor
        lamps[:, 4:] *= factor
        return GlossLight(lobes, lamps)

    def sky(self, directions: Floats) -> Floats:
        """Radiance `[..., 3]` of the sky without lamps from unit directions `[..., 3]`."""
        power = self.lobes[:, 3] * (directions @ self.lobes[:, :3].T - 1)
        radiance: Floats = np.exp(power) @ self.lobes[:, 4:]
        return radiance

    def picture(self, height: int = PICTURE) -> Floats:
        """Radiance `[height, 2 height, 3]` all around, as `sdfrender.materials` lays it out."""
        return self.radiance(picture_directions(height).double().numpy())

    def radiance(self, directions: Floats) -> Floats:
        """The same with lamps."""
        out = self.sky(directions)
        for lamp in self.lamps:
            out = out + (directions @ lamp[:3] > math.cos(lamp[3]))[..., None] * lamp[4:]
        return out


LIGHT = GlossLight.of(
    [
        (0, 1, 0, 0.0, 0.16, 0.17, 0.19),
        (0.1, 1, 0.2, 1.5, 0.45, 0.5, 0.6),
        (-1, 0.3, 0.6, 6.0, 0.5, 0.4, 0.3),
        (0.7, -0.5, 0.5, 4.0, 0.25, 0.28, 0.25),
    ],
    [
        (0.3, 0.8, 0.5, 0.12, 22, 20, 17),
        (-0.7, 0.2, -0.4, 0.1, 14, 15, 18),
        (0.8, -0.1, -0.5, 0.14, 7, 6.5, 6),
        (-0.2, -0.7, 0.7, 0.14, 5, 5.5, 6),
    ],
)
HELD_OUT_LIGHTS = {
    "window": GlossLight.of(
        [
            (0, 1, 0, 0.0, 0.2, 0.2, 0.2),
            (-1, 0.4, 0.1, 5.0, 1.5, 1.5, 1.7),
            (1, 0.5, -0.6, 3.0, 0.3, 0.25, 0.2),
        ],
        [(-0.4, 0.5, 0.9, 0.12, 16, 16, 16)],
    ),
    "evening": GlossLight.of(
        [(0, -1, 0, 0.5, 0.15, 0.12, 0.12), (0, 1, -1, 1.0, 0.35, 0.4, 0.6)],
        [(0.9, 0.3, 0.3, 0.1, 30, 20, 12), (-0.6, 0.6, -0.5, 0.16, 6, 8, 12)],
    ),
}


def lamp_directions(light: GlossLight) -> tuple[Floats, Floats]:
    """Directions `[M, Q, 3]` spread over each lamp, and radiance times solid angle `[M, 3]`."""
    q = np.arange(LAMP_DIRECTIONS)
    angle = q * math.pi * (3 - math.sqrt(5))
    directions = np.zeros((len(light.lamps), LAMP_DIRECTIONS, 3))
    strength = np.zeros((len(light.lamps), 3))
    for m, lamp in enumerate(light.lamps):
        axis = lamp[:3]
        side = np.cross(axis, (1.0, 0, 0) if abs(axis[0]) < 0.7 else (0, 1.0, 0))
        side /= np.linalg.norm(side)
        up = np.cross(axis, side)
        cosine = 1 - (1 - math.cos(lamp[3])) * (q + 0.5) / LAMP_DIRECTIONS
        sine = np.sqrt(1 - cosine**2)
        around = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * up
        directions[m] = cosine[:, None] * axis + sine[:, None] * around
        solid = 2 * math.pi * (1 - math.cos(lamp[3]))
        strength[m] = lamp[4:] * solid / LAMP_DIRECTIONS
    return directions, strength
