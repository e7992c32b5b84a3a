"""Stereo in whole fits: when it is on, what is said, boxes, and the disturbed ring."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scene_layouts
import tiny
import torch
import trimesh
from stereo_tiny import BOX, RADIUS, ball, cameras, photographs

from multiview.benchmark.config import RING, BenchmarkConfig, Disturbance, SceneSpec
from multiview.benchmark.disturb import (
    EXPONENT,
    GAINS,
    GAMMAS,
    HIGHLIGHT,
    PATH,
    SHADOW,
    disturbed,
    drifting,
    saturated,
    shadowed,
    without_first,
)
from multiview.benchmark.lamps import lamps
from multiview.benchmark.paint import fine_texture, solid_texture
from multiview.benchmark.run import train_views
from multiview.benchmark.scenes import make_scene, ring_cameras, well_spread
from multiview.cli import with_defaults
from multiview.config import FitConfig, Switch
from multiview.fit import fit, initial_lattice, reachable, tightened
from multiview.levels.coarse_to_fine import BESIDE_COLORS
from multiview.levels.first_shape import (
    CHANGES,
    coarsest,
    light_changes,
    may_agree,
    photographs_tell_more,
)
from multiview.optimize.energy import residuals
from multiview.photo.appearance import Appearance
from multiview.photo.choose_appearance import Choice, Look, candidates, prediction_error
from multiview.photo.targets import Targets
from multiview.recipes import best, fast, for_photographs
from multiview.results.explained import (
    CRINKLED,
    LEAST_PSNR,
    MISSED,
    crinkled,
    crinkles,
    moving_light,
    unexplained,
)
from multiview.scenes import load_scene
from multiview.scenes.scene import Scene
from multiview.stereo.agreement import agreement
from multiview.stereo.matching import Matching
from multiview.stereo.prediction import correlations, unpredicted
from multiview.stereo.schedule import with_stereo
from sdfrender import Cameras, Lattice, Lighting, extract_mesh, render
from sdfrender.errors import InputError
from sdfrender.io.scene_writer import RenderedScene, write_scene
from sdfrender.view.lighting import sh_basis

# ---------------------------------------------------------------------- boxes


def test_the_box_is_the_sphere_that_a_scene_is_normalised_to(
    torus_scene: Path, tmp_path: Path
) -> None:
    plain = scene_layouts.plain_scene(torus_scene, tmp_path / "plain")
    folder = scene_layouts.write_idr(plain, tmp_path / "idr")
    scene = load_scene(folder)
    assert scene.bounds is not None
    assert scene.loose
    expected = torch.tensor([[6.9, -6.2, 1.8], [13.3, 0.2, 8.2]])
    torch.testing.assert_close(scene.bounds, expected, atol=1e-5, rtol=0)
    assert load_scene(plain).bounds is None


def changed_idr(folder: Path, **changes: np.ndarray) -> Path:
    file = folder / "cameras_sphere.npz"
    np.savez(file, **{**dict(np.load(file)), **changes})
    return folder


def test_spheres_of_single_views_state_no_box(torus_scene: Path, tmp_path: Path) -> None:
    plain = scene_layouts.plain_scene(torus_scene, tmp_path / "plain")
    folder = scene_layouts.write_idr(plain, tmp_path / "idr")
    assert load_scene(changed_idr(folder, scale_mat_3=np.diag([2.0, 2, 2, 1]))).bounds is None
    flat = {f"scale_mat_{n}": np.diag([2.0, 0, 2, 1]) for n in range(8)}
    with pytest.raises(InputError, match=r"scale_mat_0.*extent"):
        load_scene(changed_idr(folder, **flat))


def test_a_loose_box_is_cut_to_that_of_the_masks(torus_scene: Path) -> None:
    scene = load_scene(torus_scene)
    targets = Targets.of(scene, scene.train)
    stated = tiny.BOX + torch.tensor([[-9.0, -9, -9], [9, 0.1, 9]])
    box = tightened(stated, targets)
    assert bool((box[0] > stated[0] + 1).all())  # as far as the masks reach
    assert bool((box[1] < stated[1] + 1e-6).all())
    middle, half = torch.tensor(tiny.CENTER), torch.tensor([2.2, 0.7, 2.2])
    assert bool((box[0] < middle - half).all())
    assert bool((box[1] > middle + half).all())
    seen_by_all = initial_lattice(FitConfig(Path("a"), Path("b")), targets, box, 6)
    assert bool((seen_by_all.values < 0).any())
    elsewhere = stated + 100
    assert not torch.equal(tightened(elsewhere, targets), elsewhere)  # masks are known better


def test_a_box_that_was_cut_is_told(
    torus_scene: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = load_scene(torus_scene)
    targets = Targets.of(scene, scene.train)
    box = torch.tensor([[0.0, -2, -3], [1, 2, 9]])
    cut = torch.tensor([[0.0, -2, -3], [1, 2, 4.5]])
    for found, expected in ((None, (box, False)), (cut, (cut, True))):
        monkeypatch.setattr("multiview.fit.cut_to_reach", lambda *_, found=found: found)
        got = reachable(box, targets)
        assert got[0] is expected[0]
        assert got[1] is expected[1]
        assert ("12 long, cut to 7.5" in caplog.text) is (found is not None)


# ---------------------------------------------------------------------- settings


def test_levels_of_stereo_come_before_colours() -> None:
    for resolution in (32, 64, 128):
        levels = with_stereo(for_photographs(best(resolution)), resolution).levels
        assert [level.colors for level in levels] == [False] * (len(levels) - 1) + [True]
        assert all(level.stereo is not None for level in levels)
        assert levels[0].stereo is not None
        assert levels[0].stereo.search > levels[-1].stereo.search == 0  # type: ignore[union-attr]
        sizes = [level.resolution for level in levels]
        assert sizes == sorted(sizes)


def test_stereo_needs_gauss_newton() -> None:
    with pytest.raises(InputError, match=r"--stereo.*best or fast, got adam"):
        FitConfig(Path("a"), Path("b"), preset="adam", stereo="on")
    FitConfig(Path("a"), Path("b"), preset="adam", stereo="auto")


@pytest.fixture(scope="module")
def ball_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A painted ball in 9 views from one side, at an exposure and under a lamp of each."""
    folder = tmp_path_factory.mktemp("ball") / "ball"
    views = cameras(9, 60, 48)
    targets = photographs(views)
    out = render(ball(resolution=48), views)
    random = torch.Generator().manual_seed(2)
    sh = 0.5 * torch.randn(9, 9, generator=random)
    sh[:, 0] = 2.5
    light = torch.einsum("nhwk,nk->nhw", sh_basis(out.normals), sh).clamp(0.1, 1.2)
    images = (targets.images * light[..., None]).clamp(0, 1).expand(-1, -1, -1, 3)
    write_scene(
        folder,
        RenderedScene(
            images.contiguous(), targets.silhouettes, views, None, BOX,
            extract_mesh(ball(resolution=48)), held_out=[4],
        ),
        bits=16,
    )  # fmt: skip
    return folder


