"""`--preset sdfdiff`: the energy in the paper's units, its order of updates, its stopping rule."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import places
import pytest
import tiny
import torch

from multiview import cli
from multiview.config import FitConfig
from multiview.fit import fit
from multiview.optimize.sdfdiff import SdfDiff, energy
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.recipes import RECIPES, SdfDiffLevel, SdfDiffRecipe, sdfdiff
from multiview.scenes import load_scene
from sdfrender import Cameras, Headlight, InputError, Lattice, Lighting, load_lattice, render
from sdfrender.geometry.primitives import sphere

RECIPE = SdfDiffRecipe((SdfDiffLevel(0.7, 1.5, 3, 0.05), SdfDiffLevel(1, 2, 3, 0.05)))
LEVEL = SdfDiffLevel(1, 2, 3, 0.01, 0.4)
WHITE = Lighting(headlight=Headlight(0.8))
BOX = ((-2.0,) * 3, (2.0,) * 3)


def targets_of(lattice: Lattice, width: int = 24, albedo: float = 1.0, views: int = 3) -> Targets:
    cameras = Cameras.cube(5 * float(lattice.bounds[1, 0]) / 2, width=width)[list(range(views))]
    out = render(lattice, cameras, lighting=WHITE, albedo=albedo)
    one = torch.ones_like(out.silhouettes)
    return Targets(cameras, out.images, out.silhouettes, one, one)


def appearance(albedo: float = 1.0) -> Appearance:
    found = Appearance(1, WHITE)
    found.albedo = torch.tensor([albedo])
    return found


def bumpy(resolution: int = 9) -> Lattice:
    """Not a distance, so that all terms have something to say."""
    generator = torch.Generator().manual_seed(0)
    ball = Lattice.sphere(1.2, resolution=resolution, bounds=BOX, dtype=torch.float64)
    noise = torch.randn(ball.values.shape, generator=generator, dtype=torch.float64)
    return ball.with_values(ball.values + 0.05 * noise)


# ---------------------------------------------------------------------- the energy


def test_the_energy_is_the_papers_sum_over_pixels_and_vertices() -> None:
    """Written out again for the inner vertices, in the paper's box: at 32³ all weights are 1."""
    lattice = bumpy(32)
    targets = targets_of(Lattice.sphere(1.4, resolution=32, bounds=BOX))
    terms, out = energy(lattice, targets, appearance(), RECIPE)
    shown = render(lattice, targets.cameras, lighting=WHITE, coverage=False)
    expected = (shown.images - targets.images).abs().sum((1, 2, 3)) * 256**2 / 24**2
    torch.testing.assert_close(terms.color, expected, check_dtype=False)
    assert set(out.silhouettes.unique().tolist()) == {0.0, 1.0}
    v, h, i = lattice.values, 4 / 31, slice(1, -1)
    # values that are linear beyond the inner vertices cost nothing there
    gradients = torch.stack(
        torch.gradient(v, spacing=h, dim=(0, 1, 2), edge_order=1)
    )  # one-sided at the faces
    torch.testing.assert_close(terms.eikonal, (((gradients**2).sum(0) - 1) ** 2).sum())
    inner = v[2:, i, i] + v[:-2, i, i] + v[i, 2:, i] + v[i, :-2, i] + v[i, i, 2:] + v[i, i, :-2]
    inner = inner - 6 * v[i, i, i]
    assert float(terms.laplacian) >= float((inner**2).sum())
    assert float(terms.silhouette.sum()) == float(terms.carve.sum()) == 0


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_units_of_the_scene_do_not_matter(scale: float) -> None:
    a = bumpy()
    b = Lattice(a.values * scale, a.bounds * scale)
    ball = Lattice.sphere(1.4, resolution=16, bounds=BOX)
    big = Lattice(ball.values * scale, ball.bounds * scale)
    first, _ = energy(a, targets_of(ball), appearance(), RECIPE)
    other, _ = energy(b, targets_of(big), appearance(), RECIPE)
    torch.testing.assert_close(first.color, other.color, rtol=0.02, atol=0.0)  # grazing pixels
    torch.testing.assert_close(first.eikonal, other.eikonal)
    torch.testing.assert_close(first.laplacian, other.laplacian)


