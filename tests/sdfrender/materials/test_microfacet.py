"""The microfacet lobe and its split sum, against their limits and against direct sums."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sdfrender.materials.microfacet import TABLE, ggx, reflected, schlick, smith, split_sum
from sdfrender.view.lighting import spread

HALF = 60_000  # directions over the hemisphere


def light_directions() -> Tensor:
    """Directions of one hemisphere about +z, each for the same solid angle."""
    all_around = spread(2 * HALF)
    return all_around[all_around[:, 2] > 0]


def direct_sum(cosine: float, roughness: float, specular: float) -> float:
    """What a surface reflects of even light of radiance 1, by the integral as it is written."""
    light = light_directions()
    eye = torch.tensor([math.sqrt(1 - cosine**2), 0, cosine], dtype=torch.float64)
    half = torch.nn.functional.normalize(light + eye, dim=-1)
    lobe = ggx(half[:, 2], roughness) * smith(light[:, 2], roughness)
    lobe = lobe * smith(torch.tensor(cosine).double(), roughness) * schlick(half @ eye, specular)
    return float((lobe / (4 * cosine)).mean() * 2 * math.pi)


@pytest.mark.parametrize("roughness", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("cosine", [0.15, 0.6, 1.0])
def test_split_sums_are_the_integral(cosine: float, roughness: float) -> None:
    scale, bias = reflected(torch.tensor([cosine]), torch.tensor([roughness]))
    for specular in (0.04, 0.7):
        expected = direct_sum(cosine, roughness, specular)
        assert float(scale * specular + bias) == pytest.approx(expected, rel=0.02, abs=2e-3)


def test_normals_are_all_of_the_surface() -> None:
    normals = light_directions()
    for roughness in (0.25, 0.5, 1.0):
        total = (ggx(normals[:, 2], roughness) * normals[:, 2]).mean() * 2 * math.pi
        assert float(total) == pytest.approx(1, rel=1e-3)


def test_a_white_furnace_gives_no_light_and_keeps_it_where_smooth() -> None:
    total = split_sum().sum(-1)  # F₀ = 1
    assert total.shape == (TABLE, TABLE)
    assert float(total.max()) <= 1 + 1e-5
    assert float(total[5:, :5].min()) > 0.995  # nothing is hidden in a smooth surface
    assert float(total[-1, -1]) < 0.6  # what would be scattered twice is lost


def test_a_mirror_follows_schlick() -> None:
    cosine = torch.linspace(0.05, 1, 30)
    scale, bias = reflected(cosine, torch.full_like(cosine, 0.02))
    for specular in (0.04, 0.5, 1.0):
        expected = schlick(cosine, specular)
        torch.testing.assert_close(scale * specular + bias, expected, atol=4e-3, rtol=0)


def test_derivatives() -> None:
    generator = torch.Generator().manual_seed(2)
    cosine, roughness = (
        (0.1 + 0.8 * torch.rand(7, generator=generator, dtype=torch.float64)).requires_grad_()
        for _ in range(2)
    )
    assert torch.autograd.gradcheck(reflected, (cosine, roughness), eps=1e-7, atol=1e-5)
    assert torch.autograd.gradcheck(ggx, (cosine, roughness))
    assert torch.autograd.gradcheck(smith, (cosine, roughness))
