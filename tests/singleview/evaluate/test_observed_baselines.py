"""Alpha shapes of clouds and trilinear grids: against shapes that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay
from torch import Tensor

from sdfrender.meshes.metrics import occupancy_iou
from singleview.data.samples import HALF_PADDED_BOX, Samples
from singleview.evaluate.observed_baselines import (
    alpha_shape,
    entry_radii,
    radii_at,
    shares_at,
    triangle_radii,
    trilinear_grid,
)
from singleview.evaluate.occupancy_baselines import category_mean
from singleview.models.observations import Observer
from singleview.settings.choices import Input

RADII = (0.45, 0.6, 0.75)


def rings(count: int = 4000) -> Samples:
    """Tori about y: a hole that a convex hull would fill."""
    generator = torch.Generator().manual_seed(0)
    N = len(RADII)
    points = HALF_PADDED_BOX * (2 * torch.rand(N, count, 3, generator=generator) - 1)
    a, b = (2 * np.pi * torch.rand(N, count, generator=generator) for _ in range(2))
    outward = torch.stack((a.cos(), torch.zeros_like(a), a.sin()), -1)
    up = torch.tensor([0.0, 1.0, 0.0])
    normals = b.cos()[..., None] * outward + b.sin()[..., None] * up
    big = torch.tensor(RADII)[:, None, None]
    surface = (big - 0.15) * outward + 0.15 * normals
    inside = torch.stack([within(p, r) for p, r in zip(points, RADII, strict=True)])
    return Samples(
        tuple(f"ring/{r}" for r in RADII), ("train",) * N, points=points, near=points[:, :0],
        surface=surface, normals=normals, inside=inside, near_inside=inside[:, :0],
    )  # fmt: skip


def within(points: Tensor, radius: float) -> Tensor:
    around = points[:, [0, 2]].norm(dim=-1) - (radius - 0.15)
    return torch.hypot(around, points[:, 1]) < 0.15


def observer(kind: Input) -> Observer:
    return Observer(kind, rings(), None, 300, 0.0, 16)


def test_radii_of_triangles() -> None:
    equilateral = np.array([[0.0, 0, 0], [1, 0, 0], [0.5, 0.75**0.5, 0]])
    right = np.array([[0.0, 0, 0], [0, 3, 0], [0, 0, 4]])
    flat = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    found = triangle_radii(np.stack((equilateral, right, flat)))
    assert found.tolist() == pytest.approx([3**-0.5, 2.5, np.inf])


def test_a_ball_is_solid_although_only_its_surface_was_seen() -> None:
    """A ball as large as the gaps gets in nowhere, and a larger one not even to the middle."""
    rng = np.random.default_rng(0)
    shell = rng.standard_normal((400, 3))
    shell /= np.linalg.norm(shell, axis=-1, keepdims=True)
    cells = Delaunay(shell)
    radii = entry_radii(cells)
    assert (radii >= 0).all()
    assert radii[cells.find_simplex(np.zeros((1, 3)))[0]] < 0.4
    both = Delaunay(np.concatenate((shell, 3 + 0 * shell[:1])))  # a spike far away
    between = both.find_simplex(np.full((1, 3), 1.5))[0]
    assert entry_radii(both)[between] > 0.5


def test_an_alpha_shape_keeps_the_hole() -> None:
    seen = observer("points")
    method = alpha_shape(seen, seen, 4000)
    for n in range(len(RADII)):
        guess = method.guess(n, 0).inside
        assert float(occupancy_iou(guess, seen.samples.inside[n], axes=1)) > 0.7
    hull = radii_at(seen, 2, 0, seen.samples.points[2]) < np.inf
    assert float(occupancy_iou(hull, seen.samples.inside[2], axes=1)) < 0.6
    middle = torch.zeros(1, 3)
    assert float(radii_at(seen, 2, 0, middle)) > 0.3


def test_a_trilinear_grid_is_better_than_its_voxels() -> None:
    seen = observer("voxels")
    method = trilinear_grid(seen, seen, 4000)
    grid = seen.fixed(0)
    assert grid is not None
    steps = (torch.arange(16) + 0.5) / 16 * 2 * HALF_PADDED_BOX - HALF_PADDED_BOX
    middles = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    torch.testing.assert_close(shares_at(seen, 0, 0, middles), grid[0].flatten().float())
    true = seen.samples.inside[0]
    by_level = float(occupancy_iou(method.guess(0, 0).inside, true, axes=1))
    by_voxel = float(occupancy_iou(shares_at(seen, 0, 0, seen.samples.points[0]) > 0, true, axes=1))
    assert by_level > max(0.6, by_voxel)


def test_a_category_mean_on_a_grid_is_that_of_its_objects() -> None:
    """Against the shares of the stored points nearest to each point, object by object."""
    seen = observer("points")
    guess = category_mean(seen, seen, 4000).guess(1, 0).inside
    points = seen.samples.points[1]
    share = torch.stack([within(points, r) for r in RADII]).float().mean(0)
    scores = [float(occupancy_iou(guess, share > level, axes=1)) for level in (0.1, 0.4, 0.7, 0.9)]
    assert max(scores) > 0.75
