"""Gauss-Newton: its matrices, its gradient and its steps against dense twins; what fits become."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import tiny
import torch
from newton_problems import (
    BAND,
    LIGHTS,
    RESOLUTION,
    SHAPES,
    WEIGHTS,
    ball,
    photographs,
    ring_of,
)
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.functional import jacobian

from multiview.optimize.band import Band
from multiview.optimize.energy import (
    CLEAN,
    EnergyTerms,
    carve_points,
    cauchy,
    cauchy_weights,
    energy,
    highlight_levels,
    robust,
    robust_weights,
    usual_residuals,
)
from multiview.optimize.gauss_newton import GaussNewton
from multiview.optimize.normal_equations import LeastSquares
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.recipes import AdamRecipe, Level, NewtonLevel, NewtonRecipe, Recipe, Weights
from sdfrender import Headlight, Lattice, Lighting, extract_mesh, load_mesh, metrics, render
from sdfrender.geometry import energies
from sdfrender.geometry.trilinear import vertex_gradients

Doubles = NDArray[np.float64]


def problem(
    shape: str, light: str, huber: float = math.inf
) -> tuple[Lattice, Targets, Appearance, Weights]:
    """What `LeastSquares` is made of, but for the width of its band."""
    look = LIGHTS[light]()
    weights = replace(WEIGHTS, huber=huber, mask_huber=huber)
    return SHAPES[shape](), photographs(look), look, weights


def half_gradient(
    lattice: Lattice, targets: Targets, look: Appearance, weights: Weights
) -> tuple[Tensor, EnergyTerms]:
    """Half the derivative of the energy in the lattice's values in cells, and the terms."""
    cell = float(lattice.spacing.max())
    values = (lattice.values / cell).requires_grad_()
    terms, _ = energy(lattice.with_values(values * cell), targets, look, weights, 1.0)
    (derivative,) = torch.autograd.grad(terms.total, values)
    return derivative / 2, EnergyTerms(
        **{name: term.detach() for name, term in vars(terms).items()}
    )


every_problem = pytest.mark.parametrize(
    ("shape", "light", "huber"),
    [(shape, "grey", math.inf) for shape in SHAPES]
    + [(shape, "RGB", 0.05) for shape in SHAPES]
    + [("sphere", "grey", 0.05), ("sphere", "RGB", math.inf), ("torus", "unknown light", 0.05)]
    + [("sphere", "painted, blurred", 0.05)],
)


# ---------------------------------------------------------------------- against the energy


@every_problem
def test_the_gradient_is_half_the_energys(shape: str, light: str, huber: float) -> None:
    lattice, targets, look, weights = problem(shape, light, huber)
    found = LeastSquares(lattice, targets, look, weights, BAND)
    expected, terms = half_gradient(lattice, targets, look, weights)
    assert bool((terms.carve > 0).any()) == (shape != "torus")
    ids = found.band.ids
    scale = float(expected.abs().max())
    assert 1 < len(ids) < expected.numel()
    # The same float32 terms, added up in another order.
    np.testing.assert_allclose(found.gradient, expected.flatten()[ids], atol=1e-5 * scale)
    # Nothing is lost: what the energy asks of any other vertex is zero.
    expected.flatten()[ids] = 0
    assert not bool(expected.any())


@every_problem
def test_the_terms_are_the_energys(shape: str, light: str, huber: float) -> None:
    lattice, targets, look, weights = problem(shape, light, huber)
    found = LeastSquares(lattice, targets, look, weights, BAND).terms
    expected, _ = energy(lattice, targets, look, weights, 1.0)
    for name, term in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), term, rtol=1e-5, atol=1e-5, msg=name)


def test_the_loss_of_huber() -> None:
    """Quadratic up to k, with the same slope linear beyond; its weights have its derivative."""
    k = 0.3
    r = torch.linspace(-2, 2, 201, dtype=torch.float64).requires_grad_()
    rho = robust(r, k)
    small = r.detach().abs() <= k
    expected = torch.where(small, r**2, 2 * k * r.abs() - k**2)
    torch.testing.assert_close(rho, expected)
    (slope,) = torch.autograd.grad(rho.sum(), r)
    torch.testing.assert_close(slope, 2 * robust_weights(r, k) * r.detach())
    torch.testing.assert_close(slope[~small].abs(), torch.full_like(slope[~small], 2 * k))
    assert torch.equal(robust(r, math.inf), r**2)
    assert torch.equal(robust_weights(r, math.inf), torch.ones_like(r))


