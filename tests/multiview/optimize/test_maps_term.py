"""Depth and normal maps in a step of Gauss-Newton, against finite differences and known answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from newton_problems import BAND, WEIGHTS, ball
from torch import Tensor

from multiview.optimize.energy import pixels_in_cells
from multiview.optimize.maps import term as maps_term
from multiview.optimize.maps.noise import depth_noise, normal_noise
from multiview.optimize.maps.scales import fit_scales
from multiview.optimize.maps.term import MapTerm, beside_jumps
from multiview.optimize.normal_equations import LeastSquares
from multiview.photo.targets import Targets
from multiview.scenes.maps.maps import Maps
from multiview.stereo.outline import Outline
from sdfrender import Lattice, render

DARK = replace(WEIGHTS, color=0.0, silhouette=0.0, carve=0.0, eikonal=0.0, laplacian=0.0)


def mapped(scaled: bool = False, seed: int = 0, **wanted: bool) -> tuple[Lattice, Targets]:
    """A ball a little off, and maps of another, with unknown pixels and weights between."""
    truth, cameras = ball(), tiny.ring(3, 37, 29)
    out = render(truth, cameras)
    random = torch.Generator().manual_seed(seed)
    weights = torch.rand((2, *out.depths.shape), generator=random)
    weights = torch.where(weights > 0.3, weights, 0) * out.hit_mask
    depths = torch.where(weights[0] > 0, out.depths, 0)
    maps = Maps(depths, weights[0], out.normals * (weights[1] > 0)[..., None], weights[1], scaled)
    if not wanted.get("normals", True):
        maps = replace(maps, normals=None, normal_weights=None)
    if not wanted.get("depths", True):
        maps = replace(maps, depths=None, depth_weights=None)
    ones = torch.ones_like(out.silhouettes)
    targets = Targets(cameras, out.images[..., :1], out.silhouettes, ones, ones, maps=maps)
    random = torch.Generator().manual_seed(3)
    bumps = 0.03 * torch.randn(truth.values.shape, generator=random) * float(truth.spacing.max())
    return truth.with_values(truth.values + 0.1 * truth.spacing.max() + bumps), targets


def energy(values: Tensor, lattice: Lattice, targets: Targets, term: MapTerm) -> Tensor:
    """`Σ W r²` in the values' dtype, weights held."""
    maps = targets.maps
    assert maps is not None
    out = render(Lattice(values, lattice.bounds), targets.cameras)
    total = torch.zeros(()).to(values)
    for name, wanted in (("depths", maps.depths), ("normals", maps.normals)):
        if wanted is not None:
            weights = term.weights[name].to(values)
            plane = torch.where(weights > 0, getattr(out, name) - wanted, 0)
            total = total + (weights * plane**2).sum()
    return total


KINDS = pytest.mark.parametrize("kind", ["depths", "normals", "both"])


def problem_of(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Lattice, Targets, LeastSquares, MapTerm]:
    """Without the limits beyond which residuals count linearly."""
    monkeypatch.setattr(maps_term, "NEAR", 1e6)
    monkeypatch.setattr(maps_term, "TURNED", 1e6)
    wanted = {"depths": kind != "normals", "normals": kind != "depths"}
    lattice, targets = mapped(**wanted)
    problem = LeastSquares(lattice, targets, Outline(), DARK, BAND)
    assert problem.maps is not None
    assert set(problem.maps.outputs) == {name for name, on in wanted.items() if on}
    return lattice, in_double(targets), problem, problem.maps


