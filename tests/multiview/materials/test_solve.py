"""Materials and light from pictures of a known surface, made by the same model of shading."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import trimesh
from torch import Tensor
from torch.nn.functional import normalize

from multiview.materials.estimate import MaterialSettings
from multiview.materials.light_step import solve_light
from multiview.materials.model import PIXELS, Material, Model
from multiview.materials.normal_step import solve_normals
from multiview.materials.observations import Observations
from multiview.materials.solve import (
    neighbours,
    residual,
    robust,
    solve,
    solve_color,
    solve_roughness,
)
from sdfrender import Cameras, InputError
from sdfrender.materials.environment import HEIGHT, picture_directions
from sdfrender.materials.shading import sky_directions


def light() -> Tensor:
    """`[PIXELS, 3]` a sky with two lamps."""
    away = picture_directions(HEIGHT).reshape(-1, 3).float()
    sky = 0.4 + 0.3 * away[:, 1:2]
    lamps = torch.zeros(PIXELS, 1)
    for direction, strength in (((0.3, 0.8, 0.5), 12.0), ((-0.7, 0.1, 0.4), 8.0)):
        axis = normalize(torch.tensor(direction), dim=0)
        lamps = lamps + strength * (40 * (away @ axis - 1)).exp()[:, None]
    return (sky + lamps) * torch.tensor([1.0, 0.95, 0.85])


def shiny_ball(
    metallic: float = 0.0, stripes: float = 0.3
) -> tuple[trimesh.Trimesh, Model, Material]:
    """A ball seen from 26 sides; half of it is smooth, half rough; stripes of paint."""
    mesh = trimesh.creation.icosphere(4, 0.6)
    normals = torch.from_numpy(mesh.vertices / 0.6).float()
    seen = (normals @ sky_directions().float().T > 0).to(torch.uint8)
    eyes = 3 * Cameras.cube(1.0).centers.float()
    to_eye = normalize(eyes[None] - 0.6 * normals[:, None], dim=-1)  # (V, N, 3)
    vertices, views = ((to_eye * normals[:, None]).sum(-1) > 0.2).nonzero(as_tuple=True)
    P = len(vertices)
    o = Observations(
        vertices,
        torch.zeros(P, 3),
        to_eye[vertices, views],
        torch.ones(P),
        torch.zeros(P, 3, dtype=torch.bool),
    )
    base = 0.5 + stripes * torch.sin(9 * normals[:, :1] + torch.tensor([0.0, 1.0, 2.0]))
    rough = 0.4 + 0.17 * torch.tanh(4 * normals[:, 2])
    truth = Material(base, rough, light())
    blind = Model(seen, normals, o, 0.04, metallic)
    shown = Observations(**{**vars(o), "colors": blind.predict(truth)})
    return mesh, Model(seen, normals, shown, 0.04, metallic), truth


def weights(model: Model) -> Tensor:
    return model.observations.weights[:, None].expand(-1, 3)


@pytest.mark.release
@pytest.mark.parametrize("metallic", [0.0, 1.0])
def test_each_step_keeps_what_is_right(metallic: float) -> None:
    mesh, model, truth = shiny_ball(metallic)
    near = neighbours(mesh)
    assert residual(model, truth) < 1e-6
    color = solve_color(model, Material(truth.base_color * 0 + 0.5, truth.roughness,
                                        truth.radiance), near, weights(model))  # fmt: skip
    assert float((color.base_color - truth.base_color).abs().mean()) < 0.02
    start = Material(truth.base_color, torch.full_like(truth.roughness, 0.5), truth.radiance)
    rough = solve_roughness(model, start, near, weights(model)).roughness
    assert float((rough - truth.roughness).abs().median()) < 0.03
    even = Material(truth.base_color, truth.roughness, torch.full((PIXELS, 3), 0.5))
    before = residual(model, even)
    found = solve_light(model, even, weights(model))
    lit = Material(truth.base_color, truth.roughness, found)
    assert residual(model, solve_color(model, lit, near, weights(model))) < 0.1 * before
    assert float(found.min()) >= 0


@pytest.mark.release
def test_no_light_explains_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error rises whatever pixel is made brighter, or darker; but for what is smooth."""
    _, model, truth = shiny_ball(stripes=0)  # so that paint explains nothing
    monkeypatch.setattr("multiview.materials.light_step.PAINT", 0.0)
    model.observations.colors.add_(0.1 * torch.randn(model.observations.colors.shape,
                                   generator=torch.Generator().manual_seed(0)))  # fmt: skip
    found = solve_light(model, truth, weights(model))
    assert float(found.min()) >= 0
    least = residual(model, Material(truth.base_color, truth.roughness, found))
    for pixel in (100, 333, 700, 1000):
        for step in (0.2, -0.2):
            other = found.clone()
            other[pixel] = (other[pixel] + step).clamp(min=0)
            error = residual(model, Material(truth.base_color, truth.roughness, other))
            assert error >= least - 1e-4


@pytest.mark.slow
def test_all_in_turns_find_paint_and_polish() -> None:
    mesh, model, truth = shiny_ball()
    found, turned = solve(mesh, model, rounds=2)
    assert residual(turned, found) < 0.02
    factor = (truth.base_color * found.base_color).sum() / (found.base_color**2).sum()
    assert float((factor * found.base_color - truth.base_color).square().mean().sqrt()) < 0.08
    assert float((found.roughness - truth.roughness).abs().median()) < 0.08
    assert float((turned.normals * model.normals).sum(-1).min()) > 0.98


def test_normals_that_are_off_come_back() -> None:
    """Turned by three degrees, all in one direction as far as neighbours go."""
    mesh, model, truth = shiny_ball()
    off = normalize(model.normals + 0.05 * torch.roll(model.normals, 1, -1), dim=-1)
    now = replace(model, normals=off)
    for _ in range(3):
        now = solve_normals(now, truth, off, neighbours(mesh), weights(model))
    before, after = (1 - (n * model.normals).sum(-1).mean() for n in (off, now.normals))
    assert float(after) < 0.7 * float(before)
    assert residual(now, truth) < 0.7 * residual(replace(model, normals=off), truth)


def test_outliers_count_less() -> None:
    _, model, truth = shiny_ball()
    model.observations.colors[:50] += 0.5
    trusted = robust(model, truth, weights(model))
    assert float(trusted[:50].max()) < 0.2
    assert float(trusted[50:].min()) == 1
    model.observations.capped[:25] = True  # at full scale the truth may be brighter, not darker
    assert torch.equal(robust(model, truth, weights(model))[:50], trusted[:50])
    brighter = Material(truth.base_color, truth.roughness, 9 * truth.radiance)
    assert float(robust(model, brighter, weights(model))[:25].min()) == 1


def test_settings_that_no_surface_has() -> None:
    with pytest.raises(InputError, match=r"--specular: need a number from 0 to 1, got 2"):
        MaterialSettings(specular=2)
