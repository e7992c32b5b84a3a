"""Colours as unknowns of a step: their derivative, their energy, and steps against dense twins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from newton_problems import BAND, COLORED, WEIGHTS, ball, photographs, with_sh
from numpy.typing import NDArray

from multiview.optimize.energy import pixel_weights, residuals
from multiview.optimize.gauss_newton import GaussNewton
from multiview.optimize.normal_equations import LeastSquares
from multiview.optimize.recoloring import SMOOTHNESS, Recoloring
from multiview.photo.albedo import PULL
from multiview.photo.appearance import Appearance, Model
from multiview.photo.targets import Targets
from multiview.photo.unknown_light import FixedTo
from multiview.recipes import (
    NewtonLevel,
    NewtonRecipe,
    Weights,
    best,
    for_colors,
    sdfdiff,
)
from sdfrender import Lattice, Lighting, render

Doubles = NDArray[np.float64]


def painted(
    known: Lighting | None,
    model: Model = "albedo",
    channels: int = 3,
    fixed_to: FixedTo = "scene",
) -> Appearance:
    """With a lattice of colours of its own resolution."""
    look = with_sh(Appearance(channels, known, model, fixed_to=fixed_to, views=3))
    random = torch.Generator().manual_seed(4)
    look.albedo = 0.3 + torch.rand((9, 8, 7, channels), generator=random)
    look.rest = torch.linspace(0.4, 0.7, channels)
    return look


LOOKS = {
    "unknown light": lambda: painted(None),
    "known light": lambda: painted(COLORED),
    "radiance": lambda: painted(None, "radiance"),
    "light of the camera": lambda: painted(None, fixed_to="camera"),
    "light of each view": lambda: painted(None, fixed_to="view"),
    "grey": lambda: painted(tiny.LIGHT, channels=1),
}


def problem(look: Appearance, count: float = 1.0) -> tuple[LeastSquares, Recoloring, Targets]:
    """A step for a ball from photographs of a torus, with weights of the pixels' own."""
    targets = photographs(look, 3, 23, 17)
    found = LeastSquares(ball((9, 7, 8)), targets, look, WEIGHTS, BAND, count=count)
    assert found.colors is not None
    return found, found.colors, targets