@pytest.mark.slow
def test_a_fit_with_stereo(ball_scene: Path, tmp_path: Path) -> None:
    found = {}
    switches: tuple[Switch, ...] = ("on", "off")
    for switch in switches:
        config = FitConfig(ball_scene, tmp_path / switch, "fast", resolution=24, stereo=switch)
        found[switch] = fit(config, quiet=True)
    on, off = found["on"], found["off"]
    assert on["reference"]["hausdorff"] < 0.9 * off["reference"]["hausdorff"]
    assert 0.3 < on["held_out"]["zncc"] < 1
    assert 0.3 < off["train"]["zncc"] < 1
    told = json.loads((tmp_path / "on" / "appearance.json").read_text())
    assert told["stereo"]
    errors = [candidate["held_back_error"] for candidate in told["candidates"]]
    assert errors == sorted(errors)
    assert sum(candidate["chosen"] for candidate in told["candidates"]) == 1
    assert {"per-view", "same"} == {x["exposure"] for x in told["candidates"]}
    rows = tiny.read_losses(tmp_path / "on")
    assert all(float(row["stereo"]) > 0 for row in rows)
    assert float(rows[-1]["color"]) > 0
    assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
    with (tmp_path / "on" / "losses.csv").open(newline="") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    assert seconds == sorted(seconds)
    recipe = with_stereo(for_photographs(fast(24)), 24)
    levels = [int(row["level"]) for row in rows]
    assert levels[0] == 0
    assert levels == sorted(levels)
    assert levels[-1] == len(recipe.levels) - 1
    stored = [int(file.stem) for file in (tmp_path / "on" / "checkpoints" / "progress").iterdir()]
    assert min(stored) == 2 < sum(level < len(coarsest(recipe)) for level in levels)


