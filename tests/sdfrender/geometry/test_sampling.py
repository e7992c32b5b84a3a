"""torch's fused kernel gives what our gathers give, with its first and second derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdfrender.geometry.sampling import sample, sample_where, to_where
from sdfrender.geometry.trilinear import interpolate

RESOLUTION = (4, 6, 5)


def problem(batch: int, points: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    field = torch.randn(batch, *RESOLUTION, 2, generator=generator, dtype=torch.float64)
    # also outside of the box, where both clamp
    index = torch.rand(points, 3, generator=generator, dtype=torch.float64) * 8 - 1
    ids = torch.randint(batch, (points,), generator=generator)
    return field.requires_grad_(), index.requires_grad_(), ids


@pytest.mark.parametrize("batch", [1, 3])
def test_values_and_derivatives_are_those_of_interpolate(batch: int) -> None:
    field, index, ids = problem(batch)
    fused, gathered = sample(field, index, ids), interpolate(field, index, ids)
    torch.testing.assert_close(fused, gathered)
    v = torch.randn_like(fused)
    for ours, theirs in zip(
        torch.autograd.grad(fused, (field, index), v),
        torch.autograd.grad(gathered, (field, index), v),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("batch", [1, 2])
def test_second_derivatives(batch: int) -> None:
    field, index, ids = problem(batch, points=6)
    index = (index.detach() * 0.4 + 0.7).requires_grad_()  # inside, away from the faces of cells
    check = torch.autograd.gradgradcheck
    assert check(lambda f, x: sample(f, x, ids), (field, index))


def test_many_points_in_parallel_parts() -> None:
    # enough for several parts, and a number of points that they do not divide
    points = 6 * 4 * 6 * 5 * 40 + 1
    field, index, ids = problem(1, points)
    threads = torch.get_num_threads()
    results = []
    for n in (1, 3):
        torch.set_num_threads(n)
        try:
            out = sample(field, index, ids)
            results.append((out, *torch.autograd.grad(out.square().sum(), (field, index))))
        finally:
            torch.set_num_threads(threads)
    for one, three in zip(*results, strict=True):
        torch.testing.assert_close(one, three)


def test_differences_of_positions() -> None:
    field, index, _ = problem(1)
    step = torch.tensor([[0.3, -0.2, 0.1]], dtype=torch.float64)
    moved = to_where(index, RESOLUTION) + to_where(step, RESOLUTION, origin=0)
    expected = interpolate(field[0], index + step)
    torch.testing.assert_close(sample_where(field[0], moved), expected)
