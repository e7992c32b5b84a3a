"""Lights that nobody has measured: fixed to the scene, to the camera, or another in each view."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from torch import Tensor

from multiview.config import FitConfig
from multiview.photo.appearance import MODELS, Appearance
from multiview.photo.choose_appearance import Look, candidates, choose_look, halves
from multiview.photo.known_light import ESTIMATED
from multiview.photo.targets import Targets
from multiview.photo.unknown_light import FIXED_TO, FixedTo
from multiview.results.finished_run import evaluate_run
from sdfrender import Cameras, InputError, Lighting, render
from sdfrender.view.lighting import turned_sh

CAMERAS = tiny.ring(12, 34, 27)
TORUS = tiny.true_lattice(20)
ALBEDO = torch.tensor([0.8, 0.5, 0.6])
# Bright enough to be positive everywhere, brighter from one side.
SH = torch.tensor(
    [[2.0, 1.8, 1.7], [-0.6, -0.5, -0.5], [-0.5, -0.4, 0.0], [0.4, 0.5, 0.3], [0.05, -0.1, 0.1],
     [-0.1, 0.0, 0.05], [0.08, 0.06, -0.04], [0.0, 0.1, 0.05], [-0.06, 0.02, 0.09]]
)  # fmt: skip


def light_of(fixed_to: FixedTo, cameras: Cameras = CAMERAS) -> Lighting:
    if fixed_to == "scene":
        return Lighting(headlight=None, sh=SH)
    if fixed_to == "camera":
        return Lighting(headlight=None, sh=turned_sh(SH, cameras.c2w[:, :3, :3]))
    each = torch.randn(len(cameras), 9, 3, generator=torch.Generator().manual_seed(2))
    each[:, 4:] *= 0.3
    return Lighting(headlight=None, sh=SH + 0.25 * each)


def photographs(
    fixed_to: FixedTo, albedo: Tensor = ALBEDO, views: list[int] | None = None
) -> Targets:
    out = render(TORUS, CAMERAS, lighting=light_of(fixed_to), albedo=albedo)
    ones = torch.ones_like(out.silhouettes)
    targets = Targets(CAMERAS, out.images, out.silhouettes, ones, ones)
    return targets if views is None else targets[views]


def stripes() -> Tensor:
    """Three colours across the torus, which its normals do not tell: `[31, 9, 11, 3]`."""
    x = torch.linspace(-10, 10, 31)[:, None, None, None]
    return (0.6 + 0.3 * torch.sin(x + torch.arange(3.0))).expand(31, 9, 11, 3).contiguous()


def learnt(fixed_to: FixedTo, targets: Targets, passes: int = 3) -> Appearance:
    look = Appearance(3, None, fixed_to=fixed_to, views=len(CAMERAS))
    for _ in range(passes):
        look.observe(look.render(TORUS, targets), targets, TORUS)
        look.solve()
    return look


def error(look: Appearance, targets: Targets) -> float:
    inside = targets.silhouettes > 0.99
    return float((look.render(TORUS, targets).images - targets.images)[inside].abs().mean())


@pytest.mark.parametrize("fixed_to", FIXED_TO)
def test_an_unknown_light_is_recovered(fixed_to: FixedTo) -> None:
    targets = photographs(fixed_to)
    errors = {x: error(learnt(x, targets), targets) for x in FIXED_TO}
    assert errors[fixed_to] < 0.004
    for other in FIXED_TO:
        # A light of each view can be any of them; but of one that is there, the others are not.
        if other not in (fixed_to, "view"):
            assert errors[other] > 5 * errors[fixed_to]


@pytest.mark.parametrize("fixed_to", FIXED_TO)
def test_views_by_their_numbers(fixed_to: FixedTo) -> None:
    """In groups, out of order: the same light as from all at once."""
    targets = photographs(fixed_to)
    whole = learnt(fixed_to, targets, 1)
    look = Appearance(3, None, fixed_to=fixed_to, views=len(CAMERAS))
    for views in ([7, 2, 11], [0, 1, 3, 4], [10, 9, 8, 6, 5]):
        group = targets[views]
        assert group.views.tolist() == views
        assert group.resized(17, 13).views.tolist() == views
        look.observe(look.render(TORUS, group), group, TORUS)
    look.solve()
    torch.testing.assert_close(look.light.sh, whole.light.sh, atol=1e-4, rtol=1e-4)


def test_a_view_that_shows_nothing_has_the_light_of_all() -> None:
    targets = photographs("view")
    seen = learnt("view", targets[range(10)])
    torch.testing.assert_close(seen.light.sh[10], seen.light.sh[11])
    torch.testing.assert_close(
        seen.light.sh[10], learnt("scene", targets[range(10)]).light.sh, atol=0.02, rtol=0.02
    )


def test_a_view_that_shows_little_is_held_to_the_light_of_all() -> None:
    targets = photographs("view")
    few = targets.image_weights.clone()
    few[4] = 0
    few[4, 12:14, 12:14] = 1
    little = Targets(CAMERAS, targets.images, targets.silhouettes, targets.silhouette_weights, few)
    common = learnt("view", targets[[n for n in range(12) if n != 4]]).light.sh[4]
    whole, held = (learnt("view", x).light.sh[4] for x in (targets, little))
    assert float((held - common).norm()) < 0.7 * float((whole - common).norm())


def test_views_that_were_not_fitted_are_met() -> None:
    targets = photographs("view")
    shown, hidden = targets[range(9)], targets[[9, 10, 11]]
    look = learnt("view", shown)
    before = look.light
    far = error(look, hidden)
    look.meet(TORUS, hidden)
    assert error(look, hidden) < 0.2 * far
    assert torch.equal(look.light.sh[:9], before.sh[:9])
    for fixed_to in ("scene", "camera"):
        other = learnt(fixed_to, shown)  # type: ignore[arg-type]
        kept = other.light
        other.meet(TORUS, hidden)
        assert other.light is kept


def test_colours_under_the_light_of_each_view() -> None:
    targets = photographs("view", stripes())
    look = Appearance(3, None, "albedo", fixed_to="view", views=len(CAMERAS))
    one = Appearance(3, None, "albedo")
    for each in (look, one):
        for _ in range(6):
            each.observe(each.render(TORUS, targets), targets, TORUS)
            each.solve(smoothness=0.01)
    assert error(look, targets) < 0.02
    assert error(look, targets) < 0.4 * error(one, targets)


@pytest.mark.parametrize("fixed_to", FIXED_TO)
def test_photographs_without_a_colour(fixed_to: FixedTo) -> None:
    """Of which a channel says nothing about the light."""
    targets = photographs(fixed_to, torch.tensor([0.8, 0.0, 0.6]))
    look = Appearance(3, None, "albedo", fixed_to=fixed_to, views=len(CAMERAS))
    for _ in range(4):
        look.observe(look.render(TORUS, targets), targets, TORUS)
        look.solve()
    assert look.light.sh.isfinite().all()
    assert error(look, targets) < 0.03


def test_views_that_show_nothing_are_met() -> None:
    look = learnt("view", photographs("view")[range(9)])
    before = look.light.sh
    hidden = photographs("view")[[9, 10]]
    unseen = replace(hidden, silhouettes=torch.zeros_like(hidden.silhouettes))
    look.meet(TORUS, unseen)
    assert torch.equal(look.light.sh, before)


@pytest.mark.parametrize("fixed_to", FIXED_TO)
def test_what_is_kept_is_all_that_matters(fixed_to: FixedTo) -> None:
    look, other = learnt(fixed_to, photographs(fixed_to)), Appearance(3, None)
    other.restore({name: x.clone() for name, x in look.state().items()}, 10**6)
    assert other.light.fixed_to == fixed_to
    assert error(other, photographs(fixed_to)) == error(look, photographs(fixed_to))
    told = other.description()["lighting"]
    assert isinstance(told, dict)
    assert told.get("fixed_to", "scene") == fixed_to


# ---------------------------------------------------------------------- which one


@pytest.mark.parametrize("albedo", [ALBEDO, stripes()], ids=["one colour", "stripes"])
@pytest.mark.parametrize("fixed_to", FIXED_TO)
def test_the_light_that_predicts_is_chosen(fixed_to: FixedTo, albedo: Tensor) -> None:
    look = Appearance(3, None, views=len(CAMERAS))
    looks = candidates(MODELS, FIXED_TO)
    found = choose_look(TORUS, photographs(fixed_to, albedo), look, looks)
    assert found.fixed_to == fixed_to
    assert (found.model == "constant") == (albedo.ndim == 1)
    assert choose_look(TORUS, photographs(fixed_to, albedo, [0, 1]), look, looks) == looks[0]


def test_candidates_are_ordered() -> None:
    looks = candidates(("constant", "radiance"), ("scene", "camera"))
    assert looks == [
        Look("constant", "scene"), Look("constant", "camera"), Look("radiance", "scene")
    ]  # fmt: skip


def test_half_of_the_pixels() -> None:
    targets = photographs("scene")
    (nothing,) = halves(targets, Look("albedo", "camera"))
    assert not nothing.any()
    white, black = halves(targets, Look("albedo", "view"))
    assert white.shape == black.shape == (27, 34)
    assert (white ^ black).all()
    assert float(white.float().mean()) == pytest.approx(0.5, abs=0.03)


# ---------------------------------------------------------------------- in a fit


def turntable(folder: Path, fixed_to: FixedTo) -> Path:
    """The torus in its own box; two views are held out. The scene states no light."""
    cameras = tiny.ring(12, 44, 36)
    out = render(tiny.true_lattice(), cameras, lighting=light_of(fixed_to, cameras), albedo=0.4)
    scene = tiny.write_torus(
        folder,
        images=out.images,
        silhouettes=out.silhouettes,
        cameras=cameras,
        held_out=(10, 11),
    )
    file = scene / "transforms.json"
    stated = json.loads(file.read_text())
    del stated["sdfrender"]["lighting"]
    file.write_text(json.dumps(stated))
    return scene


@pytest.mark.release
@pytest.mark.parametrize("fixed_to", ["camera", "view"])
def test_a_fit_under_such_a_light(fixed_to: FixedTo, tmp_path: Path) -> None:
    scene = turntable(tmp_path / "scene", fixed_to)
    settings = {"recipe": tiny.LONG["fast"], "appearance": "constant"}
    plain = tiny.fit_tiny(scene, tmp_path / "plain", light="estimate", **settings)  # type: ignore[arg-type]
    found = tiny.fit_tiny(scene, tmp_path / "auto", **settings)  # type: ignore[arg-type]
    for group in ("train", "held_out"):
        assert found[group]["psnr"] > plain[group]["psnr"] + 5
    assert found["reference"]["chamfer_l1"] < 0.9 * plain["reference"]["chamfer_l1"]
    told = json.loads((tmp_path / "auto" / "appearance.json").read_text())["lighting"]
    assert told["fixed_to"] == fixed_to
    measured = evaluate_run(tmp_path / "auto", None)
    for group in ("train", "held_out"):
        assert measured[group] == pytest.approx(found[group], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("fixed_to", ["camera", "view"])
def test_an_interrupted_fit_goes_on(fixed_to: FixedTo, tmp_path: Path) -> None:
    scene = turntable(tmp_path / "scene", fixed_to)
    recipe = tiny.SHORT["fast"]
    whole = tiny.optimize_tiny(scene, tmp_path / "whole", recipe)
    assert whole.appearance.light.fixed_to == fixed_to
    with tiny.stopped_after(0, 2):
        tiny.optimize_tiny(scene, tmp_path / "part", recipe)
    resumed = tiny.optimize_tiny(scene, tmp_path / "part", recipe, resume=True)
    assert torch.equal(resumed.appearance.light.sh, whole.appearance.light.sh)
    assert torch.equal(resumed.lattice.values, whole.lattice.values)


@pytest.mark.parametrize(("choice", "fixed_to"), ESTIMATED.items())
def test_a_light_by_its_name(choice: str, fixed_to: FixedTo, tmp_path: Path) -> None:
    """Also where the scene states one."""
    scene = tiny.write_torus(tmp_path / "scene")
    for preset in tiny.PRESETS:
        recipe = tiny.SHORT[preset]
        state = tiny.optimize_tiny(scene, tmp_path / preset, recipe, light=choice)
        assert state.appearance.known is None
        assert state.appearance.light.fixed_to == fixed_to
        assert state.appearance.light.sh.shape == ((8, 9, 1) if fixed_to == "view" else (9, 1))
        assert float(state.appearance.light.sh.abs().max()) > 0.1


def test_with_cameras_that_are_refined(tmp_path: Path) -> None:
    """The light turns with them."""
    scene = turntable(tmp_path / "scene", "camera")
    state = tiny.optimize_tiny(
        scene, tmp_path / "run", tiny.LONG["fast"], light="camera", refine_cameras=True
    )
    assert state.corrections is not None
    assert float(state.corrections.rotations.abs().max()) < 0.03  # they were right


def test_a_light_of_each_view_has_its_exposure(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--exposure"):
        FitConfig(tmp_path, tmp_path, light="per-view", exposure="per-view")