@pytest.mark.release
def test_paint_finer_than_the_lattice_is_compared_in_the_last_passes(tmp_path: Path) -> None:
    views = cameras(9, 60, 48)
    _, targets = lit(False, views)
    images = targets.images.expand(-1, -1, -1, 3).contiguous()
    mesh = extract_mesh(ball(resolution=48))
    scene = RenderedScene(images, targets.silhouettes, views, None, BOX, mesh, held_out=[4])
    write_scene(tmp_path / "ball", scene, bits=16)
    switches: tuple[Switch, ...] = ("auto", "off")
    for switch in switches:
        out = tmp_path / switch
        config = FitConfig(tmp_path / "ball", out, "fast", resolution=24, stereo=switch)
        fit(config, quiet=True)
        told = json.loads((out / "appearance.json").read_text())
        assert not told["stereo"]
        assert told["stereo_at_the_end"] is (switch == "auto")
        compared = [float(row["stereo"]) > 0 for row in tiny.read_losses(out)]
        many = BESIDE_COLORS if switch == "auto" else 0
        assert compared == [False] * (len(compared) - many) + [True] * many


# ---------------------------------------------------------------------- when it is on


def lit(changing: bool, views: Cameras | None = None) -> tuple[Lattice, Targets]:
    """The painted ball under one light, or another one in each view."""
    views = views or cameras(9)
    targets = photographs(views, gains=False)
    out = render(ball(resolution=48), views)
    random = torch.Generator().manual_seed(2)
    sh = 0.45 * torch.randn(9, 9, generator=random)
    sh[:, 0] = 2.5
    if not changing:
        sh = sh[:1].expand(9, 9)
    light = torch.einsum("nhwk,nk->nhw", sh_basis(out.normals), sh)
    images = 0.6 * targets.images * light[..., None].clamp(0, 1.5)
    return ball(RADIUS, 24), replace(targets, images=images.clamp(0, 1))


def test_lights_that_change_are_noticed() -> None:
    look = Appearance(1, None, views=9)
    for changing in (True, False):
        shape, targets = lit(changing)
        assert light_changes(shape, targets, look, CHANGES) is changing
    known = Appearance(1, Lighting(), views=9)
    assert not light_changes(*lit(True), known, CHANGES)


def test_plain_or_sparse_photographs_do_not_agree() -> None:
    shape, targets = lit(True)
    assert may_agree(shape, targets)
    even = replace(targets, images=0.5 * targets.silhouettes[..., None])
    assert not may_agree(shape, even)
    assert not may_agree(shape, targets[[0, 8]])


def slowly_painted(views: Cameras) -> tuple[Targets, torch.Tensor]:
    """The ball in long waves of paint, and the points `[N, H, W, 3]` that pixels show."""
    out, targets = render(ball(resolution=48), views), photographs(views)
    points = torch.zeros(*out.depths.shape, 3)
    points[out.hit_mask] = views.unproject(out.depths, out.hit_mask)
    waves = 0.4 + 0.2 * torch.sin(5 * points).sum(-1, keepdim=True)
    return replace(targets, images=waves.clamp(0, 1) * targets.silhouettes[..., None]), points


def test_photographs_tell_more_where_colours_are_finer_than_their_lattice() -> None:
    fine, (slow, _) = lit(False)[1], slowly_painted(cameras(9))
    left = {}
    for name, targets, resolution in (("coarse", fine, 12), ("fine", fine, 32), ("slow", slow, 32)):
        look, shape = Appearance(1, None, "albedo", views=9), ball(resolution=resolution)
        for _ in range(4):
            with torch.no_grad():
                look.observe(look.render(shape, targets), targets, shape)
            look.solve(0.02)
        left[name] = unpredicted(shape, targets, look)
        assert left[name].share > 0.3
        assert photographs_tell_more(shape, targets, look) is (name != "slow")
    assert left["coarse"].model > 2 * left["fine"].model
    even = replace(fine, images=0.5 * fine.silhouettes[..., None])
    assert not photographs_tell_more(shape, even, look)
    assert unpredicted(shape, fine[[0, 8]], look) == (2, 2, 0, 0)  # no neighbours