def test_the_loss_of_cauchy() -> None:
    """A square while small, ever flatter beyond k; its weights have its derivative."""
    r = torch.linspace(-2, 2, 201, dtype=torch.float64).requires_grad_()
    k = torch.tensor(0.3, dtype=torch.float64)
    rho = cauchy(r, k)
    (slope,) = torch.autograd.grad(rho.sum(), r)
    torch.testing.assert_close(slope, 2 * cauchy_weights(r, k) * r.detach())
    assert float(slope.abs().max()) <= 0.3 + 1e-9  # that of r = k
    endless = torch.tensor(math.inf)
    assert torch.equal(cauchy(r.detach(), endless), r.detach() ** 2)
    assert torch.equal(cauchy_weights(r, endless), torch.ones_like(r))


def test_usual_residuals_do_not_follow_outliers() -> None:
    """The deviation of each view's noise, a fifth of whose pixels are highlights."""
    random = torch.Generator().manual_seed(0)
    r = torch.tensor([0.03, 0.1, 0.001])[:, None, None, None] * torch.randn(
        3, 41, 37, 3, generator=random
    )
    r[:, ::5] += 0.8
    inside = torch.ones(3, 41, 37, dtype=torch.bool)
    found = usual_residuals(r, inside)
    assert 0.03 < found[0] < 0.045
    assert 0.1 < found[1] < 0.15
    assert found[2] == pytest.approx(CLEAN)
    assert usual_residuals(r, inside & (torch.arange(37) < 1))[0] == math.inf  # too few


def test_only_what_is_too_bright_is_a_highlight() -> None:
    """A shape that is wrong makes pixels too bright and too dark; views are judged one by one."""
    random = torch.Generator().manual_seed(0)
    r = 0.03 * torch.randn(4, 41, 37, 3, generator=random)
    r[1, ::9] -= 0.5  # the photograph is brighter than the rendering
    r[2, ::9] += 0.5
    r[3, ::9] -= 0.5
    r[3, 1::9] += 0.5
    inside = torch.ones(4, 41, 37, dtype=torch.bool)
    found = highlight_levels(r, inside, 2.0)
    assert 0.06 < found[1] < 0.08
    assert (found[[0, 2, 3]] == math.inf).all()
    assert highlight_levels(r, inside & (torch.arange(37) < 1), 2.0)[1] == math.inf  # too few


def test_it_shows_its_rendering_to_the_appearance() -> None:
    lattice, targets, look, weights = problem("torus", "unknown light")
    other = LIGHTS["unknown light"]()
    LeastSquares(lattice, targets, look, weights, BAND)
    _, out = energy(lattice, targets, other, weights, 1.0)
    other.observe(out, targets, lattice)
    before = look.light.sh
    for each in (look, other):
        each.solve()
    torch.testing.assert_close(look.light.sh, other.light.sh)
    assert not torch.equal(look.light.sh, before)


# ---------------------------------------------------------------------- matrices of the band


def rough(resolution: tuple[int, int, int] = (5, 7, 6)) -> Lattice:
    """No distance field: a surface everywhere, also on the faces of the box."""
    random = torch.Generator().manual_seed(0)
    return Lattice(0.4 * torch.randn(resolution, generator=random), tiny.BOX)


def cells_of(lattice: Lattice) -> Tensor:
    """The values in units of the largest spacing, float64."""
    return lattice.values.double() / lattice.spacing.double().max()


def laplacian(cells: Tensor, lattice: Lattice) -> Tensor:
    """`h Δφ` at all vertices, without second differences across faces: `[X, Y, Z]`."""
    spacing = lattice.spacing.double()
    phi, total = cells * spacing.max(), torch.zeros_like(cells)
    for axis in range(3):
        n = phi.shape[axis]
        if n > 2:
            left, middle, right = (phi.narrow(axis, k, n - 2) for k in range(3))
            second = (left - 2 * middle + right) * spacing.log().mean().exp() / spacing[axis] ** 2
            pads = [(1, 1) if a == axis else (0, 0) for a in (2, 1, 0)]
            total = total + torch.nn.functional.pad(second, [n for pad in pads for n in pad])
    return total


