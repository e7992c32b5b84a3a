"""Light sources, and the diffuse shading of a surface point under them.

Everything is linear in the light: `shade` returns the irradiance factor that multiplies albedo.
All tensors may require grad.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sdfrender.equality import EqualByValue
from sdfrender.magnitude import LARGEST, SMALLEST, needed, usable

Intensity = float | Tensor  # a number, or [C] per colour channel


@dataclass(frozen=True, eq=False)
class Headlight(EqualByValue):
    """A point light at the eye: `intensity · max(0, n·v)`, `v` towards the eye.

    With `falloff` it is divided by the squared distance from eye to point (SDFDiff's light is
    `Headlight(10.0, falloff=True)`).

    Raises:
        ValueError: an intensity that is not a finite number or finite `[C]`.
    """

    intensity: Intensity = 1.0
    falloff: bool = False

    def __post_init__(self) -> None:
        _check_intensity("intensity", self.intensity)


@dataclass(frozen=True, eq=False)
class Directional(EqualByValue):
    """A light at infinity: `intensity · max(0, n·l)` with `l` = `to_light`, normalised here.

    Raises:
        ValueError: `to_light` is not three finite numbers of a length that can be normalised, or
            an intensity is not a finite number or finite `[C]`.
    """

    to_light: Tensor | Sequence[float]
    intensity: Intensity = 1.0

    def __post_init__(self) -> None:
        to_light = _numbers("to_light", self.to_light, "a direction of three finite numbers")
        length = float(to_light.norm())
        if to_light.shape != (3,) or not math.isfinite(length):
            raise ValueError(
                f"to_light: need a direction of three finite numbers, got {self.to_light}"
            )
        if not SMALLEST <= length <= LARGEST:
            raise ValueError(
                f"to_light: need a direction of a length from {SMALLEST:g} to {LARGEST:g}, "
                f"got {self.to_light}"
            )
        _check_intensity("intensity", self.intensity)


@dataclass(frozen=True, eq=False)
class Lighting(EqualByValue):
    """A sum of lights in the world frame.

    Args:
        ambient: constant term, a number or `[C]`.
        headlight: light at each camera, or None.
        directional: lights at infinity.
        sh: `[9]` or `[9, C]` coefficients of the basis `sh_basis` of the unit normal, or None;
            `[N, 9, C]` for a light that is another one for each of N cameras. The sum is not
            clamped, so that it stays linear in the coefficients.

    Raises:
        ValueError: numbers that are not finite, or a shape that does not fit.

    Worked value: `Lighting(ambient=0.2, headlight=Headlight(0.8))` gives 1.0 where the surface
    faces the eye and 0.2 where it is seen edge-on.
    """

    ambient: Intensity = 0.0
    headlight: Headlight | None = field(default_factory=Headlight)
    directional: Sequence[Directional] = ()
    sh: Tensor | None = None

    def __post_init__(self) -> None:
        _check_intensity("ambient", self.ambient)
        if self.sh is not None:
            shape = tuple(self.sh.shape)
            if (shape[-2:-1] != (9,) and shape != (9,)) or len(shape) > 3:
                raise ValueError(f"sh: need [9], [9, C] or [N, 9, C] coefficients, got {shape}")
            if not bool(torch.isfinite(self.sh.detach()).all()):
                raise ValueError(f"sh: need finite coefficients, got {self.sh.detach()}")
            if not usable(self.sh):
                raise ValueError(f"sh: need {needed(self.sh)}")

    @property
    def varies(self) -> bool:
        """Whether it is another light for each camera."""
        return self.sh is not None and self.sh.ndim == 3

    def check_views(self, count: int) -> None:
        """Raise ValueError unless there is a light for each of so many cameras."""
        if self.sh is not None and self.varies and len(self.sh) != count:
            raise ValueError(f"lighting: need sh for {count} cameras, got that of {len(self.sh)}")

    def for_view(self, n: int) -> Lighting:
        """The light of camera n."""
        return replace(self, sh=self.sh[n]) if self.sh is not None and self.varies else self

    @property
    def num_channels(self) -> int:
        """1, or as many as the colours of its lights have."""
        up = torch.tensor([[0.0, 0.0, 1.0]])
        return self.for_view(0).shade(up, up, torch.ones(1)).shape[-1]

    def shade(
        self, normals: Tensor, to_eye: Tensor, distances: Tensor, views: Tensor | None = None
    ) -> Tensor:
        """Irradiance at surface points (without albedo).

        Args:
            normals: `[P, 3]` unit, world frame.
            to_eye: `[P, 3]` unit directions from the points to the eye.
            distances: `[P]` from the eye to the points, world units.
            views: `[P]` which camera sees each; needed for a light that varies.

        Returns:
            `[P, C]`, C = 1 unless some light has a colour. Differentiable in every argument and in
            the light, except where a facing term is clamped at zero.
        """
        total = channels(self.ambient, normals).expand(len(normals), -1)
        if self.headlight is not None:
            facing = (normals * to_eye).sum(-1, keepdim=True).clamp(min=0)
            if self.headlight.falloff:
                facing = facing / distances[:, None] ** 2
            total = total + facing * channels(self.headlight.intensity, normals)
        for light in self.directional:
            to_light = torch.as_tensor(light.to_light).to(normals)
            facing = (normals @ (to_light / to_light.norm())).clamp(min=0)
            total = total + facing[:, None] * channels(light.intensity, normals)
        if self.sh is not None and self.varies:
            if views is None:
                raise ValueError("views: need the camera of each point, the light varies")
            each = self.sh.to(normals)[views]  # (P, 9, C)
            total = total + torch.einsum("pk,pkc->pc", sh_basis(normals), each)
        elif self.sh is not None:
            total = total + sh_basis(normals) @ self.sh.to(normals).reshape(9, -1)
        return total


def sh_basis(n: Tensor) -> Tensor:
    """Real spherical harmonics to order 2 of unit vectors `[..., 3]`: `[..., 9]`.

    Order: 1; y, z, x; xy, yz, 3z²−1, xz, x²−y², each with its orthonormal factor (Ramamoorthi and
    Hanrahan 2001, equation 3).
    """
    x, y, z = n.unbind(-1)
    a, b, c, d = (math.sqrt(k / math.pi) for k in (1 / 4, 3 / 4, 15 / 4, 5 / 16))
    one = torch.ones_like(x)
    linear = [b * y, b * z, b * x]
    quadratic = [c * x * y, c * y * z, d * (3 * z * z - 1), c * x * z, c / 2 * (x * x - y * y)]
    return torch.stack([a * one, *linear, *quadratic], -1)


def turned_sh(sh: Tensor, rotations: Tensor) -> Tensor:
    """Coefficients `[N, 9, C]` of a light `[9, C]` that is turned as `rotations` `[N, 3, 3]` say.

    What it does to a normal n is what it did to `Rᵀ n`. Differentiable in both.

    Worked value: turned by the rotations of cameras (`cameras.c2w[:, :3, :3]`), a light in their
    frame (x right, y down, z forward) is one in the world's.
    """
    n = spread(18).to(sh)  # more than enough to tell nine harmonics apart
    turned = sh_basis(torch.einsum("pi,nij->npj", n, rotations.to(sh))) @ sh  # at n
    coefficients: Tensor = torch.linalg.pinv(sh_basis(n)) @ turned
    return coefficients


def spread(count: int) -> Tensor:
    """Unit vectors `[count, 3]` all around: a spiral of even steps in z."""
    k = torch.arange(count, dtype=torch.float64)
    z = 1 - (2 * k + 1) / count
    turn = math.pi * (3 - math.sqrt(5)) * k
    r = (1 - z * z).sqrt()
    return torch.stack((r * turn.cos(), r * turn.sin(), z), -1)


def _check_intensity(name: str, intensity: Intensity) -> None:
    """Raise ValueError unless it is a finite number, or finite `[C]`."""
    rule = "a finite number, or one for each channel"
    numbers = _numbers(name, intensity, rule)
    if numbers.ndim > 1 or not numbers.numel() or not bool(torch.isfinite(numbers).all()):
        raise ValueError(f"{name}: need {rule}, got {intensity}")
    if not usable(numbers):
        raise ValueError(f"{name}: need {needed(numbers)}")


def _numbers(name: str, given: Tensor | Sequence[float] | float, rule: str) -> Tensor:
    """What was given as a floating-point tensor, without derivatives."""
    if isinstance(given, Tensor):
        return given.detach() if given.is_floating_point() else given.float()
    try:
        return torch.as_tensor(given, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name}: need {rule}, got {given!r}") from None


def channels(intensity: Intensity, like: Tensor) -> Tensor:
    """A number or `[C]` as a `[1, C]` tensor of the dtype and device of `like`."""
    return torch.as_tensor(intensity).to(like).reshape(1, -1)


STUDIO = Lighting(headlight=Headlight(0.7), directional=(Directional((0.3, 0.8, 0.5), 0.3),))
"""The light of synthetic pictures: soft from the camera, and some from the upper right.

Chosen such that white surfaces stay at most 1. Stored data sets and trained networks rest on it.
"""