def test_shadows_that_move_are_seen_where_photographs_agree() -> None:
    views = cameras(9, 128, 100)
    shape, look = ball(RADIUS, 32), Appearance(1, None, "albedo", views=9)
    even, points = slowly_painted(views)
    dark = even.images.clone()
    for n in (2, 4, 6):  # a rod's shadow from the left to the right
        at = -0.5 + n / 8
        dark[n] *= torch.where((points[n, ..., 0] - at).abs() < 0.15, 0.5, 1.0)[..., None]
    missed = []
    for targets in (even, replace(even, images=dark)):
        for _ in range(4):
            with torch.no_grad():
                look.observe(look.render(shape, targets), targets, shape)
            look.solve(0.02)
        missed.append(unpredicted(shape, targets, look).missed)
    assert missed[0] < 0.002
    assert missed[1] > 0.03
    config = FitConfig(Path("a"), Path("b"))
    assert moving_light(config, MISSED) == []
    (text,) = moving_light(config, 0.081)
    assert "8% of the pixels" in text
    assert "--stereo on" in text


def test_correlations_are_those_of_patches() -> None:
    random = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 2, 15, 19, generator=random)
    how = Matching(half=2)
    found = correlations(a, b, how)
    for n, row, column in ((0, 7, 9), (1, 0, 1), (1, 14, 18)):
        around = (
            n,
            slice(max(row - 2, 0), row + 3),
            slice(max(column - 2, 0), column + 3),
        )
        x, y = (z[around].double() for z in (a, b))
        x, y = ((z - z.mean()) / (z.var(correction=0) + how.floor**2).sqrt() for z in (x, y))
        assert float(found[n, row, column]) == pytest.approx(float((x * y).mean()), abs=1e-6)


# ---------------------------------------------------------------------- agreement


def test_agreement_judges_surfaces() -> None:
    targets = photographs(cameras())
    scores = [agreement(ball(RADIUS * f, 32), targets, [2, 4]) for f in (1.0, 1.08, 0.9)]
    means = [score.mean([2, 4]) for score in scores]
    assert all(mean is not None for mean in means)
    assert means[0] > 0.6  # type: ignore[operator]
    assert means[0] > max(means[1:]) + 0.08  # type: ignore[operator, type-var]
    maps = scores[0].maps
    assert np.isnan(maps[[0, 1, 3, 5, 6]]).all()
    assert np.nanmin(maps) >= 0
    assert np.nanmax(maps) <= 1
    assert scores[0].mean([0]) is None
    missing = agreement(ball(0.2, 32), targets, [2]).mean([2])  # most of the mask shows nothing
    assert missing is not None
    assert missing < 0.3


# ---------------------------------------------------------------------- what is said


def test_what_is_not_explained_is_said() -> None:
    config = FitConfig(Path("a"), Path("b"))
    good, bad = {"train": {"psnr": LEAST_PSNR + 0.1}}, {"train": {"psnr": LEAST_PSNR - 0.1}}
    assert unexplained(config, False, good) == []
    (text,) = unexplained(config, False, bad)
    assert "23.9 dB" in text
    assert "--stereo on" in text
    assert "--light per-view" in text
    (text,) = unexplained(
        replace(config, light="per-view"), True, {**good, "held_out": bad["train"]}
    )
    assert "held-out" in text
    assert "--stereo on" not in text
    assert "try --light" not in text


def test_crinkles_are_seen() -> None:
    smooth = ball(resolution=40)
    radius = RADIUS / float(smooth.spacing.max())
    turn = crinkles(extract_mesh(smooth), float(smooth.spacing.max()))
    assert turn == pytest.approx(math.degrees(1 / radius), rel=0.1)
    random = torch.Generator().manual_seed(0)
    noise = 0.4 * smooth.spacing.max() * torch.randn(smooth.values.shape, generator=random)
    rough = smooth.with_values(smooth.values + noise)
    config = FitConfig(Path("a"), Path("b"))
    assert crinkled(config, False, extract_mesh(smooth), smooth) == []
    (text,) = crinkled(config, False, extract_mesh(rough), rough)
    assert "crinkled" in text
    assert crinkles(trimesh.Trimesh(), 0.1) == 0
    assert turn < CRINKLED


# ---------------------------------------------------------------------- appearance


def test_exposures_are_among_the_candidates() -> None:
    looks = candidates(("constant", "radiance"), ("scene", "view"), (False, True))
    assert looks == [
        Look("constant", "scene"),
        Look("constant", "view"),
        Look("constant", "scene", True),
        Look("radiance", "scene"),
        Look("radiance", "scene", True),
    ]
    choice = Choice(looks[2], {looks[0]: 0.2, looks[2]: 0.1})
    assert Choice.unpacked(json.loads(json.dumps(choice.packed()))) == choice
    told = choice.description()
    assert [x["exposure"] for x in told] == ["per-view", "same"]
    assert told[0]["held_back_psnr"] == pytest.approx(20)


