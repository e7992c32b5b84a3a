"""A learned family as a prior: derivatives, the search, and fits with it."""

import math

import pytest
import torch

from multiview.prior.placed_shape import PLACEMENT, PlacedShape, Placement
from multiview.prior.search import upright
from sdfrender.latent_field import FieldShape, LatentField

BOUNDS = torch.tensor([[2.0, -1.0, -3.0], [5.0, 1.5, 0.0]])


def placement(dtype: torch.dtype = torch.float32) -> Placement:
    """Turned about all axes, scaled, moved."""
    start = Placement(torch.eye(3), torch.tensor(1.0), torch.zeros(3))
    step = torch.tensor([0.3, -0.8, 0.2, math.log(1.7), 2.0, 0.1, -0.9])
    placed = start.moved(step)
    return Placement(*(x.to(dtype) for x in vars(placed).values()))


def test_the_derivative_of_a_placed_shape() -> None:
    """In code and placement, against central differences in float64."""
    codes = torch.randn(2, 5)
    decoder = LatentField(FieldShape(code=5, width=16, layers=4, octaves=2), "ab", codes).double()
    decoder.requires_grad_(False)
    shape = PlacedShape(decoder, codes[0].double(), placement(torch.float64))
    points = BOUNDS[0] + torch.rand(40, 3).double() * (BOUNDS[1] - BOUNDS[0])
    D = shape.derivative(points)
    assert D.shape == (40, 5 + PLACEMENT)
    eps = 1e-6
    for k in range(5 + PLACEMENT):
        step = torch.zeros(5 + PLACEMENT).double()
        step[k] = eps
        numeric = (shape.moved(step)(points) - shape.moved(-step)(points)) / (2 * eps)
        assert float((D[:, k] - numeric).abs().max()) < 1e-7 * float(1 + numeric.abs().max()), k


def test_canonical_and_back() -> None:
    placed = placement()
    p = torch.rand(9, 3)
    world = placed.scale * p @ placed.rotation.T + placed.center
    assert torch.allclose(placed.to_canonical(world), p, atol=1e-5)
    again = Placement.from_description(placed.description())
    for name, value in vars(placed).items():
        assert torch.equal(getattr(again, name), value), name


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_upright_stands_on_the_axis(up: str) -> None:
    R = upright(up, 0.7)  # type: ignore[arg-type]
    want = torch.zeros(3)
    want["xyz".index(up[-1])] = -1.0 if up[0] == "-" else 1.0
    assert torch.allclose(R @ torch.tensor([0.0, 1.0, 0.0]), want, atol=1e-6)
    assert torch.allclose(R @ R.T, torch.eye(3), atol=1e-6)
    assert float(torch.linalg.det(R)) == pytest.approx(1)