@KINDS
def test_the_gradient_is_half_the_energys(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, by the derivatives of `render`."""
    lattice, targets, problem, term = problem_of(kind, monkeypatch)
    values = lattice.values.double().requires_grad_()
    (expected,) = torch.autograd.grad(energy(values, lattice, targets, term), values)
    expected = expected.numpy().ravel()[problem.band.ids] * problem.band.h / 2
    np.testing.assert_allclose(
        problem.gradient, expected, atol=2e-3 * float(np.abs(expected).max())
    )
    total = float(term.energy.sum())  # which is cut off nowhere here
    assert total == pytest.approx(float(energy(values.detach(), lattice, targets, term)), rel=1e-3)


@KINDS
def test_rows_are_those_of_finite_differences(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, pixel by pixel: a few hits jump between cells, or are lost."""
    lattice, targets, problem, term = problem_of(kind, monkeypatch)
    x = np.random.default_rng(0).standard_normal(len(problem.band)).astype(np.float32)
    move, step = problem.band.scatter(x).double(), 1e-6
    changed = dict(zip(problem.J.outputs, problem.J.jvp(move.float()), strict=True))
    values = lattice.values.double()
    seen = [
        render(Lattice(values + s * step * move, lattice.bounds), targets.cameras) for s in (1, -1)
    ]
    for name in term.outputs:
        known = term.weights[name] > 0
        a, b = (getattr(out, name)[known] for out in seen)
        expected = (a - b) / (2 * step)
        off = (changed[name][known] - expected).abs() / expected.abs().median()
        assert float(off.median()) < 1e-4
        assert float((off < 0.01).float().mean()) > 0.95


def test_weights_are_of_pixels_in_cells_and_of_their_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps_term, "TURNED", 1e6)
    lattice, targets = mapped(depths=False)
    maps, out = targets.maps, render(lattice, targets.cameras)
    assert maps is not None
    assert maps.normals is not None
    assert maps.normal_weights is not None
    cells = pixels_in_cells(lattice, targets)
    assert float((cells - 2).abs().min()) > 0.1
    noise = max(normal_noise(maps.normals, maps.normal_weights), maps_term.LEAST_NORMAL_NOISE)
    shown = out.hit_mask & (targets.silhouettes > maps_term.INSIDE)
    expected = maps_term.WEIGHT / noise**2 * 2.5 * (cells**2)[:, None, None] * shown
    expected = (expected * maps.normal_weights)[..., None].expand_as(out.normals)
    term = MapTerm(lattice, targets, out, 2.5)
    torch.testing.assert_close(term.weights["normals"], expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("scaled", [False, True])
def test_weighing_changes_multiplies_by_the_weights(scaled: bool) -> None:
    """Of depth maps without a scale, but for what their scales and shifts explain."""
    lattice, targets = mapped(scaled)
    maps = targets.maps
    assert maps is not None
    assert maps.depths is not None
    term = MapTerm(lattice, targets, render(lattice, targets.cameras), 1.0)
    assert term.outputs == ("depths", "normals")
    random = torch.Generator().manual_seed(0)
    change = {k: torch.randn(w.shape, generator=random) for k, w in term.weights.items()}
    weighed = {k: x.clone() for k, x in change.items()}
    term.weigh_(weighed)
    torch.testing.assert_close(weighed["normals"], change["normals"] * term.weights["normals"])
    plain = change["depths"] * term.weights["depths"]
    if not scaled:
        torch.testing.assert_close(weighed["depths"], plain)
        return
    size = (plain.abs() * maps.depths).sum((1, 2))
    assert ((weighed["depths"] * maps.depths).sum((1, 2)).abs() < 1e-3 * size).all()
    assert (weighed["depths"].sum((1, 2)).abs() < 1e-3 * plain.abs().sum((1, 2))).all()
    assert float((weighed["depths"] - plain).abs().max()) > 0


def in_double(targets: Targets) -> Targets:
    like = torch.zeros(0, dtype=torch.float64)
    return replace(targets, cameras=targets.cameras.to(like))


def test_unknown_pixels_are_ignored() -> None:
    """Whatever stands in them."""
    lattice, targets = mapped()
    before = LeastSquares(lattice, targets, Outline(), DARK, BAND).gradient
    maps = targets.maps
    assert maps is not None
    assert maps.depths is not None
    assert maps.normals is not None
    wrong = replace(
        maps,
        depths=torch.where(maps.depth_weights == 0, 123.0, maps.depths),
        normals=torch.where((maps.normal_weights == 0)[..., None], 0.7, maps.normals),
    )
    after = LeastSquares(lattice, replace(targets, maps=wrong), Outline(), DARK, BAND).gradient
    np.testing.assert_array_equal(before, after)
    assert np.abs(before).max() > 0


def test_a_map_far_behind_pulls_no_harder() -> None:
    """Residuals beyond NEAR are held: a hull is carved step by step."""
    lattice, targets = mapped(normals=False)
    assert targets.maps is not None
    assert targets.maps.depths is not None
    far = replace(targets, maps=replace(targets.maps, depths=targets.maps.depths + 10))
    farther = replace(targets, maps=replace(targets.maps, depths=targets.maps.depths + 20))
    pulls = [LeastSquares(lattice, t, Outline(), DARK, BAND).gradient for t in (far, farther)]
    np.testing.assert_allclose(pulls[0], pulls[1], rtol=1e-5, atol=1e-9)
    assert float(pulls[0].sum()) < 0  # values rise: the surface moves back


def test_scales_and_shifts_are_found() -> None:
    """Against known numbers, with a tenth of the pixels far off and some unknown."""
    random = torch.Generator().manual_seed(0)
    d = 1 + torch.rand((3, 20, 30), generator=random)
    known = torch.tensor([[2.0, 0.5], [0.3, -0.1], [1.0, 0.0]])
    z = known[:, 0, None, None] * d + known[:, 1, None, None]
    outlier = torch.rand(d.shape, generator=random) < 0.1
    weights = (torch.rand(d.shape, generator=random) > 0.2).float()
    z = torch.where(weights > 0, z + 5 * outlier, 99.0)
    found = fit_scales(z, d, weights, 0.001)
    torch.testing.assert_close(found, known, atol=3e-3, rtol=0)
    assert fit_scales(z, d, 0 * weights, 0.01).tolist() == [[1, 0]] * 3


def test_a_step_does_not_depend_on_the_scale_of_the_maps() -> None:
    """With scales to be found, maps of other scales and shifts ask for the same."""
    lattice, targets = mapped(scaled=True, normals=False)
    maps = targets.maps
    assert maps is not None
    assert maps.depths is not None
    other = torch.where(maps.depth_weights > 0, 0.4 * maps.depths - 0.6, 0)
    again = replace(targets, maps=replace(maps, depths=other))
    one, two = (LeastSquares(lattice, t, Outline(), DARK, BAND) for t in (targets, again))
    x = np.random.default_rng(1).standard_normal(len(one.band)).astype(np.float32)
    for a, b in ((one.gradient, two.gradient), (one.pixels(x), two.pixels(x))):
        np.testing.assert_allclose(a, b, atol=2e-3 * np.abs(a).max())
    # What scales explain is weighed out: moving along the rays as a scale would is free.
    assert one.maps is not None
    changes: dict[str, Any] = {"depths": maps.depths.clone(), "silhouettes": torch.zeros(1)}
    one.maps.weigh_(changes)
    plain = (one.maps.weights["depths"] * maps.depths).abs().max()
    assert float(changes["depths"].abs().max()) < 1e-3 * float(plain)


def test_noise_is_told_from_the_maps() -> None:
    random = torch.Generator().manual_seed(0)
    row = torch.linspace(3, 4, 60).expand(2, 50, 60).clone()
    row[:, :, 30:] += 2  # an edge
    weights = (torch.rand(row.shape, generator=random) > 0.1).float()
    noisy = row + 0.02 * torch.randn(row.shape, generator=random)
    assert depth_noise(noisy, weights) == pytest.approx(0.02, rel=0.06)
    assert depth_noise(row, weights) < 1e-6
    assert depth_noise(noisy, 0 * weights) == 0
    normals = torch.tensor([0.0, 0.6, 0.8]).expand(2, 50, 60, 3)
    spread = normals + 0.1 * torch.randn(normals.shape, generator=random)
    assert normal_noise(spread, weights) == pytest.approx(0.1, rel=0.06)


def test_pixels_beside_jumps_are_told() -> None:
    """On both sides of an edge; a slope is none, and the rim of what is unknown is none."""
    depths = (0.1 * torch.arange(9.0)).expand(1, 7, 9).clone()
    depths[:, :, 5:] += 3
    weights = torch.ones(1, 7, 9)
    depths[0, 2:5, 1] = weights[0, 2:5, 1] = 0
    expected = torch.zeros(1, 7, 9, dtype=torch.bool)
    expected[:, :, 4:6] = True
    assert torch.equal(beside_jumps(depths, weights, 0.5), expected)