def eikonal(cells: Tensor, lattice: Lattice) -> Tensor:
    """`(|∇φ|² − 1) / 2` at all vertices: `[X, Y, Z]`."""
    spacing = lattice.spacing.double()
    return ((vertex_gradients(cells * spacing.max(), spacing) ** 2).sum(-1) - 1) / 2


TWINS: dict[str, tuple[Callable[[Tensor, Lattice], Tensor], Callable[..., Tensor]]] = {
    "laplacian": (laplacian, energies.laplacian),
    "eikonal": (eikonal, energies.eikonal),
}


@pytest.mark.parametrize("resolution", [(5, 7, 6), (2, 3, 4), (4, 2, 2)])
@pytest.mark.parametrize("name", TWINS)
def test_rows_of_the_regularisers(name: str, resolution: tuple[int, int, int]) -> None:
    """Central differences are exact for what is linear or quadratic; at each vertex of the box."""
    lattice = rough(resolution)
    band = Band(lattice, math.inf, math.inf)
    rows, residual = getattr(band, name)()
    assert rows.shape == (lattice.values.numel(), len(band)) == (lattice.values.numel(),) * 2
    twin, in_full = TWINS[name]
    cells = cells_of(lattice)
    np.testing.assert_allclose(residual, twin(cells, lattice).flatten(), atol=2e-5)
    assert float((residual**2).sum()) == pytest.approx(float(in_full(lattice, math.inf)), rel=1e-5)
    for n in range(5):
        v = torch.randn(resolution, generator=torch.Generator().manual_seed(n)).double()
        change = (twin(cells + v, lattice) - twin(cells - v, lattice)) / 2
        np.testing.assert_allclose(rows @ v.numpy().ravel(), change.flatten(), atol=5e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TWINS)
def test_rows_of_a_narrow_band(name: str, shape: str) -> None:
    """Residuals where `energies` has them; columns for the unknowns, none of which is lacking."""
    lattice = SHAPES[shape]()
    band, whole = Band(lattice, BAND, WEIGHTS.band), Band(lattice, math.inf, math.inf)
    (rows, residual), (all_rows, all_residuals) = (getattr(b, name)() for b in (band, whole))
    chosen = energies.narrow_band(lattice, WEIGHTS.band).flatten().nonzero()[:, 0].numpy()
    unknown = energies.narrow_band(lattice, BAND).flatten().nonzero()[:, 0].numpy()
    assert 0 < len(chosen) < len(unknown) < lattice.values.numel()
    np.testing.assert_array_equal(band.ids, unknown)
    np.testing.assert_array_equal(residual, all_residuals[chosen])
    expected = all_rows[chosen].toarray()
    np.testing.assert_array_equal(rows.toarray(), expected[:, unknown])
    expected[:, unknown] = 0
    assert not expected.any()


def test_vertices_outside_the_band_are_held_fixed() -> None:
    """With a band narrower than what the rows touch they lose those columns and nothing else."""
    lattice = ball()
    band, whole = Band(lattice, 1.5, 1.5), Band(lattice, math.inf, 1.5)
    points = torch.rand((50, 3), generator=torch.Generator().manual_seed(0))
    points = tiny.BOX[0] + points * (tiny.BOX[1] - tiny.BOX[0])
    parts = [(b.laplacian(), b.eikonal(), b.samples(points)) for b in (band, whole)]
    for (rows, now), (all_rows, all_now) in zip(*parts, strict=True):
        np.testing.assert_array_equal(now, all_now)
        np.testing.assert_array_equal(rows.toarray(), all_rows.toarray()[:, band.ids])


