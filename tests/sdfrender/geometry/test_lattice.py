"""The lattice: sampling, gradients, resampling, constructors; and the solids it is made from."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from sdfrender.geometry.grid import grid_points, points_at
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.primitives import (
    SDF,
    box,
    capsule,
    difference,
    intersection,
    smooth_union,
    sphere,
    torus,
    union,
)
from sdfrender.geometry.trilinear import vertex_gradients

BOX = torch.tensor([[-1.0, 0.5, -3.0], [0.25, 2.0, 1.0]], dtype=torch.float64)  # no two sides equal


def random_lattice(
    seed: int, shape: tuple[int, ...] = (4, 5, 7), bounds: torch.Tensor = BOX
) -> Lattice:
    g = torch.Generator().manual_seed(seed)
    return Lattice(torch.randn(shape, generator=g, dtype=torch.float64), bounds)


def points_in(bounds: torch.Tensor, count: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    u = torch.rand(count, 3, generator=g, dtype=torch.float64)
    return bounds[0] + u * (bounds[1] - bounds[0])


# ---------------------------------------------------------------------- sampling


@settings(max_examples=30, deadline=None)
@given(
    resolution=st.tuples(*[st.integers(2, 6)] * 3),
    low=st.tuples(*[st.floats(-5, 5)] * 3),
    size=st.tuples(*[st.floats(0.1, 9)] * 3),
    seed=st.integers(0, 99),
)
def test_samples_at_the_vertices_are_the_values(
    resolution: tuple[int, int, int],
    low: tuple[float, float, float],
    size: tuple[float, float, float],
    seed: int,
) -> None:
    bounds = torch.tensor([low, [a + b for a, b in zip(low, size, strict=True)]]).double()
    lattice = random_lattice(seed, resolution, bounds)
    # Rounding of a position moves the sample by (slope ≤ 10 / spacing) × (1e-15 of the box).
    torch.testing.assert_close(lattice.sample(lattice.vertices), lattice.values, rtol=0, atol=1e-11)


def test_a_trilinear_field_is_reproduced_between_the_vertices() -> None:
    def field(p: torch.Tensor) -> torch.Tensor:
        x, y, z = p.unbind(-1)
        return 0.3 + 2 * x - y + 0.5 * z + x * y - 3 * x * y * z

    lattice = Lattice.from_function(field, (3, 4, 6), BOX, dtype=torch.float64)
    points = points_in(BOX, 200)
    torch.testing.assert_close(lattice.sample(points), field(points), rtol=0, atol=1e-13)


def test_the_gradient_of_a_linear_field_is_exact_everywhere() -> None:
    slope = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    lattice = Lattice.from_function(lambda p: p @ slope, (3, 4, 6), BOX, dtype=torch.float64)
    gradients = lattice.gradient(points_in(BOX, 200))
    torch.testing.assert_close(gradients, slope.expand(200, 3), rtol=0, atol=1e-12)


def test_the_gradient_is_the_central_difference_at_an_inner_vertex() -> None:
    lattice = random_lattice(0)
    v, h = lattice.values, lattice.spacing
    expected = torch.stack(
        [
            (v[3, 2, 3] - v[1, 2, 3]) / (2 * h[0]),
            (v[2, 3, 3] - v[2, 1, 3]) / (2 * h[1]),
            (v[2, 2, 4] - v[2, 2, 2]) / (2 * h[2]),
        ]
    )
    torch.testing.assert_close(lattice.gradient(lattice.vertices[2, 2, 3]), expected)


def test_the_normal_field_of_a_sphere_converges_at_second_order() -> None:
    points = points_in(BOX.new_tensor([[-0.7, -0.7, -0.7], [0.7, 0.7, 0.7]]), 500)
    points = points / points.norm(dim=-1, keepdim=True) * 0.5

    def worst(resolution: int) -> float:
        lattice = Lattice.sphere(0.5, resolution=resolution, dtype=torch.float64)
        return float((lattice.gradient(points) - points / 0.5).norm(dim=-1).max())

    assert worst(33) < 0.02
    assert worst(65) < worst(33) / 3.3  # a quarter, less the third-order term


def test_points_outside_take_the_nearest_value_of_the_box() -> None:
    lattice = random_lattice(1)
    far = points_in(BOX, 50) * 7 - 3
    near = torch.minimum(torch.maximum(far, BOX[0]), BOX[1])
    torch.testing.assert_close(lattice.sample(far), lattice.sample(near), rtol=0, atol=1e-12)


def test_sample_and_gradient_are_differentiable_in_values_and_points() -> None:
    points = points_in(BOX, 4, seed=3).requires_grad_()
    values = random_lattice(2).values.clone().requires_grad_()
    for method in (Lattice.sample, Lattice.gradient):
        assert torch.autograd.gradcheck(
            lambda v, p, m=method: m(Lattice(v, BOX), p), (values, points)
        )


def test_a_batch_is_its_lattices_one_by_one() -> None:
    singles = [random_lattice(s) for s in range(3)]
    batch = Lattice(torch.stack([x.values for x in singles]), BOX)
    points = torch.stack([points_in(BOX, 10, seed=s).reshape(2, 5, 3) for s in range(3)])
    assert batch.batch == 3
    assert batch.resolution == (4, 5, 7)
    sampled, gradients = batch.sample(points), batch.gradient(points)
    resampled = batch.resample((6, 3, 5)).values
    for b, lattice in enumerate(singles):
        assert torch.equal(sampled[b], lattice.sample(points[b]))
        assert torch.equal(gradients[b], lattice.gradient(points[b]))
        assert torch.equal(resampled[b], lattice.resample((6, 3, 5)).values)


def test_gradients_at_the_faces_are_one_sided() -> None:
    lattice = random_lattice(4)
    g = vertex_gradients(lattice.values, lattice.spacing)
    v, h = lattice.values, lattice.spacing
    torch.testing.assert_close(g[0, 1, 1, 0], (v[1, 1, 1] - v[0, 1, 1]) / h[0])
    torch.testing.assert_close(g[1, 1, -1, 2], (v[1, 1, -1] - v[1, 1, -2]) / h[2])


# ---------------------------------------------------------------------- grids


def test_vertices_run_from_corner_to_corner_with_x_first() -> None:
    lattice = random_lattice(0)
    assert lattice.vertices.shape == (4, 5, 7, 3)
    assert torch.equal(lattice.vertices[0, 0, 0], BOX[0])
    assert torch.equal(lattice.vertices[-1, -1, -1], BOX[1])
    step = lattice.vertices[2, 3, 4] - lattice.vertices[1, 1, 1]
    torch.testing.assert_close(step, lattice.spacing * torch.tensor([1.0, 2.0, 3.0]).double())
    torch.testing.assert_close(
        lattice.to_index(lattice.vertices[1, 2, 3]), torch.tensor([1.0, 2.0, 3.0]).double()
    )


def test_resampling_to_a_multiple_keeps_the_old_samples() -> None:
    lattice = random_lattice(5)
    X, Y, Z = lattice.resolution
    fine = lattice.resample((2 * X - 1, 3 * Y - 2, 2 * Z - 1))
    torch.testing.assert_close(fine.values[::2, ::3, ::2], lattice.values, rtol=0, atol=1e-13)
    points = points_in(BOX, 100)
    torch.testing.assert_close(fine.sample(points), lattice.sample(points), rtol=0, atol=1e-12)


def test_one_number_is_the_resolution_of_the_longest_side() -> None:
    lattice = Lattice.sphere(0.3, resolution=17, bounds=[[0, 0, 0], [1, 2, 4]])
    assert lattice.resolution == (5, 9, 17)
    torch.testing.assert_close(lattice.spacing, torch.full((3,), 0.25))


def test_the_worked_value_of_the_class() -> None:
    assert float(Lattice.sphere(0.5, resolution=65).sample(torch.zeros(3))) == -0.5


def test_with_values_and_to_keep_the_box() -> None:
    lattice = random_lattice(0)
    assert torch.equal(lattice.with_values(torch.zeros(2, 2, 2).double()).bounds, BOX)
    moved = lattice.to(torch.float32)
    assert moved.values.dtype == moved.bounds.dtype == torch.float32


@pytest.mark.parametrize(
    ("values", "bounds", "error", "words"),
    [
        (torch.zeros(2, 2), BOX, ValueError, "at least 2 samples"),
        (torch.zeros(2, 1, 2), BOX, ValueError, "at least 2 samples"),
        (torch.zeros(2, 2, 2, dtype=torch.int32), BOX, TypeError, "floating-point"),
        (torch.full((2, 2, 2), math.nan), BOX, ValueError, "finite"),
        (torch.full((2, 2, 2), math.inf), BOX, ValueError, "finite"),
        (torch.zeros(2, 2, 2), BOX.flip(0), ValueError, "max > min"),
        (torch.zeros(2, 2, 2), BOX * math.nan, ValueError, "max > min"),
        (torch.zeros(2, 2, 2), BOX[:1], ValueError, "max > min"),
    ],
)
def test_bad_lattices_are_refused(
    values: torch.Tensor, bounds: torch.Tensor, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Lattice(values, bounds)


def test_bad_points_and_resolutions_are_refused() -> None:
    lattice = random_lattice(0)
    with pytest.raises(ValueError, match=r"points: need \[\.\.\., 3\], got \(5, 2\)"):
        lattice.sample(torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"points: need \[2, \.\.\., 3\]"):
        Lattice(torch.zeros(2, 3, 3, 3), BOX).sample(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="resolution"):
        lattice.resample(1)
    with pytest.raises(ValueError, match="resolution"):
        lattice.resample((4, 4))


# ---------------------------------------------------------------------- primitives

P = points_in(torch.tensor([[-1.0, -1, -1], [1, 1, 1]]).double(), 2000, seed=9)
SOLIDS = {
    "sphere": sphere(0.4, (0.1, 0.0, -0.2)),
    "box": box((0.3, 0.5, 0.2), (0.0, 0.1, 0.0)),
    "torus": torus(0.5, 0.2),
    "capsule": capsule((-0.4, 0.0, 0.1), (0.3, 0.5, 0.0), 0.2),
}


@pytest.mark.parametrize("solid", SOLIDS.values(), ids=SOLIDS)
def test_a_primitive_is_an_exact_distance(solid: SDF) -> None:
    points = P.clone().requires_grad_()
    distances = solid(points)
    (slopes,) = torch.autograd.grad(distances.sum(), points)
    torch.testing.assert_close(slopes.norm(dim=-1), torch.ones(len(P)).double())
    # Going back along the gradient by the distance lands on the surface; outside no nearer point
    # exists than that, and the field is a distance there.
    outside = distances > 0
    foot = (points - slopes * distances[:, None]).detach()[outside]
    torch.testing.assert_close(solid(foot), torch.zeros(len(foot)).double(), rtol=0, atol=1e-9)


def test_known_distances() -> None:
    origin = torch.zeros(3)
    assert float(sphere(0.4)(origin)) == pytest.approx(-0.4)
    assert float(box((0.3, 0.5, 0.2))(origin)) == pytest.approx(-0.2)
    assert float(torus(0.5, 0.2)(origin)) == pytest.approx(0.3)
    assert float(torus(0.5, 0.2)(torch.tensor([0.0, 0.0, 0.5]))) == pytest.approx(-0.2)
    assert float(capsule((0, 0, 0), (1, 0, 0), 0.1)(torch.tensor([2.0, 0, 0]))) == pytest.approx(
        0.9
    )


def test_combinations_are_those_of_sets() -> None:
    a, b = SOLIDS["sphere"], SOLIDS["box"]
    in_a, in_b = a(P) < 0, b(P) < 0
    assert torch.equal(union(a, b)(P) < 0, in_a | in_b)
    assert torch.equal(intersection(a, b)(P) < 0, in_a & in_b)
    assert torch.equal(difference(a, b)(P) < 0, in_a & (b(P) > 0))
    blend = smooth_union(a, b, 0.1)(P)
    assert bool((blend <= union(a, b)(P)).all())
    assert bool((blend >= union(a, b)(P) - 0.025).all())  # at most a quarter of the radius


def test_grid_points_are_computed_in_double() -> None:
    bounds = torch.tensor([[0.0, 0.0, 0.0], [0.7, 0.7, 0.7]])
    grid = grid_points((71, 2, 2), bounds)[:, 0, 0, 0]
    assert torch.equal(grid, (torch.arange(71).double() * float(bounds[1, 0]) / 70).float())


def test_a_lattice_at_its_own_resolution_is_itself() -> None:
    lattice = Lattice.sphere(0.5, resolution=(5, 6, 7))
    assert lattice.resample((5, 6, 7)) is lattice


def test_some_vertices_are_where_all_are() -> None:
    for dtype in (torch.float32, torch.float64):
        lattice = Lattice.sphere(0.5, resolution=(5, 6, 7), dtype=dtype)
        index = np.unravel_index([0, 17, 209], lattice.resolution)
        found = points_at(index, lattice.resolution, lattice.bounds)
        assert torch.equal(found, lattice.vertices[index])
