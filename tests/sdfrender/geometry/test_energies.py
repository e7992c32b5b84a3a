"""Regularisers: zero where they should be, and the right size elsewhere."""

from __future__ import annotations

import math

import pytest
import torch

import sdfrender as sr
from sdfrender.geometry import energies

BOUNDS = torch.tensor([[-1.0, -0.5, 0.0], [1.0, 1.5, 0.7]], dtype=torch.float64)


def linear(scale: float) -> sr.Lattice:
    normal = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3
    return sr.Lattice.from_function(
        lambda p: scale * (p @ normal - 0.1), (9, 14, 7), BOUNDS, torch.float64
    )


def test_a_plane_costs_nothing() -> None:
    assert float(energies.eikonal(linear(1.0))) < 1e-20
    assert float(energies.laplacian(linear(1.0))) < 1e-20


def test_eikonal_measures_the_slope() -> None:
    """(|∇φ|² − 1)/2 = 1.5 for slope 2, squared, at each of the 9·14·7 vertices."""
    expected = 1.5**2 * 9 * 14 * 7
    torch.testing.assert_close(energies.eikonal(linear(2.0), 1e9), torch.tensor(expected).double())


def test_laplacian_of_a_paraboloid() -> None:
    """Δ(x² + 2y² + 3z²) = 12 inside; a face vertex lacks the term across its face."""
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    lattice = sr.Lattice.from_function(
        lambda p: (p * p) @ weights, (5, 6, 4), BOUNDS, torch.float64
    )
    parts = []
    for n in (5, 6, 4):
        inner = torch.ones(n, dtype=torch.float64)
        inner[0] = inner[-1] = 0
        parts.append(inner)
    x, y, z = torch.meshgrid(*parts, indexing="ij")
    h = lattice.spacing.prod() ** (1 / 3)
    expected = ((h * (2 * x + 4 * y + 6 * z)) ** 2).sum()
    torch.testing.assert_close(energies.laplacian(lattice, 1e9), expected)


def test_the_band_chooses_vertices_and_does_not_touch_the_field() -> None:
    lattice = linear(1.0)
    band = energies.narrow_band(lattice, 1.5)
    assert torch.equal(band, lattice.values.abs() < 1.5 * lattice.spacing.max())
    assert 0 < int(band.sum()) < band.numel()
    # were the field multiplied by the band, the jump at its edge would cost a great deal
    assert float(energies.eikonal(lattice, 1.5)) < 1e-20
    assert float(energies.laplacian(lattice, 1.5)) < 1e-20


def test_one_number_per_lattice() -> None:
    batch = sr.Lattice(torch.stack([linear(1.0).values, linear(2.0).values]), BOUNDS)
    assert energies.eikonal(batch).shape == (2,)
    assert float(energies.laplacian(batch)[1]) < 1e-20


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1.5, math.inf])
@pytest.mark.parametrize("shape", [(9, 14, 7), (2, 3, 5), (3, 5, 4, 6), (1, 2, 3, 4)])
def test_one_sweep_gives_what_the_two_functions_give(
    shape: tuple[int, ...], width: float, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(3)
    noise = 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    found = []
    for parts in (
        lambda x: (energies.eikonal(x, width), energies.laplacian(x, width)),
        lambda x: energies.regularizers(x, width),
    ):
        values = noise.to(dtype).requires_grad_()
        first, second = parts(sr.Lattice(values, BOUNDS))
        each = torch.arange(1.0, first.numel() + 1, dtype=dtype).reshape(first.shape)
        (gradient,) = torch.autograd.grad((each * (0.3 * first - 2 * second)).sum(), values)
        found.append((first.detach(), second.detach(), gradient))
    rounding = 1e-12 if dtype == torch.float64 else 3e-5
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype == dtype
        scale = float(ours.abs().max())
        torch.testing.assert_close(ours, theirs, rtol=0, atol=rounding * scale)