@pytest.mark.parametrize("resolution", [(5, 7, 6), (2, 3, 4)])
def test_samples_are_those_of_the_lattice(resolution: tuple[int, int, int]) -> None:
    """In the box, on its vertices, edges and faces, and a rounding error outside."""
    lattice = rough(resolution)
    band = Band(lattice, math.inf, math.inf)
    t = torch.rand((60, 3), generator=torch.Generator().manual_seed(0))
    t[:20] = t[:20].round()  # corners
    t[20:40, 1] = t[20:40, 1].round()
    t[40:44] = t[40:44].round() * (1 + 3e-6) - 1e-6
    points = torch.cat((tiny.BOX[0] + t * (tiny.BOX[1] - tiny.BOX[0]), lattice.vertices[:2, 1, 1]))
    h = float(lattice.spacing.max())
    rows, phi = band.samples(points)
    np.testing.assert_allclose(phi, lattice.sample(points) / h, atol=1e-5)
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)
    v = torch.randn(resolution, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(
        rows @ v.numpy().ravel(), lattice.with_values(v).sample(points), atol=2e-5
    )
    none, nothing = band.samples(torch.zeros(0, 3))
    assert none.shape == (0, len(band))
    assert nothing.shape == (0,)


def test_scatter_gives_unknowns_their_places() -> None:
    """In world units: a step of 1 in an unknown is a step of the largest spacing."""
    lattice = ball()
    band = Band(lattice, BAND, WEIGHTS.band)
    h = float(lattice.spacing.max())
    x = np.arange(1, len(band) + 1, dtype=np.float32)
    moved = band.scatter(x)
    assert moved.shape == lattice.values.shape
    np.testing.assert_allclose(moved.flatten()[band.ids], h * x, rtol=1e-6)
    assert int((moved != 0).sum()) == len(band)
    assert torch.equal(band.moved(x), lattice.values + moved)


def test_a_lattice_without_a_surface_has_no_unknowns() -> None:
    lattice = ball().with_values(torch.full(RESOLUTION, -50.0))
    band = Band(lattice, BAND, WEIGHTS.band)
    assert len(band) == 0
    rows, phi = band.samples(lattice.vertices[2, 3, 4:6])
    assert rows.shape == (2, 0)
    assert rows.nnz == 0
    np.testing.assert_allclose(phi, -50 / float(lattice.spacing.max()), rtol=1e-6)


# ---------------------------------------------------------------------- a step


@dataclass(frozen=True)
class Dense:
    """A small problem, and its normal equations written out, float64, M unknowns.

    Args:
        problem: the least-squares problem.
        gradient: `[M]` half the derivative of the energy.
        hessian: `[M, M]` of all terms of the energy.
        smooth: `[M, M]` LᵀL.
        value: the energy after a step `[M]`, float64; carving pulls at the points where it did
            before.
    """

    problem: LeastSquares
    gradient: Doubles
    hessian: Doubles
    smooth: Doubles
    value: Callable[[Doubles], float]

    def step(self, smoothing: float, damping: float) -> Doubles:
        M = len(self.gradient)
        matrix = self.hessian + smoothing * self.smooth + damping * np.eye(M)
        return np.linalg.solve(matrix, -self.gradient).astype(np.float64)


@pytest.fixture(scope="module", params=[math.inf, 0.05], ids=["l2", "huber"])
def dense(request: pytest.FixtureRequest) -> Dense:
    """From a sphere, RGB, with carving: every term at once."""
    lattice, look = ball((9, 7, 8)), LIGHTS["RGB"]()
    targets = photographs(look, 3, 23, 17)
    weights = replace(WEIGHTS, huber=request.param, eikonal=0.3, carve=0.4, laplacian=0.06)
    linear = LeastSquares(lattice, targets, look, weights, BAND)
    ids, M = linear.band.ids, len(linear.band)
    h = float(lattice.spacing.max())
    expected, terms = half_gradient(lattice, targets, look, weights)
    assert float(terms.carve.sum()) > 0

    # Pixels: a column of J per unknown.
    cells = (targets.pixel_sizes(lattice) / h).double()[:, None, None] ** 2
    out = linear.J.rendering
    columns = []
    for n in range(M):
        x = np.zeros(M, np.float32)
        x[n] = 1
        image, silhouette = linear.J.jvp(linear.band.scatter(x))
        columns.append((image.double(), silhouette.double()))
    r_image = (out.images - targets.images).double()
    r_silhouette = (out.silhouettes - targets.silhouettes).double()
    trust = cells * look.trust(targets)
    w_image = trust[..., None] / 3 * robust_weights(r_image, weights.huber)
    w_silhouette = weights.silhouette * cells * targets.silhouette_weights
    w_silhouette = w_silhouette * robust_weights(r_silhouette, weights.mask_huber)
    J_image, J_silhouette = (torch.stack([c[k].flatten() for c in columns], 1) for k in (0, 1))
    hessian = J_image.T @ (w_image.flatten()[:, None] * J_image)
    hessian += J_silhouette.T @ (w_silhouette.flatten()[:, None] * J_silhouette)

    # The lattice: by automatic differentiation of the twins.
    def derivative(rows: Callable[[Tensor], Tensor]) -> Tensor:
        found: Tensor = jacobian(rows, cells_of(lattice))  # type: ignore[no-untyped-call]
        return found.flatten(1)[:, ids]  # (R, M)

    near = energies.narrow_band(lattice, weights.band)
    L = derivative(lambda p: laplacian(p, lattice)[near])
    G = derivative(lambda p: eikonal(p, lattice)[near])
    points, views = carve_points(targets, out)
    exact = lattice.to(torch.float64)
    C = derivative(lambda p: exact.with_values(p).sample(points.double()))
    C = C * cells.flatten()[views, None].sqrt()
    for weight, rows in ((weights.laplacian, L), (weights.eikonal, G), (weights.carve, C)):
        hessian += weight * rows.T @ rows

    def value(x: Doubles) -> float:
        step = linear.band.scatter(x.astype(np.float32))
        moved = exact.with_values(exact.values + step)
        terms, _ = energy(moved, targets, look, weights, 1.0)
        pull = cells.flatten()[views] * (1 - moved.sample(points) / h) ** 2
        return float(terms.total - terms.carve.sum() + weights.carve * pull.sum())

    return Dense(
        linear,
        expected.flatten()[ids].double().numpy(),
        hessian.numpy(),
        (L.T @ L).numpy(),
        value,
    )


@pytest.mark.parametrize(("smoothing", "damping"), [(0.0, 0.05), (0.3, 0.01), (2.0, 3.0)])
def test_a_step_solves_the_normal_equations(smoothing: float, damping: float, dense: Dense) -> None:
    step = dense.problem.step(smoothing, damping, 2000, 1e-7)
    expected = dense.step(smoothing, damping)
    scale = np.abs(expected).max()
    assert scale > 0.01  # cells
    # float32 rounding of the operator, times a condition number of hundreds
    np.testing.assert_allclose(step, expected, atol=2e-4 * scale)
    assert np.array_equal(step, dense.problem.step(smoothing, damping, 2000, 1e-7))


def test_each_argument_of_a_step_matters(dense: Dense) -> None:
    arguments = {"smoothing": 0.1, "damping": 0.1, "iterations": 8, "tolerance": 1e-4}
    base = dense.problem.step(**arguments)  # type: ignore[arg-type]
    changes = {"smoothing": 0.3, "damping": 0.3, "iterations": 3, "tolerance": 0.5}
    for name, value in changes.items():
        changed = dense.problem.step(**{**arguments, name: value})  # type: ignore[arg-type]
        assert not np.array_equal(changed, base), name


@pytest.mark.parametrize("iterations", [1, 2, 5, 100])
def test_a_step_goes_downhill(iterations: int, dense: Dense) -> None:
    step = dense.problem.step(0.02, 1e-3, iterations, 1e-6).astype(np.float64)
    slope = 2 * float(step @ dense.gradient)
    assert slope < 0
    t = 1e-4 / np.abs(step).max()  # so little that no vertex enters or leaves the band
    change = (dense.value(t * step) - dense.value(-t * step)) / 2
    assert change == pytest.approx(t * slope, rel=1e-3)


def test_more_iterations_come_closer(dense: Dense) -> None:
    exact = dense.step(0.02, 1e-2)
    errors = [
        np.linalg.norm(dense.problem.step(0.02, 1e-2, n, 1e-7) - exact) for n in (3, 10, 30, 200)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * errors[0]


def test_with_much_damping_steps_are_small(dense: Dense) -> None:
    """In the end they are those of steepest descent."""
    sizes = [np.linalg.norm(dense.problem.step(0.0, d, 500, 1e-7)) for d in (0.1, 1, 10, 100)]
    assert sizes == sorted(sizes, reverse=True)
    last = dense.problem.step(0.0, 1e6, 500, 1e-7)
    np.testing.assert_allclose(1e6 * last, -dense.gradient, atol=1e-3 * np.abs(last).max() * 1e6)


def test_with_much_smoothing_steps_are_smooth(dense: Dense) -> None:
    L = dense.problem.laplacian
    roughness = []
    for smoothing in (0.0, 0.1, 1.0, 100.0):
        step = dense.problem.step(smoothing, 1e-2, 2000, 1e-7)
        roughness.append(np.linalg.norm(L @ step) / np.linalg.norm(step))
    assert roughness == sorted(roughness, reverse=True)
    assert roughness[-1] < 0.2 * roughness[0]


# ---------------------------------------------------------------------- the iterations

LEVEL = NewtonLevel(1, 2, 4, laplacian=0.02, smoothing=0.1, largest_step=0.5)


@pytest.fixture(scope="module")
def photos() -> Targets:
    """Six views of the torus, as they would be rendered."""
    cameras = tiny.ring(6, 37, 29)
    out = render(tiny.true_lattice(), cameras, lighting=tiny.LIGHT)
    ones = torch.ones_like(out.silhouettes)
    return Targets(cameras, out.images, out.silhouettes, ones, ones)


def newton(
    lattice: Lattice, targets: Targets, level: NewtonLevel = LEVEL, weights: Weights = WEIGHTS
) -> GaussNewton:
    recipe = NewtonRecipe((level,), weights=weights)
    return GaussNewton(lattice, targets, Appearance(1, tiny.LIGHT), recipe, level)


def surface_error(lattice: Lattice) -> float:
    """Mean distance from the true torus to the lattice's surface, in its cells."""
    points = torch.from_numpy(extract_mesh(tiny.true_lattice(40)).vertices).float()
    return float((lattice.sample(points).abs() / lattice.spacing.max()).mean())


def test_iterations_go_downhill_to_the_torus(photos: Targets) -> None:
    start = ring_of(0.58, 0.24)
    values = start.values.clone()
    method = newton(start, photos)
    found = [method.iterate() for _ in range(6)]
    before, _ = energy(start, photos, Appearance(1, tiny.LIGHT), method.weights, 1.0)
    torch.testing.assert_close(found[0].total, before.total)  # the terms are those before the step
    totals = [float(terms.total) for terms in found]
    assert totals[0] > totals[1] > totals[2]
    assert totals[-1] < 0.3 * totals[0]
    data = [float(terms.data) for terms in found]
    assert data[1] < 0.5 * data[0]
    assert data[-1] < 0.05 * data[0]
    assert surface_error(start) > 0.1
    assert surface_error(method.lattice) < 0.02
    assert torch.equal(start.values, values)  # the lattice to start from is left as it was


def test_redistancing_follows_each_step(photos: Targets) -> None:
    method = newton(ball(), photos)
    for _ in range(2):
        method.iterate()
        lattice = method.lattice
        change = (lattice.redistance().values - lattice.values).abs()
        change = change[energies.narrow_band(lattice, 4)]  # how far out is the method's to choose
        assert float(change.max()) < 1e-4 * float(lattice.spacing.max())


def test_a_pass_is_a_step_on_all_views(photos: Targets) -> None:
    one, other = newton(ball(), photos), newton(ball(), photos)
    for index in range(2):
        (update,) = one.run_pass(index)
        views, terms = update
        assert views == list(range(6))
        assert torch.equal(terms.total, other.iterate().total)
        assert terms.per_view.shape == (6,)
    assert torch.equal(one.lattice.values, other.lattice.values)


@pytest.fixture
def bare_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redistancing, which moves vertices too, is left out."""
    monkeypatch.setattr(Lattice, "redistance", lambda lattice, **_: lattice)


@pytest.mark.usefixtures("bare_steps")
@pytest.mark.parametrize("largest", [0.02, 0.3])
def test_no_vertex_steps_farther_than_the_level_allows(largest: float, photos: Targets) -> None:
    start = ball()
    method = newton(start, photos, replace(LEVEL, largest_step=largest))
    method.iterate()
    steps = (method.lattice.values - start.values) / start.spacing.max()
    assert float(steps.max()) == pytest.approx(largest, rel=1e-4)
    assert float(steps.abs().max()) == pytest.approx(largest, rel=1e-4)
    # Others go less far, vertices away from the surface nowhere.
    assert bool(((steps != 0) & (steps.abs() < 0.9 * largest)).any())
    assert not bool(steps[~energies.narrow_band(start, 5)].any())


@pytest.mark.usefixtures("bare_steps")
def test_damping_follows_the_energy(photos: Targets) -> None:
    """Steps that fail make the next one smaller, steps that succeed larger."""

    def after(energy_before: float) -> tuple[float, float]:
        method = newton(ball(), photos, replace(LEVEL, largest_step=100.0))
        method.energies = [energy_before]
        step = LeastSquares.step
        with patch.object(LeastSquares, "step", autospec=True, side_effect=step) as called:
            method.iterate()
        smoothing, damping = called.call_args.args[1:3]
        assert smoothing == pytest.approx(method.damping * LEVEL.smoothing)
        small.append(damping / method.damping)
        return method.damping, float((method.lattice.values - ball().values).norm())

    small: list[float] = []
    eased, raised = after(math.inf), after(1e-6)
    assert eased[0] < 1 < raised[0]
    assert raised[1] < eased[1]
    assert small[0] == pytest.approx(small[1])  # both ask in proportion
    assert small[0] > 0
    # From the renderings themselves, which a step spoils when it is made by hand.
    method = newton(ring_of(0.58, 0.24), photos)
    dampings = []
    for _ in range(2):
        method.iterate()
        dampings.append(method.damping)
    assert dampings[1] < dampings[0]
    method.lattice = ball()
    method.iterate()
    assert method.damping > dampings[1]


@pytest.mark.parametrize("light", ["grey", "RGB", "unknown light"])
@pytest.mark.parametrize("count", [1.0, 2.5])
def test_one_pass_is_the_product_by_images(light: str, count: float) -> None:
    lattice, targets, look, weights = problem("sphere", light)
    found = LeastSquares(lattice, targets, look, weights, BAND, count=count)
    assert found.matrix is not None
    x = np.random.default_rng(2).normal(size=len(found.band)).astype(np.float32)
    fused = found.pixels(x)
    found.matrix = None
    by_images = found.pixels(x)
    # float32, added up in another order
    np.testing.assert_allclose(fused, by_images, atol=2e-6 * abs(by_images).max())


def test_a_lens_between_needs_the_images() -> None:
    lattice, targets, look, weights = problem("sphere", "unknown light")
    look.blur = 0.05
    assert LeastSquares(lattice, targets, look, weights, BAND).matrix is not None
    assert LeastSquares(lattice, targets, look, weights, BAND, count=2).matrix is None


def test_what_was_saved_goes_on_exactly(photos: Targets) -> None:
    level = replace(LEVEL, largest_step=1.0)
    first = newton(ball(), photos, level)
    for _ in range(2):
        first.iterate()
    saved = {name: x.clone() for name, x in first.state().items()}
    torch.testing.assert_close(saved["values"] * saved["cell"], first.lattice.values)
    second = newton(ball(), photos, level)
    second.restore(saved)
    forgetful = newton(first.lattice, photos, level)
    for method in (first, second, forgetful):
        found = [method.iterate() for _ in range(2)]
        method.last = found[-1].total  # type: ignore[attr-defined]
    assert torch.equal(first.lattice.values, second.lattice.values)
    assert torch.equal(first.last, second.last)  # type: ignore[attr-defined]
    # The damping is part of it.
    assert not torch.equal(first.lattice.values, forgetful.lattice.values)
    for name, x in saved.items():
        assert torch.equal(x, saved[name])


def test_the_light_is_estimated_from_all_views_before_the_first_step() -> None:
    cameras = tiny.ring(4)
    lattice, light = tiny.true_lattice(16), Lighting(headlight=Headlight(0.5))
    out = render(lattice, cameras, lighting=light)
    ones = torch.ones_like(out.silhouettes)
    targets = Targets(cameras, out.images, out.silhouettes, ones, ones)
    look = Appearance(1, Lighting())
    method = GaussNewton(lattice, targets, look, NewtonRecipe((LEVEL,)), LEVEL)
    method.estimate_appearance()
    assert float(look.albedo) == pytest.approx(0.5, abs=1e-4)
    assert torch.equal(method.lattice.values, lattice.values)


def test_where_there_is_no_surface_nothing_moves(photos: Targets) -> None:
    empty = ball().with_values(torch.full(RESOLUTION, 50.0))
    method = newton(empty, photos)
    method.estimate_appearance()
    terms = method.iterate()
    assert float(terms.silhouette.min()) > 0
    assert torch.equal(method.lattice.values, empty.values)


# ---------------------------------------------------------------------- whole fits


def with_passes(recipe: Recipe, *passes: int) -> Recipe:
    levels: Any = tuple(
        replace(level, passes=n) for level, n in zip(recipe.levels, passes, strict=True)
    )
    return replace(recipe, levels=levels)


@pytest.mark.parametrize("start", ["hull", "sphere"])
def test_a_fit_of_the_torus_in_a_few_passes(
    start: str, torus_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hole opens by itself; Adam is not as far after as many passes."""
    for recipe_type in (AdamRecipe, NewtonRecipe):
        monkeypatch.setattr(recipe_type, "sphere_passes", 3)
    truth = load_mesh(torus_scene / "mesh.ply")
    found = {}
    for preset, recipe in tiny.SHORT.items():
        state = tiny.optimize_tiny(
            torus_scene, tmp_path / preset, with_passes(recipe, 8, 8), init=start
        )
        mesh = extract_mesh(state.lattice)
        found[preset] = metrics.chamfer(mesh, truth, 20_000) / float(truth.extents.max())
        if preset == "fast":
            assert state.updates == {"hull": 8 + 8, "sphere": 3 * 8 + 8}[start]
            assert mesh.is_watertight
            assert mesh.body_count == 1
            assert mesh.euler_number == 0
    if start == "sphere":
        first = Lattice.sphere(1, (0, 0, 0), 8)
        assert extract_mesh(first).euler_number == 2
    # A cell is 1/15 of the box, 0.076 of the torus: a thirtieth of a cell.
    assert found["fast"] < 0.0026
    assert found["fast"] < 0.5 * found["adam"]


def test_outliers_hurt_less_with_hubers_loss(photos: Targets) -> None:
    """Blotches painted into one photograph: a shadow and a highlight that no shape explains."""
    rows, columns = torch.meshgrid(torch.arange(29.0), torch.arange(37.0), indexing="ij")
    painted = photos.images.clone()
    for row, column, value in ((9, 14, 0.0), (17, 25, 1.0)):
        blotch = (photos.silhouettes[1] > 0.99) & (torch.hypot(rows - row, columns - column) < 4)
        assert int(blotch.sum()) > 20
        assert float((painted[1][blotch] - value).abs().min()) > 0.3
        painted[1][blotch] = value

    def error(images: Tensor, huber: float) -> float:
        weights = replace(WEIGHTS, huber=huber, mask_huber=huber)
        method = newton(ring_of(0.58, 0.25), replace(photos, images=images), weights=weights)
        for _ in range(8):
            method.iterate()
        return surface_error(method.lattice)

    clean = error(photos.images, math.inf)
    assert error(painted, math.inf) > 2 * clean
    assert error(painted, 0.05) < 1.3 * clean
    assert error(photos.images, 0.05) < 1.1 * clean  # and it costs nothing where there are none


def test_levels_of_gauss_newton_have_their_own_smoothness(photos: Targets) -> None:
    """The recipe's weight of it does not count."""
    lattices = []
    for laplacian_weight in (0.0, 1.0):
        weights = replace(WEIGHTS, laplacian=laplacian_weight)
        method = newton(ball(), photos, weights=weights)
        method.iterate()
        lattices.append(method.lattice.values)
    assert torch.equal(*lattices)


def test_recipes_are_frozen() -> None:
    for record in (tiny.NEWTON, tiny.COARSE, Level(1, 2, 3), NewtonRecipe((LEVEL,))):
        assert hash(record) == hash(replace(record))
