"""The shading model at observations, linear in the light and in the base colour."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from multiview.materials.observations import Observations
from sdfrender.materials.environment import HEIGHT, LEVELS, four_pixels, level_weights, lobe_matrix
from sdfrender.materials.microfacet import reflected
from sdfrender.materials.shading import PART, mirrored, open_at, transfer

Floats = NDArray[np.float32]
PIXELS = 2 * HEIGHT * HEIGHT  # of the environment


@dataclass(frozen=True, eq=False)
class Material:
    """What is solved for.

    Args:
        base_color: `[V, 3]`.
        roughness: `[V]`.
        radiance: `[PIXELS, 3]` of the environment.
    """

    base_color: Tensor
    roughness: Tensor
    radiance: Tensor


@dataclass(frozen=True, eq=False)
class Model:
    """V vertices with P observations; all that does not change while materials are solved for.

    Args:
        seen: `[V, K]` visibility.
        normals: `[V, 3]`.
        observations: P of them.
        specular: F₀ of what does not conduct.
        metallic: metalness.
    """

    seen: Tensor
    normals: Tensor
    observations: Observations
    specular: float
    metallic: float
    transfer: Tensor = field(init=False)  # [V, K] of radiance to E / π
    pixels: Tensor = field(init=False)  # [P, 4] of the environment around the mirrored direction
    shares: Tensor = field(init=False)  # [P, 4] their weights, times what is open
    cosine: Tensor = field(init=False)  # [P] n·v

    def __post_init__(self) -> None:
        parts = zip(torch.split(self.normals, PART), torch.split(self.seen, PART), strict=True)
        sets = {"transfer": torch.cat([transfer(n, s) for n, s in parts])}
        o = self.observations
        normals = self.normals[o.vertices]
        directions, cosine = mirrored(normals, o.to_eye)
        pixels, weights = four_pixels(directions, HEIGHT)
        open_ = open_at(directions, normals, self.seen, [(o.vertices, torch.ones_like(cosine))])
        sets |= {"pixels": pixels, "shares": weights * open_[:, None], "cosine": cosine}
        for name, value in sets.items():
            object.__setattr__(self, name, value)

    def even(self, radiance: Tensor) -> Tensor:
        """`[V, 3]` E / π."""
        return self.transfer @ radiance

    def mirror(self, filtered: Tensor) -> Tensor:
        """`[P, 3]` what a picture `[PIXELS, 3]` that is already filtered shows of itself."""
        found = torch.zeros(len(self.pixels), 3)
        for k in range(4):
            found = found + self.shares[:, k, None] * filtered[self.pixels[:, k]]
        return found

    def factors(self, base_color: Tensor, roughness: Tensor) -> Tensor:
        """`[P, 3]` A F₀ + B at the observations."""
        o = self.observations
        scale, bias = reflected(self.cosine, roughness[o.vertices])
        facing = (1 - self.metallic) * self.specular + self.metallic * base_color[o.vertices]
        return scale[:, None] * facing + bias[:, None]

    def levels(self, roughness: Tensor) -> sparse.csr_array:
        """`[P, L PIXELS]`: from all filtered pictures, flat, to what is mirrored."""
        levels, weights = level_weights(roughness[self.observations.vertices])
        columns = levels[:, :, None] * PIXELS + self.pixels[:, None, :]
        values = weights[:, :, None] * self.shares[:, None, :]
        P = len(self.pixels)
        starts = np.arange(P + 1) * 8
        shape = (P, len(LEVELS) * PIXELS)
        return sparse.csr_array(
            (values.reshape(-1).numpy(), columns.reshape(-1).numpy(), starts), shape=shape
        )

    def predict(self, material: Material) -> Tensor:
        """`[P, 3]` what the observations should be."""
        o = self.observations
        filtered = filter_all(material.radiance).numpy()
        mirror = torch.from_numpy(self.levels(material.roughness) @ filtered)
        even = self.even(material.radiance)
        paint = (1 - self.metallic) * (material.base_color * even)[o.vertices]
        return paint + self.factors(material.base_color, material.roughness) * mirror


@lru_cache(maxsize=1)
def filters() -> Floats:
    """`[L PIXELS, PIXELS]` from an environment to how each roughness of `LEVELS` mirrors it."""
    return np.concatenate([lobe_matrix(level, HEIGHT).numpy() for level in LEVELS])


def filter_all(radiance: Tensor) -> Tensor:
    """`[L PIXELS, 3]` the environment as each roughness of `LEVELS` mirrors it."""
    return torch.from_numpy(filters() @ radiance.numpy())