def some(size: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


@pytest.mark.parametrize("name", LOOKS)
def test_images_change_as_renderings_do(name: str) -> None:
    """Linear in the colours, so a rendering with others tells exactly; but for the rim's grazes."""
    look = LOOKS[name]()
    found, colors, targets = problem(look)
    lattice, C = found.band.lattice, colors.channels
    out = found.J.rendering
    change = some(len(colors.gradient))
    images = torch.zeros_like(out.images)
    colors.add(images, change)

    moved = look.albedo.clone()
    moved.view(-1, C)[torch.from_numpy(colors.ids)] += torch.from_numpy(change.reshape(-1, C))
    repainted = render(lattice, targets.cameras, lighting=look.lighting(targets), albedo=moved)
    alone = out.hit_mask & (out.silhouettes > 0.999)
    assert int(alone.sum()) > 50
    expected = (repainted.images - out.images)[alone]
    torch.testing.assert_close(images[alone], expected, atol=1e-4, rtol=1e-4)
    assert not images[~out.hit_mask].any()


@pytest.mark.parametrize("name", LOOKS)
def test_pull_is_the_transpose_of_add(name: str) -> None:
    _, colors, targets = problem(LOOKS[name]())
    change = some(len(colors.gradient))
    v = torch.from_numpy(some(targets.images.numel(), 1)).reshape(targets.images.shape)
    images = torch.zeros_like(v)
    colors.add(images, change)
    ahead = float((images.double() * v.double()).sum())
    assert ahead == pytest.approx(float(change.astype(np.float64) @ colors.pull(v)), rel=1e-4)


def test_any_number_of_threads() -> None:
    before = torch.get_num_threads()
    try:
        sums = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            sums.append(problem(painted(None))[1].gradient)
    finally:
        torch.set_num_threads(before)
    for each in sums[1:]:
        np.testing.assert_allclose(each, sums[0], atol=1e-5 * np.abs(sums[0]).max())


@pytest.mark.parametrize("blur", [0.0, 0.05])
def test_the_gradient_is_half_the_energys(blur: float) -> None:
    """Of the images, and of smoothness and the pull to rest in the units of the images' weights."""
    look = painted(None)
    look.blur = blur
    found, colors, targets = problem(look)
    lattice, w = found.band.lattice, found.w_color
    albedo = look.albedo.double().requires_grad_()
    out = render(lattice, targets.cameras, lighting=look.lighting(targets), albedo=albedo.float())
    r, _ = residuals(targets, out, look)
    seen = found.J.rendering.hit_mask & (w.amax(-1) > 0)
    unit = float(w[seen].mean())
    held = torch.zeros(albedo.shape[:3], dtype=torch.bool)
    held.view(-1)[torch.from_numpy(colors.ids)] = True
    smooth = torch.zeros((), dtype=torch.float64)
    for axis in range(3):
        n = albedo.shape[axis]
        a, b = (albedo.narrow(axis, k, n - 1) for k in (0, 1))
        both = held.narrow(axis, 0, n - 1) & held.narrow(axis, 1, n - 1)
        smooth = smooth + ((a - b)[both] ** 2).sum()
    rest = ((albedo - look.rest)[held] ** 2).sum()
    total = (w * r**2).sum() + unit * (SMOOTHNESS * smooth + PULL * rest)
    (derivative,) = torch.autograd.grad(total, albedo)
    expected = (derivative / 2).view(-1, 3)[torch.from_numpy(colors.ids)].flatten().numpy()
    # pixels of the rim belong to grazes too, which colours leave alone
    error = np.linalg.norm(colors.gradient - expected) / np.linalg.norm(expected)
    assert error < 0.08


def dense(found: LeastSquares, colors: Recoloring) -> Doubles:
    """`[M + K C, M + K C]` of the images and of what holds the colours, from products."""
    M, N = len(found.band), len(colors.gradient)
    columns = []
    for n in range(M + N):
        z = np.zeros(M + N, np.float32)
        z[n] = 1
        columns.append(np.concatenate(found.products(z[:M], z[M:])))
    return np.stack(columns, 1).astype(np.float64)


@pytest.mark.parametrize("count", [1.0, 2.0])
def test_a_step_solves_for_both(count: float) -> None:
    """As the Schur complement of the colours says, with a lens."""
    look = painted(None)
    look.blur = 0.04
    found, colors, _ = problem(look, count)
    matrix, M = dense(found, colors), len(found.band)
    np.testing.assert_allclose(matrix, matrix.T, atol=2e-5 * np.abs(matrix).max())
    if count > 1:  # otherwise curvature comes before the lens
        assert np.abs(matrix.diagonal()[M:] - colors.diagonal).max() > 0
    else:
        scale = colors.diagonal.max()
        np.testing.assert_allclose(matrix.diagonal()[M:], colors.diagonal, atol=1e-5 * scale)
    S = np.sqrt(found.smoothness + 0.01) * found.laplacian.toarray().astype(np.float64)
    rows = found.rows.toarray().astype(np.float64)
    A = matrix[:M, :M] + S.T @ S + rows.T @ rows + 0.003 * np.eye(M)
    B, D = matrix[:M, M:], matrix[M:, M:]
    reduced = A - B @ np.linalg.solve(D, B.T)
    gradient = found.gradient - B @ np.linalg.solve(D, colors.gradient.astype(np.float64))
    expected = np.linalg.solve(reduced, -gradient)
    step = found.step(0.01, 0.003, 4000, 1e-7)
    np.testing.assert_allclose(step, expected, atol=2e-3 * np.abs(expected).max())
    held = np.linalg.solve(A, -found.gradient.astype(np.float64))
    assert np.abs(step - held).max() > 10 * np.abs(step - expected).max()  # colours matter


def test_views_in_turns_are_weighed_behind_the_lens() -> None:
    """Where weights are even, one wide blur is as good as a lens before them and one behind."""
    look = painted(None)
    look.blur = 0.04
    targets = photographs(look, 3, 23, 17)
    targets = replace(targets, image_weights=torch.ones_like(targets.image_weights))
    found = LeastSquares(ball((9, 7, 8)), targets, look, WEIGHTS, BAND, count=2.0)
    x = some(len(found.band))
    images, silhouettes = found.J.jvp(found.band.scatter(x))
    assert float((look.photograph(images) - images).norm() / images.norm()) > 0.1
    seen = look.photograph(look.photograph(images) * found.w_color)
    pulled = found.J.vjp(seen, silhouettes * found.w_silhouette)
    expected = found.band.h * pulled.numpy().ravel()[found.band.ids]
    error = np.linalg.norm(found.pixels(x) - expected) / np.linalg.norm(expected)
    assert error < 0.02


def test_nothing_to_see() -> None:
    """No pixel shows the surface: there are no colours to find, and a step is still one."""
    look = painted(None)
    targets = photographs(look, 3, 23, 17)
    empty = replace(targets, image_weights=torch.zeros_like(targets.image_weights))
    found = LeastSquares(ball((9, 7, 8)), empty, look, WEIGHTS, BAND)
    assert found.colors is not None
    assert found.colors.gradient.shape == (0,)
    assert np.isfinite(found.step(0.1, 0.1, 30, 1e-3)).all()
    nowhere = Lattice(torch.full((9, 7, 8), 5.0), tiny.BOX)
    found = LeastSquares(nowhere, targets, look, WEIGHTS, BAND)
    assert not found.step(0.1, 0.1, 30, 1e-3).any()


def test_stiffness_holds_slopes_and_pulls_at_nothing() -> None:
    look = Appearance(1, tiny.LIGHT)
    targets = photographs(look, 3, 23, 17)
    lattice = ball((9, 7, 8))

    def found(weights: Weights) -> LeastSquares:
        return LeastSquares(lattice, targets, look, weights, BAND)

    free = replace(WEIGHTS, eikonal=0.0)
    stiff = found(replace(free, stiffness=0.5))
    np.testing.assert_array_equal(stiff.gradient, found(free).gradient)
    assert float(stiff.terms.eikonal) == 0
    half, full = found(replace(free, eikonal=0.2, stiffness=0.3)), found(replace(free, eikonal=0.5))
    np.testing.assert_allclose(half.rows.toarray(), full.rows.toarray())
    only = found(replace(free, eikonal=0.2))
    np.testing.assert_allclose(half.gradient, only.gradient, atol=1e-5)
    rows, _ = half.band.eikonal()
    bends = [np.linalg.norm(rows @ p.step(0.0, 1e-3, 500, 1e-6)) for p in (only, half)]
    assert bends[1] < bends[0]


def test_recipes_for_colors() -> None:
    recipe = best(64)
    changed = for_colors(recipe)
    assert isinstance(changed, NewtonRecipe)
    old, new = recipe.weights, changed.weights
    assert new.eikonal < old.eikonal
    assert changed.iterations < recipe.iterations
    assert new.eikonal + new.stiffness == pytest.approx(old.eikonal)
    for before, after in zip(recipe.levels, changed.levels, strict=True):
        assert after.laplacian < before.laplacian
        assert replace(after, laplacian=before.laplacian) == before
    assert for_colors(sdfdiff(64)) == sdfdiff(64)


def test_a_painted_torus_is_found() -> None:
    """From one that is too thick, with masks that hardly count."""
    truth = tiny.true_lattice(24)
    x = truth.vertices @ torch.tensor([[5.0, 3.0, -2.0], [2.0, -6.0, 1.0], [-3.0, 2.0, 6.0]])
    light = Lighting(ambient=0.6, headlight=None)
    cameras = tiny.ring(10, 61, 47)
    out = render(truth, cameras, lighting=light, albedo=0.5 + 0.4 * torch.sin(2.5 * x))
    ones = torch.ones_like(out.silhouettes)
    targets = Targets(cameras, out.images, out.silhouettes, 0.02 * ones, ones)
    weights = Weights(silhouette=0.2, eikonal=0.005, stiffness=0.045)
    level = NewtonLevel(1, 8, 8, laplacian=1e-4, smoothing=0.05, largest_step=0.5)
    cell = float(truth.spacing.max())
    thick = truth.with_values(truth.values - 0.6 * cell)
    look = Appearance(3, light, "albedo")
    fit = GaussNewton(thick, targets, look, NewtonRecipe((level,), weights=weights), level)
    fit.estimate_appearance()
    for _ in range(8):
        fit.iterate()
        look.solve()
    off = (fit.lattice.values - truth.values)[truth.values.abs() < cell].abs().mean() / cell
    assert float(off) < 0.1


def test_weights_of_pixels_are_those_of_the_energy() -> None:
    """What `Recoloring` gets as weights is what the images' squares count, per channel."""
    look = painted(None)
    found, _, targets = problem(look)
    w, _ = pixel_weights(found.band.lattice, targets, look, WEIGHTS)
    torch.testing.assert_close(found.w_color, (w / 3)[..., None].expand_as(found.w_color))
