"""Steps of Gauss-Newton on a card: their parts against those of the CPU, and whole steps.

Whole steps run on a card that numba simulates and torch pretends (`pretended_card`): tensors of the
card and of the host do not mix there, as on a card that is one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import card_fits
import numpy as np
import pytest
import stereo_tiny
import torch
from newton_problems import BAND, SHAPES, blurred, photographs, with_sh
from places import ROOT
from processes.cpu_as_card import cpu_as_card
from safetensors.torch import load_file, save_file

from multiview.optimize.band import Band
from multiview.optimize.card.band import CardBand
from multiview.optimize.card.recoloring import CardRecoloring
from multiview.optimize.gauss_newton import GaussNewton
from multiview.optimize.recoloring import Recoloring
from multiview.optimize.stereo_rows import depth_rows
from multiview.optimize.stereo_term import StereoTerm
from multiview.photo.albedo import solve_albedo, solve_in_torch
from multiview.photo.appearance import Appearance
from multiview.photo.lens import blur, convolved
from multiview.recipes import NewtonLevel, NewtonRecipe
from multiview.stereo.matching import Matching
from multiview.stereo.pictures import pictures_for
from sdfrender import Lattice
from sdfrender.rendering.cards import card_obstacle

MOST_COPIED = 64  # numbers: cameras, light; a picture has 143, the lattice 990
ROUNDING = 3e-6  # of the norm, after two steps; seen: 6e-7


@pytest.mark.slow
@pytest.mark.parametrize("name", card_fits.FITS)
def test_steps_on_a_simulated_card_are_those_on_the_cpu(name: str, tmp_path: Path) -> None:
    known, cpu = card_fits.given(name), torch.device("cpu")
    expected = card_fits.results(name, known, cpu)
    before = card_fits.start().values
    assert float((expected["values"] - before).abs().max()) > 0.05
    assert (float(expected["blur"]) > 0) == ("blurred" in name)
    file = tmp_path / "fit.safetensors"
    save_file(known, file)
    script = ROOT / "tests" / "support" / "processes" / "simulated_fit.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, script, file, name],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = load_file(file)
    assert int(found.pop("largest copy")) <= MOST_COPIED
    assert found.keys() == expected.keys()
    for key, x in expected.items():
        a, b = found[key].double(), x.double()
        assert float((a - b).norm()) <= ROUNDING * float(b.norm()), key


@pytest.mark.skipif(
    card_obstacle() is not None, reason="needs an NVIDIA card and the package numba-cuda"
)
@pytest.mark.parametrize("name", card_fits.FITS)
def test_steps_on_a_card_are_those_on_the_cpu(name: str) -> None:
    known = card_fits.given(name)
    expected = card_fits.results(name, known, torch.device("cpu"))
    found = card_fits.results(name, known, torch.device("cuda"))
    for key, x in expected.items():
        a, b = found[key].double(), x.double()
        assert float((a - b).norm()) <= 1e-4 * float(b.norm()), key


@pytest.mark.parametrize("shape", SHAPES)
def test_the_band_in_torch_is_the_band(shape: str) -> None:
    lattice = SHAPES[shape]()
    mine, twin = CardBand(lattice, BAND, 2.2), Band(lattice, BAND, 2.2)
    assert mine.ids.tolist() == twin.ids.tolist()
    assert mine.smooth.tolist() == twin.smooth.tolist()
    random = torch.Generator().manual_seed(0)
    x = torch.randn(len(twin), generator=random)
    points = torch.rand((50, 3), generator=random)
    points = lattice.bounds[0] + points * (lattice.bounds[1] - lattice.bounds[0])
    for pair in (
        (mine.laplacian(), twin.laplacian()),
        (mine.eikonal(), twin.eikonal()),
        (mine.samples(points), twin.samples(points)),
    ):
        (rows, residual), (expected, other) = pair
        np.testing.assert_allclose(residual.numpy(), other, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose((rows @ x).numpy(), expected @ x.numpy(), rtol=1e-4, atol=1e-4)
        squares = expected.multiply(expected).sum(0).A1
        np.testing.assert_allclose(rows.squares.numpy(), squares, rtol=1e-4, atol=1e-5)
        r = torch.randn(len(rows), generator=random)
        np.testing.assert_allclose(
            (rows.T @ r).numpy(), expected.T @ r.numpy(), rtol=1e-4, atol=1e-4
        )
    torch.testing.assert_close(mine.moved(x), twin.moved(x.numpy()))


def test_rows_of_stereo_come_over_from_the_host() -> None:
    lattice = SHAPES["cut by the box"]()
    band = CardBand(lattice, BAND, 2.2)
    host = band.on_host()
    random = torch.Generator().manual_seed(1)
    at = lattice.bounds[0] + torch.rand((40, 3), generator=random) * 2
    rays = torch.randn((40, 3), generator=random)
    expected = depth_rows(host, at, rays)
    x = torch.randn(len(host), generator=random)
    rows = band.from_host(host, expected)
    np.testing.assert_allclose((rows @ x).numpy(), expected @ x.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.3, 1.1, 7.0])
def test_the_lens_in_torch_is_the_lens(sigma: float) -> None:
    images = torch.rand((2, 9, 7, 3), generator=torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(convolved(images, sigma), blur(images, sigma))


def test_colours_in_torch_are_the_colours() -> None:
    lattice = SHAPES["torus"]()
    look = blurred(with_sh(Appearance(3, None, "albedo")))
    targets = photographs(look)
    out = look.render(lattice, targets)
    random = torch.Generator().manual_seed(3)
    weights, pulled = torch.rand((2, *out.images.shape), generator=random)
    problem = lattice, out, targets, look, weights, pulled
    mine, twin = CardRecoloring(*problem), Recoloring(*problem)
    assert mine.ids.tolist() == twin.ids.tolist()
    for name in ("gradient", "diagonal"):
        x, y = getattr(mine, name).numpy(), getattr(twin, name)
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    colors = torch.randn(len(mine.gradient), generator=random)
    images = out.images.clone(), out.images.clone()
    mine.add(images[0], colors)
    twin.add(images[1], colors.numpy())
    torch.testing.assert_close(*images)
    np.testing.assert_allclose(
        mine.hold(colors).numpy(), twin.hold(colors.numpy()), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("dark", [(), (1,), (0, 1, 2)])
def test_albedo_in_torch_is_the_albedo(dark: tuple[int, ...]) -> None:
    """Also in a channel that no light falls in."""
    lattice = SHAPES["sphere"]()
    random = torch.Generator().manual_seed(4)
    directions = torch.nn.functional.normalize(torch.randn((500, 3), generator=random), dim=-1)
    points = lattice.bounds.mean(0) + 1.2 * directions * torch.tensor([1.0, 0.6, 1.0])
    light = 0.1 + torch.rand((500, 3), generator=random)
    light[:, list(dark)] = 0.0
    colors = light * torch.rand((500, 3), generator=random)
    rest = torch.tensor([0.4, 0.5, 0.6])
    begin = rest.expand(*lattice.resolution, 3).contiguous()
    given = lattice, points, light, colors, 0.1, begin, rest
    torch.testing.assert_close(solve_in_torch(*given), solve_albedo(*given), rtol=1e-3, atol=1e-4)


def test_photographs_are_compared_on_the_host_for_steps_on_a_card() -> None:
    views = stereo_tiny.cameras()
    targets = stereo_tiny.photographs(views)
    start = stereo_tiny.ball(0.55)
    level = NewtonLevel(1, 1.5, 2, laplacian=0.003)
    recipe = NewtonRecipe((level,), views=4)  # in turns, which remember the others' depths

    def after(device: torch.device) -> tuple[Lattice, torch.Tensor]:
        stereo = StereoTerm(pictures_for(targets, start, 4.0), Matching(search=1.5))
        low, look = targets.for_lattice(start, 1.5), Appearance(1, None, "albedo")
        method = GaussNewton(start, low, look, recipe, level, stereo=stereo, device=device)
        method.estimate_appearance()
        terms = [terms for index in range(2) for _, terms in method.run_pass(index)]
        return method.lattice, torch.stack([x.stereo.sum() for x in terms])

    expected, energies = after(torch.device("cpu"))
    assert float(energies.min()) > 0
    with cpu_as_card():
        found, theirs = after(torch.device("cuda"))
    cell = float(start.spacing.max())
    assert float((found.values - expected.values).abs().max()) < 1e-4 * cell
    torch.testing.assert_close(theirs, energies, rtol=1e-4, atol=0)
