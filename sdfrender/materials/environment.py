"""Light from all around, far away: a picture of radiance over longitude and latitude.

Row 0 is up (+y), the last row down; the middle column is −z, and columns go on towards +x. So
`.hdr` files of other programs with y up show what they should: direction `(sin φ sin θ, cos θ,
−cos φ sin θ)` is at row `θ / π · H` and column `(φ / 2π + ½) · W`.

What a rough surface reflects is the picture filtered by GGX's lobe, in advance, for a few
roughnesses (Karis 2013, "Real Shading in Unreal Engine 4"): with n = v = r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.formats.hdr import read_hdr, write_hdr
from sdfrender.files.images import area_average
from sdfrender.materials.microfacet import ggx

LEVELS = (0.1, 0.15, 0.2, 0.27, 0.35, 0.45, 0.57, 0.7, 0.85, 1.0)  # roughness of filtered pictures
SMOOTH, FINE = 0.4, 6  # below that roughness, so many samples per pixel side
HEIGHT = 24  # rows of a picture that is solved for or lit with; columns are twice as many


@dataclass(frozen=True, eq=False)
class Environment:
    """Radiance `[H, W, 3]`, linear, W = 2 H.

    Raises:
        ValueError: another shape.
    """

    radiance: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.radiance.shape)
        if len(shape) != 3 or shape[2] != 3 or shape[1] != 2 * shape[0] or shape[0] < 4:
            raise ValueError(f"radiance: need [H, 2 H, 3] with H of at least 4, got {shape}")

    @classmethod
    def load(cls, path: Path) -> Environment:
        """Read a `.hdr` file.

        Raises:
            InputError: not such a file, or a picture that is not twice as wide as high.
        """
        if path.suffix.lower() != ".hdr":
            raise InputError(f"{path}: need a light as a Radiance picture (.hdr)")
        picture = torch.from_numpy(read_hdr(path))
        H, W = picture.shape[:2]
        if W != 2 * H or H < 4:
            raise InputError(
                f"{path}: need a picture of all directions, twice as wide as high, got {W}×{H}"
            )
        return cls(picture)

    def save(self, path: Path) -> None:
        """Write a `.hdr` file."""
        write_hdr(path, self.radiance.detach().float().clamp(min=0).numpy())

    def resized(self, height: int) -> Environment:
        """Mean radiance over larger pixels, weighted by solid angle; unchanged if not smaller."""
        H = self.radiance.shape[0]
        if height >= H:
            return self
        weight = solid_angles(H).float()[:, None, None].expand(H, 2 * H, 1)
        planes = torch.cat((self.radiance.float() * weight, weight), -1)
        small = torch.from_numpy(area_average(planes.numpy(), 2 * height, height))
        return Environment(small[..., :3] / small[..., 3:])

    def filtered(self) -> Tensor:
        """`[L, H, W, 3]`: the picture as surfaces of the roughnesses `LEVELS` reflect it."""
        H, W = self.radiance.shape[:2]
        light = self.radiance.reshape(H * W, 3)
        levels = [lobe_matrix(level, H).to(light) @ light for level in LEVELS]
        return torch.stack(levels).reshape(len(LEVELS), H, W, 3)


def picture_directions(height: int) -> Tensor:
    """`[H, W, 3]` unit directions of the middles of pixels, float64."""
    theta = (torch.arange(height).double() + 0.5) * (math.pi / height)
    phi = (torch.arange(2 * height).double() + 0.5) * (math.pi / height) - math.pi
    theta, phi = torch.meshgrid(theta, phi, indexing="ij")
    flat = theta.sin()
    return torch.stack((phi.sin() * flat, theta.cos(), -phi.cos() * flat), -1)


def solid_angles(height: int) -> Tensor:
    """`[H]` solid angle of a pixel of each row, steradian, float64; all pixels together 4π."""
    edges = (torch.arange(height + 1).double() * (math.pi / height)).cos()
    return (edges[:-1] - edges[1:]) * (math.pi / height)


def picture_pixels(directions: Tensor, height: int) -> tuple[Tensor, Tensor]:
    """Where directions `[..., 3]` are in a picture: rows and columns, pixel centres at whole ones.

    Differentiable but at the poles.
    """
    x, y, z = directions.unbind(-1)
    flat = (x * x + z * z).clamp(min=1e-12).sqrt()
    theta, phi = torch.atan2(flat, y), torch.atan2(x, -z)
    row = theta * (height / math.pi) - 0.5
    column = (phi / (2 * math.pi) + 0.5) * (2 * height) - 0.5
    return row, column


def four_pixels(directions: Tensor, height: int) -> tuple[Tensor, Tensor]:
    """Pixels `[..., 4]` of a picture with `height` rows, flat, and their bilinear weights.

    Columns go round; the first and last row go on to the poles. The weights are differentiable.
    """
    row, column = picture_pixels(directions, height)
    row = row.clamp(0, height - 1)
    top = row.detach().floor().clamp(max=height - 2)
    left = column.detach().floor()
    down, right = row - top, column - left
    rows = torch.stack((top, top, top + 1, top + 1), -1).long()
    columns = torch.stack((left, left + 1, left, left + 1), -1).long() % (2 * height)
    weights = ((1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right)
    return rows * (2 * height) + columns, torch.stack(weights, -1)


def level_weights(roughness: Tensor) -> tuple[Tensor, Tensor]:
    """Levels `[..., 2]` on both sides of roughnesses `[...]`, and their linear weights."""
    levels = torch.tensor(LEVELS).to(roughness)
    inside = roughness.clamp(LEVELS[0], LEVELS[-1])
    upper = torch.searchsorted(levels, inside.detach().contiguous()).clamp(1, len(LEVELS) - 1)
    share = (inside - levels[upper - 1]) / (levels[upper] - levels[upper - 1])
    return torch.stack((upper - 1, upper), -1), torch.stack((1 - share, share), -1)


@lru_cache(maxsize=32)
def lobe_matrix(roughness: float, height: int) -> Tensor:
    """`[H W, H W]` float32 by which a surface of this roughness filters what it reflects.

    Row r has the weights `D(h·r) (r·l)` over directions l, h = (r + l) / |r + l|, whose sum is 1.
    D is averaged over the pixels of l, which may be wider than the lobe.
    """
    fine = FINE if roughness < SMOOTH else 2
    W = 2 * height
    at = picture_directions(height)[:, 0].float()  # of the first column: others are turned
    weight = solid_angles(height * fine).float().repeat_interleave(fine * W)
    away = picture_directions(height * fine).reshape(-1, 3).float()
    cosine = (at @ away.T).clamp(-1, 1)
    lobe = ggx(((1 + cosine) / 2).sqrt(), roughness) * cosine.clamp(min=0) * weight
    first = lobe.reshape(height, height, fine, W, fine).sum((2, 4))
    first = first / first.sum((1, 2), keepdim=True)
    column = torch.arange(W)
    turned = first[:, :, (column[None] - column[:, None]) % W]  # (H, H, W, W)
    return turned.transpose(1, 2).reshape(height * W, height * W).contiguous()