def test_neither_do_image_size_and_albedo() -> None:
    lattice, ball = bumpy(), Lattice.sphere(1.4, resolution=16, bounds=BOX)
    first, _ = energy(lattice, targets_of(ball, 48), appearance(), RECIPE)
    small, _ = energy(lattice, targets_of(ball, 32), appearance(), RECIPE)
    grey, _ = energy(lattice, targets_of(ball, 48, albedo=0.4), appearance(0.4), RECIPE)
    torch.testing.assert_close(first.color, small.color, rtol=0.03, atol=0.0)
    torch.testing.assert_close(first.color, grey.color)


def test_the_eikonal_term_keeps_its_share_of_the_images() -> None:
    """The same surface on finer lattices: a fraction of it costs about the same, not h⁻³."""

    def field(resolution: int) -> Lattice:
        ball = Lattice.from_function(sphere(1.2), resolution, BOX)
        narrow = ball.values.abs() < 2.5 * float(ball.spacing.max())
        return ball.with_values(torch.where(narrow, 1.1 * ball.values, ball.values))

    targets = targets_of(Lattice.sphere(1.4, resolution=16, bounds=BOX))
    costs = [
        float(energy(field(n), targets, appearance(), RECIPE)[0].eikonal) for n in (24, 48, 64)
    ]
    assert max(costs) < 2.5 * min(costs)


def test_a_silhouette_pulls_on_nothing() -> None:
    """A white sphere lit from everywhere: only its outline is wrong, and no gradient says so."""
    values = Lattice.sphere(1.0, resolution=17, bounds=BOX).values.requires_grad_()
    light = Lighting(ambient=1.0, headlight=None)
    cameras = Cameras.cube(5.0, width=32)[:2]
    out = render(Lattice.sphere(1.3, resolution=17, bounds=BOX), cameras, lighting=light)
    one = torch.ones_like(out.silhouettes)
    targets = Targets(cameras, out.images, out.silhouettes, one, one)
    terms, _ = energy(Lattice(values, torch.tensor(BOX)), targets, Appearance(1, light), RECIPE)
    assert float(terms.color.detach().sum()) > 100
    (gradient,) = torch.autograd.grad(terms.color.sum(), values)
    assert not gradient.any()


# ---------------------------------------------------------------------- the order of updates


def method(level: SdfDiffLevel = LEVEL, recipe: SdfDiffRecipe = RECIPE) -> SdfDiff:
    targets = targets_of(Lattice.sphere(1.4, resolution=16, bounds=BOX))
    start = Lattice.sphere(1.2, resolution=9, bounds=BOX)
    return SdfDiff(start, targets, appearance(), recipe, level)


def test_a_view_is_updated_until_that_raises_its_energy() -> None:
    for updates in (5, 2):
        fitted = method(recipe=replace(RECIPE, updates=updates))
        done = list(fitted.run_pass(0))
        turns = [[float(t.total) for views, t in done if views == [n]] for n in range(3)]
        assert [views for views, _ in done] == sorted(views for views, _ in done)
        for totals in turns:
            assert 2 <= len(totals) <= updates
            assert totals[:-1] == sorted(totals[:-1], reverse=True)
            assert len(totals) == updates or totals[-1] >= totals[-2]


def test_the_appearance_sees_each_view_once_in_a_pass() -> None:
    fitted = method()
    with patch.object(Appearance, "observe") as observe:
        for index in range(2):
            done = [views for views, _ in fitted.run_pass(index)]
            assert len(done) > 3  # a view is updated more often than it is looked at
            assert observe.call_count == 3 * (index + 1)


def test_a_level_ends_when_a_pass_gains_too_little() -> None:
    fitted = method(replace(LEVEL, tolerance=1.0))
    assert not fitted.settled
    for now, settled in ((50.0, False), (40.0, False), (39.5, True), (41.0, True), (30.0, False)):
        fitted.sums = torch.tensor([float(fitted.sums[1]), now])
        assert fitted.settled == settled


def test_updates_lower_the_energy() -> None:
    fitted = method()
    losses = []
    for index in range(4):
        for _ in fitted.run_pass(index):
            pass
        losses.append(float(fitted.sums[1]))
    assert losses[-1] < 0.5 * losses[0]


# ---------------------------------------------------------------------- in a fit


def fit_paper(scene: Path, out: Path, recipe: SdfDiffRecipe = RECIPE, **more: Any) -> Any:
    config = FitConfig(scene, out, preset="sdfdiff", init="sphere", resolution=16, **more)
    with patch.dict(RECIPES, {"sdfdiff": lambda _: recipe}):
        return fit(config, quiet=True)