def test_exposures_of_their_own_predict_uneven_photographs() -> None:
    shape, targets = lit(False)
    gains = torch.tensor([0.7, 0.8, 0.3, 0.9, 0.7, 0.8, 1, 0.8, 0.6])[:, None, None, None]
    uneven = replace(targets, images=gains * targets.images)
    look = Appearance(1, None, views=9)
    same, own = (
        prediction_error(shape, uneven, look, Look("albedo", "scene", x)) for x in (False, True)
    )
    assert own < 0.5 * same


def test_saturated_photographs_say_at_least() -> None:
    shape, targets = lit(False)
    saturated = replace(targets, images=(5 * targets.images).clamp(max=1))
    look = Appearance(1, None, "albedo", views=9)
    for _ in range(4):
        with torch.no_grad():
            look.observe(look.render(shape, saturated), saturated, shape)
        look.solve(0.02)
    with torch.no_grad():
        out = look.render(shape, saturated)
    inside = look.certain(out, saturated)
    top = inside & (saturated.images[..., 0] >= 0.99)
    assert 0.1 < float(top.sum() / inside.sum()) < 0.6
    r, _ = residuals(saturated, out, look)
    over = top & (out.images[..., 0] > 1)
    assert over.sum() > 0.4 * top.sum()  # brighter than the photograph can be
    assert float(r[..., 0][over].abs().max()) == 0
    even = replace(saturated, gains=torch.full((9, 1), 0.5))  # then 1 is far from the top
    assert not even.at_most(out.images)[over].any()


# ---------------------------------------------------------------------- the ring


def test_disturbed_photographs() -> None:
    views = cameras(3, 21, 17)
    out = render(ball(), views)
    images = 0.5 * out.silhouettes[..., None].expand(-1, -1, -1, 3)
    found = disturbed(images, out.silhouettes, out.normals, views, 5)
    again = disturbed(images, out.silhouettes, out.normals, views, 5)
    assert torch.equal(found, again)
    assert not torch.equal(found, disturbed(images, out.silhouettes, out.normals, views, 6))
    assert float(found.max()) <= 1
    assert bool((found[out.silhouettes == 0] == 0).all())
    inside = out.silhouettes > 0.999
    for view in range(3):
        straight = found[view][inside[view]]
        lowest = float(straight.min())
        assert GAINS[0] * 0.5 ** GAMMAS[1] <= lowest <= GAINS[1] * 0.5 ** GAMMAS[0]
        assert lowest < float(straight.max()) <= lowest + HIGHLIGHT + 1e-6
    assert EXPONENT > 1


def test_an_exposure_that_drifts() -> None:
    coverage = torch.tensor([0.0, 0.5, 1.0]).expand(5, 1, 3)
    images = 0.6 * coverage[..., None].expand(-1, -1, -1, 2)
    found = drifting(images, coverage)
    straight = found[:, 0, 1:] / coverage[:, 0, 1:, None]
    assert float(found[:, 0, 0].abs().max()) == 0
    torch.testing.assert_close(straight[0], torch.full((2, 2), 0.6 * GAINS[0]))
    steps = straight[1:4, 0, 0] / straight[:3, 0, 0]
    torch.testing.assert_close(steps, steps[:1].expand(3))
    assert float(straight[-1].max()) == pytest.approx(0.6 * GAINS[1])
    assert float(drifting(2 * images, coverage).max()) == 1


def test_a_third_of_the_pixels_are_saturated() -> None:
    random = torch.Generator().manual_seed(0)
    coverage = (torch.rand(3, 20, 17, generator=random) > 0.4).float()
    images = torch.rand(3, 20, 17, 3, generator=random) * 0.3 * coverage[..., None]
    found = saturated(images, coverage)
    top = (found >= 1).any(-1)[coverage == 1].float().mean()
    assert float(top) == pytest.approx(1 / 3, abs=0.01)
    low = (found < 1) & (images > 0)
    gains = (found / images)[low]
    torch.testing.assert_close(gains, gains[:1].expand(len(gains)))


