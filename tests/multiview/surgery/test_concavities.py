"""Whether views agree on a point, against a dense search; and concavities that open."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from multiview.levels import coarse_to_fine
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.surgery import concavities
from multiview.surgery.concavities import moved_in, open_concavities, surface, without_holes
from multiview.surgery.photo_consistency import BELIEVED, FEWEST, Looks, Photographs
from sdfrender import Cameras, Directional, Headlight, Lattice, Lighting, Rendering, render
from sdfrender.geometry.primitives import box, difference, sphere
from sdfrender.view.lighting import turned_sh

LIGHTS = {
    "headlight": Lighting(headlight=Headlight(0.9)),
    "falloff": Lighting(ambient=0.05, headlight=Headlight(9.0, falloff=True)),
    "colour": Lighting(
        ambient=0.1,
        headlight=Headlight(torch.tensor([0.6, 0.5, 0.4])),
        directional=[Directional((0.3, 0.9, 0.2), torch.tensor([0.2, 0.3, 0.4]))],
    ),
    "fixed": Lighting(ambient=0.2, headlight=None, directional=[Directional((1, 2, 1), 0.7)]),
}
RESOLUTION = (41, 27, 33)
BOX = torch.tensor([[-1.0, -0.7, -0.8], [1.0, 0.7, 0.8]])
SOLID = box((0.7, 0.4, 0.5))
BOWL = (0.1, 0.79, 0.05)  # cut out with a radius of 0.5: two cells deep
DENTED = difference(SOLID, sphere(0.5, BOWL))


def cameras(count: int = 16, width: int = 91, height: int = 67) -> Cameras:
    """All around, off-centre."""
    n = torch.arange(count).double() + 0.5
    heights, azimuths = 1 - 2 * n / count, n * (math.pi * (3 - math.sqrt(5)))
    around = (1 - heights**2).sqrt()
    eyes = 3.6 * torch.stack((around * azimuths.cos(), heights, around * azimuths.sin()), -1)
    plain = Cameras.look_at(eyes, width=width, height=height, fov=math.radians(38))
    Ks = plain.Ks.clone()
    Ks[:, :2, 2] += torch.tensor([2.6, -1.7])
    return Cameras(plain.c2w, Ks, width, height)


# Fixed to the camera: from its upper left.
OF_THE_CAMERA = torch.tensor([1.6, -0.7, -0.6, -0.5, 0.1, 0.1, 0.05, 0.1, -0.1])[:, None]
LIGHTS["of each view"] = Lighting(
    headlight=None, sh=turned_sh(OF_THE_CAMERA, cameras().c2w[:, :3, :3])
)


def photographs_of(lattice: Lattice, light: Lighting, albedo: Tensor) -> Targets:
    views = cameras()
    with torch.no_grad():
        out = render(lattice, views, lighting=light, albedo=albedo)
    ones = torch.ones_like(out.silhouettes)
    return Targets(views, out.images, out.silhouettes, ones, ones)


def look(light: Lighting, albedo: Tensor) -> Appearance:
    appearance = Appearance(albedo.shape[-1], light)
    appearance.albedo = albedo
    return appearance


def lattice_of(field: object, resolution: tuple[int, int, int] = RESOLUTION) -> Lattice:
    return Lattice.from_function(field, resolution, BOX)  # type: ignore[arg-type]


def on(lattice: Lattice, index: tuple[int, ...]) -> Tensor:
    """The albedo lattice of one colour, which leaves the colour free."""
    return torch.ones(*lattice.resolution, index[-1])


# ---------------------------------------------------------------------- photo-consistency


def dense_search(
    point: Tensor, normal: Tensor, slack: float, scene: Targets, out: Rendering, look: Appearance
) -> float:
    """`Photographs.consistency` of one point in torch: every normal of 20000, views one by one."""
    uv, depths = scene.cameras.project(point[None])
    rays, views, least, most = [], [], [], []
    for v in range(len(uv)):
        column, row = (int(x) for x in uv[v, 0].floor())
        if not (0 <= column < scene.cameras.width and 0 <= row < scene.cameras.height):
            continue
        to_eye = scene.cameras.centers[v] - point
        hit = bool(out.hit_mask[v, row, column])
        front = float(out.depths[v, row, column]) + slack if hit else math.inf
        sees = float(depths[v, 0]) <= front and float(scene.silhouettes[v, row, column]) > 0.99
        if not sees or float(to_eye @ normal) < 0.15 * float(to_eye.norm()):
            continue
        window = scene.images[
            v, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2
        ].flatten(0, 1)
        rays.append(to_eye)
        views.append(v)
        least.append(window.amin(0))
        most.append(window.amax(0))
    if len(rays) < FEWEST:
        return math.inf
    to_eye, low, high = torch.stack(rays), torch.stack(least), torch.stack(most)
    distance = to_eye.norm(dim=-1)
    n = torch.arange(20000).double() + 0.5
    z, turn = 1 - 2 * n / len(n), n * (math.pi * (3 - math.sqrt(5)))
    normals = torch.stack(
        ((1 - z * z).sqrt() * turn.cos(), (1 - z * z).sqrt() * turn.sin(), z), -1
    ).float()
    believed = max(FEWEST, math.ceil(BELIEVED * len(rays)))
    light = look.lighting(scene)
    free = look.albedo.ndim > 1 or (light.headlight is None and not light.varies)
    shades = torch.stack(
        [
            light.for_view(v).shade(normals, (e / d).expand_as(normals), d.expand(len(normals)))
            if light.headlight is not None or light.varies
            else torch.ones(len(normals), 1)
            for e, d, v in zip(to_eye, distance, views, strict=True)
        ],
        1,
    )  # (Q, V, C)
    shades = shades.expand(-1, -1, low.shape[-1])
    shades = shades if free else shades * look.albedo
    kept = torch.ones(shades.shape[:2])
    for _ in range(2 if free else 1):
        colors = shades
        if free:
            weight = kept[..., None] * shades
            scale = (weight * (low + high) / 2).sum(1) / (weight * shades).sum(1).clamp(min=1e-12)
            colors = shades * scale[:, None]
        squares = torch.maximum(low - colors, colors - high).clamp(min=0).pow(2).mean(-1)
        order = squares.argsort(1)
        kept = torch.zeros_like(kept).scatter(1, order[:, :believed], 1.0)
    return math.sqrt(float((squares * kept).sum(1).min()) / believed)


@pytest.mark.parametrize("free", [False, True], ids=["one colour", "any colour"])
@pytest.mark.parametrize("light", LIGHTS)
def test_agreement_is_that_of_a_dense_search(light: str, free: bool) -> None:
    """At and below the surface, through its own views; the search ends within 1° of the best."""
    truth = lattice_of(DENTED)
    C = 3 if light == "colour" else 1
    scene = photographs_of(truth, LIGHTS[light], torch.full((C,), 0.8))
    albedo = on(truth, (C,)) if free else torch.full((C,), 0.8)
    appearance = look(LIGHTS[light], albedo)
    with torch.no_grad():
        out = appearance.render(truth, scene)
    _, points, normals = surface(truth)
    some = torch.arange(0, len(points), 97)
    depths = torch.tensor([0.0, 0.07, 0.19])
    places = points[some][:, None] - depths[:, None] * normals[some][:, None]
    slack = 0.05 + depths
    found = Photographs(scene, out).consistency(
        places, normals[some], slack, Looks.under(appearance, scene), 2
    )
    exact = np.array(
        [
            [
                dense_search(
                    places[p, j], normals[some][p], float(slack[j]), scene, out, appearance
                )
                for j in range(3)
            ]
            for p in range(len(some))
        ]
    )
    np.testing.assert_array_equal(np.isinf(found), np.isinf(exact))
    seen = np.isfinite(exact)
    assert seen.sum() > 40
    # The search may end in another valley, and 20000 normals are 1° apart.
    close = np.abs(found[seen] - exact[seen]) < 0.004
    assert close.mean() > 0.85
    assert np.quantile(exact[seen], 0.9) > 0.01  # it is not that everything agrees


@pytest.mark.parametrize("light", ["headlight", "colour", "falloff"])
def test_views_agree_on_the_surface_and_not_behind_a_lid(light: str) -> None:
    truth, lid = lattice_of(DENTED), lattice_of(SOLID)
    C = 3 if light == "colour" else 1
    albedo = torch.full((C,), 0.8)
    scene = photographs_of(truth, LIGHTS[light], albedo)
    appearance = look(LIGHTS[light], albedo)

    def agreement(shape: Lattice, points: Tensor) -> np.ndarray:
        with torch.no_grad():
            out = appearance.render(shape, scene)
        normal = torch.tensor([[0.0, 1.0, 0.0]]).expand(len(points), 3)
        looks = Looks.under(appearance, scene)
        return Photographs(scene, out).consistency(
            points[:, None], normal, torch.tensor([0.05]), looks, 1
        )[:, 0]

    x, z = torch.meshgrid(
        torch.linspace(-0.15, 0.15, 5), torch.linspace(-0.1, 0.2, 5), indexing="ij"
    )
    down = -(0.25 - x**2 - z**2).sqrt()
    floor = torch.stack((x, down, z), -1).reshape(-1, 3) + torch.tensor(BOWL)
    above = floor.clone()
    above[:, 1] = 0.4
    assert np.median(agreement(truth, floor)) < 0.002
    assert np.median(agreement(lid, above)) > 0.01


def test_few_views_say_nothing() -> None:
    truth = lattice_of(DENTED)
    appearance = look(LIGHTS["headlight"], torch.ones(1))
    scene = photographs_of(truth, LIGHTS["headlight"], torch.ones(1))[range(FEWEST - 1)]
    with torch.no_grad():
        out = appearance.render(truth, scene)
    _, points, normals = surface(truth)
    found = Photographs(scene, out).consistency(
        points[:50, None], normals[:50], torch.tensor([1.0]), Looks.under(appearance, scene), 1
    )
    assert np.isinf(found).all()


def test_pixels_that_are_not_trusted_say_nothing() -> None:
    truth = lattice_of(DENTED)
    appearance = look(LIGHTS["headlight"], torch.ones(1))
    scene = photographs_of(truth, LIGHTS["headlight"], torch.ones(1))
    with torch.no_grad():
        out = appearance.render(truth, scene)
    _, points, normals = surface(truth)
    blind = replace(scene, image_weights=torch.zeros_like(scene.image_weights))
    arguments = (
        points[:50, None],
        normals[:50],
        torch.tensor([1.0]),
        Looks.under(appearance, scene),
        1,
    )
    assert np.isfinite(Photographs(scene, out).consistency(*arguments)).any()
    assert np.isinf(Photographs(blind, out).consistency(*arguments)).all()


def test_threads_change_nothing() -> None:
    truth, lid = lattice_of(DENTED), lattice_of(SOLID)
    scene = photographs_of(truth, LIGHTS["colour"], torch.ones(3))
    appearance = look(LIGHTS["colour"], torch.ones(3))
    with torch.no_grad():
        out = appearance.render(lid, scene)
    _, points, normals = surface(lid)
    looks, slack = Looks.under(appearance, scene), torch.tensor([0.05])
    one, three = (
        Photographs(scene, out).consistency(points[:, None], normals, slack, looks, n)
        for n in (1, 3)
    )
    np.testing.assert_array_equal(one, three)


# ---------------------------------------------------------------------- moving the surface


def covered(lattice: Lattice, truth: Lattice) -> float:
    """How far the bottom of the bowl is under the surface, on average, in cells."""
    _, points, _ = surface(truth)
    depths = -lattice_of(SOLID).sample(points)
    bottom = points[(points[:, 1] > 0.2) & (depths > truth.spacing.max())]
    return float(-lattice.sample(bottom).mean() / truth.spacing.max())


@pytest.mark.parametrize("light", ["headlight", "colour", "falloff"])
@pytest.mark.parametrize("free", [False, True], ids=["one colour", "any colour"])
def test_a_lid_opens_and_nothing_else_moves(light: str, free: bool) -> None:
    truth, lid = lattice_of(DENTED), lattice_of(SOLID)
    C = 3 if light == "colour" else 1
    albedo = torch.full((C,), 0.8)
    scene = photographs_of(truth, LIGHTS[light], albedo)
    appearance = look(LIGHTS[light], 0.8 * on(lid, (C,)) if free else albedo)
    assert covered(lid, truth) > 1.4

    opened = lid
    for _ in range(3):
        opened = open_concavities(opened, scene, appearance)
    assert 0 < covered(opened, truth) < 0.75 * covered(lid, truth)
    _, points, _ = surface(opened)
    depths = -truth.sample(points) / lid.spacing.max()
    assert float(depths.max()) < 0.5  # it does not go through the true surface

    _, points, _ = surface(lid)
    right = truth.sample(points).abs() < 0.1 * float(lid.spacing.max())
    moved = (opened.sample(points[right]) / lid.spacing.max()).abs()
    assert float((moved > 0.5).float().mean()) < 0.01


def test_what_is_explained_stays() -> None:
    truth = lattice_of(DENTED)
    scene = photographs_of(truth, LIGHTS["headlight"], torch.ones(1))
    appearance = look(LIGHTS["headlight"], torch.ones(1))
    assert open_concavities(truth, scene, appearance) is truth


def test_under_a_light_fixed_to_the_scene_texture_tells() -> None:
    """Stripes of paint, unknown to the fit: views agree on the floor and not on the lid."""
    truth, lid = lattice_of(DENTED), lattice_of(SOLID)
    stripes = 0.5 + 0.4 * torch.sin(truth.vertices @ torch.tensor([9.0, 4.0, 8.0]))
    light = Lighting(ambient=1.0, headlight=None)
    scene = photographs_of(truth, light, stripes[..., None])
    appearance = look(light, torch.full((1,), 0.5))
    opened = open_concavities(lid, scene, appearance)
    assert 0 < covered(opened, truth) < 0.75 * covered(lid, truth)


@pytest.mark.parametrize("depth", [0.5, 1.75])
def test_a_surface_moves_in_by_what_all_agree_on(depth: float) -> None:
    """A plane that does not go through vertices, spacings that differ."""
    plane = Lattice.from_function(lambda p: p[..., 1] - 0.03, (21, 33, 17), BOX)
    ids, points, normals = surface(plane)
    np.testing.assert_allclose(points[:, 1].numpy(), 0.03, atol=1e-6)
    np.testing.assert_allclose(normals.numpy(), [[0, 1, 0]] * len(points), atol=1e-6)
    moved = moved_in(plane, ids, np.full(len(points), depth, np.float32))
    h = float(plane.spacing.max())
    middle = torch.stack((points[:, 0], torch.full((len(points),), 0.03 - depth * h), points[:, 2]))
    np.testing.assert_allclose(moved.sample(middle.T).numpy(), 0, atol=0.02 * h)


def test_one_vertex_alone_does_not_move_it() -> None:
    plane = Lattice.from_function(lambda p: p[..., 1] - 0.03, (21, 33, 17), BOX)
    ids, points, _ = surface(plane)
    alone = np.zeros(len(points), np.float32)
    alone[len(points) // 2] = 1
    assert moved_in(plane, ids, alone) is plane


def test_gauss_newton_opens_them_before_each_level_but_the_coarse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def told(lattice: Lattice, targets: Targets, appearance: Appearance) -> Lattice:
        seen.append((lattice.resolution, len(targets.cameras), targets.cameras.width))
        return concavities.open_concavities(lattice, targets, appearance)

    monkeypatch.setattr(coarse_to_fine, "open_concavities", told)
    scene = tiny.write_torus(tmp_path / "scene")
    levels = (tiny.COARSE, tiny.COARSE, tiny.FINE)
    tiny.optimize_tiny(scene, tmp_path / "run", replace(tiny.NEWTON, levels=levels))
    assert [views for _, views, _ in seen] == [6]
    tiny.optimize_tiny(scene, tmp_path / "adam", tiny.ADAM)
    assert len(seen) == 1


# ---------------------------------------------------------------------- holes


def test_moves_that_let_views_see_through_are_taken_back_and_others_are_not() -> None:
    light, albedo = LIGHTS["headlight"], torch.ones(1)
    plate = lattice_of(box((0.7, 0.5, 0.15)))
    dent, bore = sphere(0.33, (-0.4, 0.0, 0.4)), sphere(0.22, (0.4, 0.0, 0.0))
    moved = lattice_of(difference(difference(box((0.7, 0.5, 0.15)), dent), bore)).redistance()
    targets, appearance = photographs_of(plate, light, albedo), look(light, albedo)
    with torch.no_grad():
        out = appearance.render(plate, targets)

    kept = without_holes(moved, plate, targets, out, appearance)
    with torch.no_grad():
        before, after = (render(x, targets.cameras).silhouettes for x in (moved, kept))
    full = targets.silhouettes > 0.99
    assert int((before[full] < 0.5).sum()) > 50
    assert int((after[full] < 0.5).sum()) == 0
    dented = (plate.values < -0.01) & (lattice_of(dent).values < -0.01)
    assert int(dented.sum()) > 5
    assert bool((kept.values[dented] > 0).all())
    assert without_holes(plate, plate, targets, out, appearance) is plate