def test_a_fit_from_a_sphere(torus_scene: Path, tmp_path: Path) -> None:
    """The start is the paper's sphere; levels end early and the rows say which view."""
    summary = fit_paper(torus_scene, tmp_path / "run")
    start = load_lattice(tmp_path / "run" / "checkpoints" / "start.safetensors")
    shortest = float((tiny.BOX[1] - tiny.BOX[0]).min())
    middle = start.sample(torch.tensor(tiny.CENTER))
    assert float(middle) == pytest.approx(-0.4 * shortest, abs=0.3 * float(start.spacing.max()))
    assert summary["train"]["silhouette_iou"] > 0.5
    rows = tiny.read_losses(tmp_path / "run")
    assert all(float(row["silhouette"]) == float(row["carve"]) == 0 for row in rows)
    assert {row["views"] for row in rows} == {f"view_{n:03d}" for n in range(6)}


@pytest.mark.release
def test_a_fit_goes_on_where_it_was_cut_short(torus_scene: Path, tmp_path: Path) -> None:
    """Also behind a level that had ended early."""
    easy = replace(RECIPE.levels[0], tolerance=1e9)
    recipe = replace(RECIPE, levels=(easy, RECIPE.levels[1]))
    fit_paper(torus_scene, tmp_path / "whole", recipe)
    run_pass, calls = SdfDiff.run_pass, []

    def cut_short(self: SdfDiff, index: int) -> Any:
        calls.append(index)
        if len(calls) in (2, 4):
            raise KeyboardInterrupt
        return run_pass(self, index)

    with patch.object(SdfDiff, "run_pass", cut_short):
        fit_paper(torus_scene, tmp_path / "run", recipe)
        fit_paper(torus_scene, tmp_path / "run", recipe, resume=True)
        fit_paper(torus_scene, tmp_path / "run", recipe, resume=True)
    whole, parts = (load_lattice(tmp_path / n / "lattice.safetensors") for n in ("whole", "run"))
    assert torch.equal(whole.values, parts.values)
    rows, again = (tiny.read_losses(tmp_path / name) for name in ("whole", "run"))
    assert rows == again
    assert {row["pass"] for row in rows if row["level"] == "0"} == {"0", "1"}


def test_bounds_may_be_whole_numbers(torus_scene: Path, tmp_path: Path) -> None:
    summary = fit_paper(torus_scene, tmp_path / "run", bounds=(7, -5, 2, 13, -1, 8))
    assert summary["resolution"] == [16, 11, 16]


def test_the_released_levels() -> None:
    levels = sdfdiff(64).levels
    assert [round(64 * level.resolution) for level in levels] == [*range(8, 65, 8)]
    assert levels[0].learning_rate == 0.01
    assert levels[7].learning_rate == pytest.approx(0.01 / 1.03**7)
    assert levels[2].tolerance == pytest.approx(0.5 * 0.8 * 1.05**3)


def test_it_has_its_own_order_of_views(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--schedule"):
        FitConfig(tmp_path, tmp_path, preset="sdfdiff", schedule="greedy")
    monkeypatch.setattr(sys, "argv", ["multiview", "fit", str(tmp_path), "--preset", "sdfdiff"])
    assert cli.main() == 2  # known; there is no scene


# ---------------------------------------------------------------------- the released example

BUNNY = places.DATA / "sdfdiff" / "bunny.sdf"


@pytest.mark.skipif(not BUNNY.is_file(), reason="needs the released bunny.sdf in ../shared/data")
def test_the_images_of_the_released_example(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The README's command: a box with a longest side of 4, cameras at 5, nothing overexposed."""
    from sdfrender import cli as renderer

    monkeypatch.setattr(
        sys,
        "argv",
        f"sdfrender render {BUNNY} --out {tmp_path / 'scene'} --size 4 --distance 5 --fov-deg 60 "
        "--light sdfdiff --albedo 0.5 0.5 0.5 --bits 16 --width 64 --height 64".split(),
    )
    assert renderer.main() == 0
    scene = load_scene(tmp_path / "scene")
    assert scene.bounds is not None
    assert float((scene.bounds[1] - scene.bounds[0]).max()) == pytest.approx(4)
    torch.testing.assert_close(scene.bounds.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    assert scene.lighting is not None
    assert scene.lighting.headlight == Headlight(10.0, falloff=True)
    assert float(scene.images.max()) < 1
    middle = scene.cameras.centers.mean(0)
    torch.testing.assert_close((scene.cameras.centers - middle).norm(dim=1), torch.full((26,), 5.0))
    focal = 32 / math.tan(math.radians(30))
    assert float(scene.cameras.Ks[0, 1, 1]) == pytest.approx(focal, rel=1e-5)
