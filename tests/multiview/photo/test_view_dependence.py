"""What is added beyond colour and light: against dense linear algebra, and for what it is made."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from multiview.config import FitConfig
from multiview.photo.appearance import Appearance
from multiview.photo.choose_view_dependence import (
    DEGREE,
    FINE_COLORS,
    NOTHING,
    Addition,
    ViewChoice,
    add_view_dependence,
    best_held,
    held_back_errors,
    simplest,
)
from multiview.photo.solve_view_dependence import Plan, Samples, solve_view_dependence
from multiview.photo.targets import Targets
from sdfrender import Cameras, Lattice, Lighting, render
from sdfrender.looks.view_dependence import Layer, ViewDependence, harmonics, to_eye
from sdfrender.view.lighting import sh_basis

BOX = torch.tensor([[-1.0, -0.8, -0.9], [1.1, 0.8, 1.0]])
MIDDLE = torch.tensor((0.05, 0.0, -0.1))
BALL = Lattice.sphere(0.6, MIDDLE.tolist(), (21, 17, 19), BOX)
PLANS = [Plan((9, 8, 7), (0, 0), 0.3, 0.02), Plan((5, 4, 6), (1, 2), 1.0, 0.5)]


def directions(count: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return normalize(torch.randn((count, 3), generator=random), dim=-1)


def seen(count: int, seed: int = 0, size: float = 0.03) -> Samples:
    """Points of the ball from anywhere, with residuals that are too small to be doubted."""
    random = torch.Generator().manual_seed(seed)
    points = 0.6 * directions(count, seed) + MIDDLE
    left = size * (torch.rand((count, 2), generator=random) - 0.5)
    return Samples(points, directions(count, seed + 1), left)


def corner_weights(point: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """`[X Y Z]` the weight of each vertex of a lattice over the box: its own interpolation."""
    axes = [torch.linspace(*ends, n) for ends, n in zip(BOX.T.tolist(), shape, strict=True)]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    spacing = torch.stack([axis[1] - axis[0] for axis in axes])
    return (1 - ((point - places) / spacing).abs()).clamp(min=0).prod(-1).flatten()


def test_it_is_the_minimum_of_the_energy() -> None:
    """Rows of the energy written out one by one, and solved densely."""
    samples = seen(80)
    found = solve_view_dependence(samples, BOX, PLANS, iterations=200)
    rows, first = [], 0
    blocks = []
    for plan, layer in zip(PLANS, found.layers, strict=True):
        weights = torch.stack([corner_weights(x, plan.shape) for x in samples.points])
        near = (weights.sum(0) > 0).nonzero()[:, 0]
        assert set(near.tolist()) <= set(layer.ids.tolist())
        ids = layer.ids.long()
        basis = math.sqrt(4 * math.pi) * sh_basis(samples.to_eye)
        basis = basis[:, plan.degrees[0] ** 2 : (plan.degrees[1] + 1) ** 2]
        blocks.append(torch.einsum("pm,pk->pmk", weights[:, ids], basis).flatten(1))
    total = sum(block.shape[1] for block in blocks)
    for plan, layer, block in zip(PLANS, found.layers, blocks, strict=True):
        K = layer.values.shape[1]
        _, Y, Z = plan.shape
        column = {vertex: n for n, vertex in enumerate(layer.ids.tolist())}
        for vertex, n in column.items():
            place = np.unravel_index(vertex, plan.shape)
            for axis, step in enumerate((Y * Z, Z, 1)):
                if place[axis] + 1 < plan.shape[axis] and vertex + step in column:
                    for k in range(K):
                        row = torch.zeros(total)
                        row[first + n * K + k] = plan.smoothness**0.5
                        row[first + column[vertex + step] * K + k] = -(plan.smoothness**0.5)
                        rows.append(row)
        rows += list(plan.pull**0.5 * torch.eye(total)[first : first + block.shape[1]])
        first += block.shape[1]
    A = torch.cat((torch.cat(blocks, 1), torch.stack(rows))).double()
    b = torch.cat((samples.left, torch.zeros(len(rows), 2))).double()
    expected = torch.linalg.lstsq(A, b).solution
    assert float(expected.abs().max()) > 5e-3
    values = torch.cat([layer.values.flatten(0, 1) for layer in found.layers]).double()
    # Kept in half precision; float32 sums.
    torch.testing.assert_close(values, expected, atol=3e-5, rtol=2e-3)


def test_harmonics_are_orthonormal_and_turn_among_their_degree() -> None:
    """Means over a fine spiral of directions; a turned function is a sum of those of its degree."""
    count = 20_000
    k = torch.arange(count, dtype=torch.float64)
    z = 1 - (2 * k + 1) / count
    turn, r = math.pi * (3 - math.sqrt(5)) * k, (1 - z * z).sqrt()
    all_around = torch.stack((r * turn.cos(), r * turn.sin(), z), -1)
    basis = harmonics(all_around, (0, 3))
    gram = basis.T @ basis / count
    torch.testing.assert_close(gram, torch.eye(16).double(), atol=2e-3, rtol=0)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))
    turned = harmonics(all_around @ rotation.double(), (0, 3))
    mixed = basis.T @ turned / count
    degree = torch.tensor([0, *[1] * 3, *[2] * 5, *[3] * 7])
    others = degree[:, None] != degree
    torch.testing.assert_close(
        mixed[others], torch.zeros(int(others.sum())).double(), atol=2e-3, rtol=0
    )
    assert harmonics(all_around[:5], (1, 3)).shape == (5, 15)


def made_up(points: Tensor, eyes: Tensor) -> Tensor:
    """Linear in the place, of order 2 in the direction: what layers can have."""
    basis = harmonics(eyes, (0, 2))
    first = 0.1 * points[:, 0] + 0.05 * basis[:, 2] * points[:, 1] + 0.02 * basis[:, 5]
    return torch.stack((first, 0.03 * basis[:, 8] - 0.04 * points[:, 2]), -1)


def test_a_radiance_that_depends_on_the_view_is_recovered() -> None:
    samples = seen(40_000)
    samples = replace(samples, left=made_up(samples.points, samples.to_eye))
    plans = [plan._replace(smoothness=0.01, pull=0.01) for plan in PLANS]
    found = solve_view_dependence(samples, BOX, plans, iterations=60)
    others = seen(500, seed=7)
    expected = made_up(others.points, others.to_eye)
    assert float(expected.std()) > 0.03
    got = found.at(others.points, others.to_eye, BOX)
    torch.testing.assert_close(got, expected, atol=2e-3, rtol=0)


def test_a_scene_that_is_turned_gets_a_solution_that_is_turned() -> None:
    samples = seen(300)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # x to y, y to −x
    turned = Samples(samples.points @ turn.T, samples.to_eye @ turn.T, samples.left)
    box = torch.stack(
        (torch.tensor([-BOX[1, 1], BOX[0, 0], BOX[0, 2]]),
         torch.tensor([-BOX[0, 1], BOX[1, 0], BOX[1, 2]]))
    )  # fmt: skip
    plans = [p._replace(shape=(p.shape[1], p.shape[0], p.shape[2])) for p in PLANS]
    one = solve_view_dependence(samples, BOX, PLANS, iterations=100)
    other = solve_view_dependence(turned, box, plans, iterations=100)
    asked = seen(200, seed=3)
    a = one.at(asked.points, asked.to_eye, BOX)
    b = other.at(asked.points @ turn.T, asked.to_eye @ turn.T, box)
    assert float(a.abs().max()) > 5e-3
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_what_is_seen_from_too_few_directions_stays_near_the_colour() -> None:
    """From one direction all is colour, from more it is what depends on them."""
    swing = []
    for count in (1, 3, 12):
        random = torch.Generator().manual_seed(5)
        points = 0.6 * directions(3000, 2) + MIDDLE
        eyes = directions(count, 4)[torch.randint(count, (3000,), generator=random)]
        basis = harmonics(eyes, (1, 1))
        found = solve_view_dependence(Samples(points, eyes, 0.05 * basis[:, :1]), BOX, PLANS)
        around = directions(400, 9)
        values = found.at(points[:1].expand(400, -1), around, BOX)
        swing.append(float(values.std()))
    assert swing[0] < swing[1] < swing[2]
    assert swing[0] < 0.3 * swing[2]
    assert swing[2] > 0.03  # of .05

    few = Samples(points[:1], eyes[:1], torch.full((1, 1), 0.05))
    alone = solve_view_dependence(few, BOX, [PLANS[1]])
    assert float(alone.at(points[:1], -eyes[:1], BOX).abs()) < 0.05


def test_a_pixel_that_is_far_off_counts_less() -> None:
    samples = seen(4000, size=0.0)
    wrong = samples.left.clone()
    wrong[::20] = 0.8
    plan = [PLANS[0]._replace(shape=(4, 4, 4))]
    found = solve_view_dependence(replace(samples, left=wrong), BOX, plan)
    level = float(found.at(samples.points, samples.to_eye, BOX).mean())
    assert 0 < level < 0.5 * 0.8 / 20


CAMERAS = Cameras.look_at(
    3.0 * normalize(torch.tensor([[1.0, 0.3, 0.2], [-0.5, 1.0, -0.3], [0.1, -0.4, 1.0]]), dim=-1),
    width=37,
    height=29,
    fov=0.6,
)
CAMERAS = Cameras(
    CAMERAS.c2w, CAMERAS.Ks + torch.tensor([[0, 0, 2.5], [0, 0, -1.5], [0, 0, 0]]), 37, 29
)


def some_layers() -> ViewDependence:
    return solve_view_dependence(seen(400), BOX, PLANS)


def test_images_have_it_where_the_surface_is() -> None:
    beyond = some_layers()
    with torch.no_grad():
        out = render(BALL, CAMERAS, lighting=Lighting(ambient=0.5, headlight=None))
    added = beyond.image(out, CAMERAS, BALL)
    assert added.shape == (3, 29, 37, 2)
    assert not added[~out.hit_mask].any()
    view, y, x = 1, 15, 20
    assert out.hit_mask[view, y, x]
    mask = torch.zeros_like(out.hit_mask)
    mask[view, y, x] = True
    point = CAMERAS.unproject(out.depths, mask)
    eye = CAMERAS.centers[view] - point
    one = beyond.at(point, eye / eye.norm(), BOX)[0] * out.silhouettes[view, y, x]
    torch.testing.assert_close(added[view, y, x], one)
    assert float(one.abs().max()) > 1e-4


def test_it_is_kept_with_the_appearance() -> None:
    look = Appearance(2, None)
    look.light = replace(look.light, sh=torch.full((9, 2), 0.2))
    look.beyond = some_layers()
    stored = look.state()
    assert all(x.is_contiguous() for x in stored.values())
    again = Appearance(2, None)
    again.restore(stored, 10**6)
    blank = Targets(CAMERAS, torch.zeros(3, 29, 37, 2), *[torch.ones(3, 29, 37)] * 3)
    with torch.no_grad():
        first, second, plain = (x.render(BALL, blank).images for x in (look, again, again.plain()))
    assert torch.equal(first, second)
    assert not torch.equal(first, plain)
    assert look.beyond is not None  # `plain` is another one
    again.begin_as("albedo", "scene")
    assert again.beyond is None
    again.restore(Appearance(2, None).state(), 1)
    assert again.beyond is None


def test_vertices_without_coefficients_add_nothing() -> None:
    layer = Layer((3, 4, 5), (0, 0), torch.tensor([0], dtype=torch.int32), torch.ones(1, 1, 2))
    points = torch.stack((BOX[0], BOX[1]))
    values = ViewDependence((layer,)).at(points, directions(2, 0), BOX)
    torch.testing.assert_close(values, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))


@pytest.mark.parametrize(
    ("needs", "change"),
    [
        ("shape", {"shape": (1, 4, 5)}),
        ("shape", {"shape": (2048, 2048, 2048)}),
        ("degrees", {"degrees": (2, 1)}),
        ("degrees", {"degrees": (0, 4)}),
        ("values", {"degrees": (0, 1)}),
        ("ids", {"ids": torch.tensor([60], dtype=torch.int32)}),
    ],
)
def test_a_layer_that_cannot_be_is_refused(needs: str, change: dict[str, Any]) -> None:
    whole = {"shape": (3, 4, 5), "degrees": (0, 0), "values": torch.ones(1, 1, 2)}
    whole["ids"] = torch.tensor([59], dtype=torch.int32)
    Layer(**whole)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{needs}: need"):
        Layer(**{**whole, **change})


# ---------------------------------------------------------------------- the choice

RIG = Cameras.cube(3.0, width=30, height=26)
LIGHT = Lighting(headlight=None, sh=torch.tensor([1.6, 0.2, -0.1, 0.15, 0, 0, 0, 0, 0]))


def photographed(shiny: float) -> Targets:
    """Photographs of the ball, with a highlight that moves over it as the camera does."""
    with torch.no_grad():
        out = render(BALL, RIG, lighting=LIGHT, albedo=torch.tensor([0.8, 0.6, 0.4]))
    images = out.images.clone()
    for view, hit in enumerate(out.hit_mask):
        points = RIG[[view]].unproject(out.depths[[view]], hit[None])
        half = normalize(
            to_eye(points, RIG[[view]].centers) + torch.tensor([0.0, 0.7, 0.7]), dim=-1
        )
        bright = (out.normals[view][hit] * half).sum(-1).clamp(min=0) ** 3
        images[view][hit] += shiny * (bright * out.silhouettes[view][hit])[:, None]
    ones = torch.ones_like(out.silhouettes)
    return Targets(RIG, images, out.silhouettes, ones, ones)


def fitted(targets: Targets) -> Appearance:
    look = Appearance(3, None, "albedo")
    for _ in range(4):
        with torch.no_grad():
            look.observe(look.render(BALL, targets), targets, BALL)
        look.solve()
    return look


def errors_of(look: Appearance, targets: Targets) -> float:
    with torch.no_grad():
        out = look.render(BALL, targets)
    inside = out.hit_mask & (out.silhouettes > 0.99)
    return float((out.images - targets.images)[inside].square().mean().sqrt())


@pytest.mark.parametrize("setting", ["auto", "view"])
def test_a_highlight_asks_for_it(setting: str) -> None:
    targets = photographed(0.3)
    look = fitted(targets)
    before = errors_of(look, targets)
    config = FitConfig(Path("a"), Path("b"), appearance=setting)  # type: ignore[arg-type]
    choice = add_view_dependence(look, config, BALL, targets)
    assert choice is not None
    assert choice.chosen.degree == DEGREE
    assert choice.errors[choice.chosen] < 0.8 * choice.errors[NOTHING]
    assert errors_of(look, targets) < 0.5 * before
    told = choice.description()
    assert [x["chosen"] for x in told["candidates"]] == [True, False, False, False]
    assert told["candidates"][0]["held_back_psnr"] == pytest.approx(
        -20 * math.log10(choice.errors[choice.chosen])
    )


def test_settings_and_a_light_that_is_known_keep_it_out() -> None:
    targets = photographed(0.3)
    look = fitted(targets)
    plain = FitConfig(Path("a"), Path("b"), appearance="albedo")
    assert add_view_dependence(look, plain, BALL, targets) is None
    known = Appearance(3, LIGHT, "albedo")
    assert add_view_dependence(known, FitConfig(Path("a"), Path("b")), BALL, targets) is None
    assert look.beyond is known.beyond is None


def test_with_few_views_only_who_asks_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    targets = photographed(0.3)[[0, 5, 9]]
    look = fitted(targets)
    auto = add_view_dependence(look, FitConfig(Path("a"), Path("b")), BALL, targets)
    assert auto is not None
    assert auto.chosen == NOTHING
    assert auto.errors == {}
    assert look.beyond is None
    asked = FitConfig(Path("a"), Path("b"), appearance="view")
    with caplog.at_level("WARNING", logger="multiview"):
        choice = add_view_dependence(look, asked, BALL, targets)
    assert choice is not None
    assert choice.chosen == Addition(DEGREE)
    assert look.beyond is not None
    assert "too few views" in caplog.text


def test_the_simplest_that_predicts_about_as_well_is_taken() -> None:
    all_of_it, held = Addition(2), Addition(2, 8.0)
    assert simplest({}) == NOTHING
    assert simplest({NOTHING: 1.0, FINE_COLORS: 0.99, all_of_it: 0.985}) == NOTHING
    assert simplest({NOTHING: 1.0, FINE_COLORS: 0.9, all_of_it: 0.89}) == FINE_COLORS
    assert simplest({NOTHING: 1.0, FINE_COLORS: 0.99, all_of_it: 0.9}) == all_of_it
    assert simplest({NOTHING: 1.0, all_of_it: 0.9, held: 0.899}) == held
    assert best_held({}) == Addition(DEGREE)
    assert best_held({NOTHING: 0.1, FINE_COLORS: 0.1, held: 0.3, all_of_it: 0.2}) == all_of_it
    told = json.loads(json.dumps(ViewChoice(held, {held: 0.1, NOTHING: 0.2}).description()))
    assert (told["degree"], told["hold"]) == (2, 8.0)


def test_a_photograph_that_no_other_is_like_does_not_decide() -> None:
    """One of those held back was exposed otherwise, and has most of what is wrong of all pixels."""
    targets = photographed(0.3)
    images = targets.images.clone()
    images[2] *= 0.2  # one of those that are held back
    spoilt = replace(targets, images=images)
    look = fitted(targets)
    errors = held_back_errors(look, BALL, spoilt)
    assert simplest(errors).degree == DEGREE


def test_saturated_pixels_say_that_it_is_at_least_so_bright() -> None:
    """A bright patch in photographs that end at full scale: nothing pulls it down to there."""
    samples = seen(6000, size=0.0)
    bright = samples.points[:, :1].clamp(min=0).expand(-1, 2)
    left = bright.clamp(max=0.2)
    saturated = bright > 0.2
    plan = [PLANS[0]._replace(smoothness=0.01, pull=0.001)]
    told = replace(samples, left=left, saturated=saturated)
    assert float(told.errors(bright).abs().max()) < 1e-6
    assert torch.equal(told.errors(0.0), left)
    whole, cut = (
        solve_view_dependence(x, BOX, plan, iterations=60, rounds=6)
        for x in (told, replace(samples, left=left))
    )
    edge = (bright[:, 0] > 0.1) & (bright[:, 0] < 0.2)  # beside it
    got = [x.at(samples.points, samples.to_eye, BOX) - bright for x in (whole, cut)]
    one, other = (float(x[edge].square().mean()) for x in got)
    assert one < 0.5 * other