def test_a_shadow_moves_along_the_rays_of_the_first_lamp() -> None:
    views = cameras(5, 40, 31)
    out = render(ball(resolution=32), views)
    lights = lamps("scene", views)
    lit, unlit = (
        torch.cat(
            [render(ball(resolution=32), views[n], lighting=x).images for n, x in enumerate(some)]
        )
        for some in (lights, [*map(without_first, lights)])
    )
    points = torch.zeros(*out.depths.shape, 3)
    points[out.hit_mask] = views.unproject(out.depths, out.hit_mask)
    found = shadowed(lit, unlit, points, lights)
    assert bool((found <= lit + 1e-6).all())
    assert bool((found >= unlit - 1e-6).all())
    axis = torch.as_tensor(lights[0].directional[0].to_light)
    axis = axis / axis.norm()
    far = torch.linalg.cross(axis.expand_as(points), points).norm(dim=-1)
    middle = out.hit_mask[2] & (far[2] < SHADOW - 0.05)  # the rod's way crosses the origin
    torch.testing.assert_close(found[2][middle], unlit[2][middle])
    beside = out.hit_mask[2] & (far[2] > SHADOW + 0.05)
    torch.testing.assert_close(found[2][beside], lit[2][beside])
    dark = (found < lit - 1e-3)[..., 0] & out.hit_mask
    assert middle.any()
    assert dark[2].any()
    assert PATH < 0.75  # within the object's box
    away = [points[n][dark[n]].mean(0) for n in (2, 3)]
    assert float((away[0] - away[1]).norm()) > 0.15


def test_the_ring_is_as_dense_as_stereo_needs() -> None:
    views = ring_cameras(16)
    assert len(views) == RING + 6
    away = torch.nn.functional.normalize(views.centers[:RING].double(), dim=-1)
    angle = torch.rad2deg(torch.arccos((away @ away.T).clamp(-1, 1)))
    nearest = angle.fill_diagonal_(180).amin(1)
    assert float(nearest.max()) < 25
    assert well_spread(RING) == list(range(RING))
    config = BenchmarkConfig((), Path("a"), views=RING, paint="fine", disturbed="views")
    assert config.scene_spec == SceneSpec(paint=True, fine=True, ring=True, disturbed="views")
    assert train_views(config) is None
    assert config.title.endswith("painted fine, disturbed")
    assert replace(config, disturbed="drift").title.endswith("painted fine, disturbed by drift")
    with pytest.raises(InputError, match="--disturbed"):
        BenchmarkConfig((), Path("a"), disturbed="shadow")
    with pytest.raises(InputError, match=r"--views.*32, 26, 8, 4"):
        BenchmarkConfig((), Path("a"), views=7)


def test_fine_paint_has_short_waves() -> None:
    line = np.zeros((4000, 3))
    line[:, 0] = np.linspace(-1, 1, 4000)
    colors = fine_texture(line)
    assert colors.min() >= 0.15
    assert colors.max() <= 0.85
    waves, slow = (
        (np.diff(np.sign(np.diff(texture.mean(1)))) != 0).sum() / 2
        for texture in (colors, solid_texture(line))
    )
    assert waves > 11  # in 2 units
    assert waves > 1.5 * slow
    assert np.corrcoef(colors.T)[0, 1] > 0.3  # much of it is grey


@pytest.mark.release
@pytest.mark.parametrize("kind", ["views", "drift", "shadow", "saturation"])
def test_a_scene_of_the_ring(kind: Disturbance, torus_file: Path, tmp_path: Path) -> None:
    spec = SceneSpec(12, paint=True, fine=False, ring=True, disturbed=kind)
    make_scene(torus_file, tmp_path / "ring", spec, quiet=True)
    scene = load_scene(tmp_path / "ring")
    assert isinstance(scene, Scene)
    assert len(scene.train) == RING
    assert len(scene.held_out) == 6
    assert scene.lighting is None


@pytest.fixture
def torus_file(tmp_path: Path) -> Path:
    file = tmp_path / "torus.ply"
    trimesh.creation.torus(1.0, 0.4, major_sections=16, minor_sections=9).export(file)
    return file


def test_options_alone_are_their_first_choice() -> None:
    assert with_defaults(["benchmark", "a", "--paint", "--views", "8"]) == [
        *("benchmark", "a", "--paint", "slow", "--views", "8")
    ]
    assert with_defaults(["a", "--paint"]) == ["a", "--paint", "slow"]
    assert with_defaults(["a", "--paint", "fine", "b"]) == ["a", "--paint", "fine", "b"]
    assert with_defaults(["--disturbed", "--paint"]) == ["--disturbed", "views", "--paint", "slow"]
    assert with_defaults(["a", "--disturbed", "none"]) == ["a", "--disturbed", "none"]
