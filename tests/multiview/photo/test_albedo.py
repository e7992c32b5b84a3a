"""Colours of a surface from what was seen of it: against dense linear algebra."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multiview.photo import albedo
from multiview.photo.albedo import WIDTH, solve_albedo
from sdfrender import Lattice

BOX = torch.tensor([[-1.0, -0.8, -0.9], [1.1, 0.8, 1.0]])
BALL = Lattice.sphere(0.5, (0.05, 0.0, -0.1), (9, 7, 8), BOX)
REST = torch.tensor([0.5, 0.25])


def seen(count: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Points of the ball, white light on them, colours."""
    random = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn((count, 3), generator=random), dim=-1)
    points = 0.5 * directions + torch.tensor((0.05, 0.0, -0.1))
    light = (0.5 + 0.5 * torch.rand((count, 1), generator=random)).expand(-1, 2)
    return points, light, torch.rand((count, 2), generator=random)


def solved(points: Tensor, light: Tensor, colors: Tensor, smoothness: float = 0.3) -> Tensor:
    start = torch.zeros(*BALL.resolution, 2)
    return solve_albedo(BALL, points, light, colors, smoothness, start, REST)


def test_it_is_the_minimum_of_the_energy() -> None:
    """Rows of the energy written out one by one, and solved densely."""
    points, light, colors = seen()
    near = (BALL.values / BALL.spacing.max()).abs() < WIDTH
    ids = near.flatten().nonzero()[:, 0].tolist()
    column = {vertex: n for n, vertex in enumerate(ids)}
    assert 1 < len(ids) < near.numel()
    basis = np.zeros((len(points), len(ids)))
    for vertex, n in column.items():
        unit = torch.zeros(near.numel())
        unit[vertex] = 1
        basis[:, n] = Lattice(unit.reshape(near.shape), BOX).sample(points)
    rows, values = list(light[:, :1].numpy() * basis), list(colors.numpy())
    X, Y, Z = BALL.resolution
    for axis, step in enumerate((Y * Z, Z, 1)):
        for vertex in ids:
            index = np.unravel_index(vertex, (X, Y, Z))
            if index[axis] + 1 < (X, Y, Z)[axis] and vertex + step in column:
                row = np.zeros(len(ids))
                row[column[vertex]], row[column[vertex + step]] = 0.3**0.5, -(0.3**0.5)
                rows.append(row)
                values.append(np.zeros(2))
    for n in range(len(ids)):
        row = np.zeros(len(ids))
        row[n] = albedo.PULL**0.5
        rows.append(row)
        values.append(albedo.PULL**0.5 * REST.numpy())
    expected, *_ = np.linalg.lstsq(np.stack(rows), np.stack(values), rcond=None)
    found = solved(points, light, colors).reshape(-1, 2)
    np.testing.assert_allclose(found[ids], expected, atol=5e-3)
    assert torch.equal(found[~near.flatten()], REST.expand(int((~near).sum()), -1))


def test_coloured_light_is_taken_out() -> None:
    points, light, _ = seen(400)
    tinted = light * torch.tensor([1.2, 0.8])
    paint = 0.3 + 0.2 * points[:, :1].expand(-1, 2)  # linear: the lattice can have it
    found = solved(points, tinted, paint * tinted, smoothness=1e-3)
    planes = [Lattice(found[..., c].contiguous(), BOX).sample(points) for c in range(2)]
    torch.testing.assert_close(torch.stack(planes, -1), paint, atol=0.02, rtol=0)


def test_what_the_dark_hides_is_not_made_up() -> None:
    points, light, colors = seen()
    dark = light.clone()
    dark[:30] = 0.001
    torch.testing.assert_close(
        solved(points, dark, colors), solved(points[30:], light[30:], colors[30:])
    )
    nobody = solved(points[:0], light[:0], colors[:0])
    assert torch.equal(nobody, REST.expand(*BALL.resolution, -1))


def test_a_channel_without_light_leaves_the_others_alone() -> None:
    points, light, colors = seen(400)
    found = solved(points, light * torch.tensor([1.0, 0.0]), colors * torch.tensor([1.0, 0.0]))
    alone = solved(points, light, colors)[..., 0]  # solved together, to the solver's tolerance
    torch.testing.assert_close(found[..., 0], alone, atol=2e-3, rtol=0)
    unlit = REST[1].expand(BALL.resolution)
    torch.testing.assert_close(found[..., 1], unlit, atol=5e-3, rtol=0)
    night = solved(points, 0 * light, 0 * colors)
    assert torch.equal(night, REST.expand(*BALL.resolution, -1))


def test_a_lattice_without_a_surface_gets_the_resting_colour() -> None:
    empty = Lattice(torch.full((4, 5, 6), 9.0), BOX)
    points, light, colors = seen()
    found = solve_albedo(empty, points, light, colors, 0.1, torch.zeros(4, 5, 6, 2), REST)
    assert torch.equal(found, REST.expand(4, 5, 6, -1))
