"""Lights that are another one for each camera, and lights that are turned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import sdfrender as sr
from sdfrender import primitives
from sdfrender.io.scene_writer import lighting_to_dict
from sdfrender.rendering.field_render import render_field
from sdfrender.rendering.linear.linearize import linearize
from sdfrender.rendering.raytrace import raytrace
from sdfrender.view.lighting import sh_basis, turned_sh

BOX = torch.tensor([[-0.9, -0.7, -0.8], [0.8, 0.9, 0.7]])
EYES = [[0.9, 0.7, 3.0], [-2.0, 1.5, 1.9], [0.3, -2.8, 1.1]]


def cameras() -> sr.Cameras:
    plain = sr.Cameras.look_at(EYES, width=37, height=26)
    Ks = plain.Ks.clone()
    Ks[:, :2, 2] += torch.tensor([2.3, -1.6])
    return sr.Cameras(plain.c2w, Ks, 37, 26)


def lattice(*radii: float) -> sr.Lattice:
    shapes = [sr.Lattice.sphere(r, (0.1, 0.05, -0.08), (13, 17, 11), BOX) for r in radii]
    values = torch.stack([x.values for x in shapes]).double()
    return sr.Lattice(values if len(radii) > 1 else values[0], BOX)


def lights(count: int = 3, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(count, 9, channels, generator=generator, dtype=torch.float64)


def lit(sh: Tensor) -> sr.Lighting:
    """With lights that all cameras share, too."""
    return sr.Lighting(0.3, sr.Headlight(0.4), [sr.Directional((1, 2, 0.5), 0.2)], sh)


# ---------------------------------------------------------------------- one for each camera


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize("radii", [(0.5,), (0.5, 0.3)], ids=["one lattice", "two lattices"])
def test_each_camera_sees_its_own_light(radii: tuple[float, ...], engine: str) -> None:
    light, rig, shape = lit(lights()), cameras(), lattice(*radii)
    colors = torch.tensor([0.9, 0.4, 0.7])
    out = sr.render(shape, rig, lighting=light, albedo=colors, engine=engine)
    for n in range(3):
        own = light.for_view(n)
        assert not own.varies
        one = sr.render(shape, rig[n], lighting=own, albedo=colors, engine=engine)
        torch.testing.assert_close(out.images[..., [n], :, :, :], one.images, rtol=0, atol=1e-12)
    first = sr.render(shape, rig, lighting=light.for_view(0), albedo=colors, engine=engine)
    assert float((first.images - out.images)[..., 1:, :, :, :].abs().max()) > 0.1


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_derivatives_in_the_light_of_each_camera(engine: str) -> None:
    """Colours are linear in the coefficients, so a difference is the derivative."""
    rig, shape = cameras(), lattice(0.5, 0.35)
    generator = torch.Generator().manual_seed(3)
    u = torch.randn(2, 3, 26, 37, 3, generator=generator, dtype=torch.float64)
    albedo = torch.rand(4, 3, 5, 3, generator=generator, dtype=torch.float64)

    def loss(sh: Tensor) -> Tensor:
        out = sr.render(shape, rig, lighting=lit(sh), albedo=albedo, engine=engine)
        return (out.images * u).sum()

    sh = lights().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(sh), sh)
    assert gradient.shape == sh.shape
    for n in range(3):
        step = torch.zeros_like(gradient)
        step[n] = lights(seed=n + 1)[0]
        with torch.no_grad():
            change = loss(sh + step) - loss(sh)
        assert float((gradient * step).sum()) == pytest.approx(float(change), rel=1e-9)


def test_the_linearisation_sees_them() -> None:
    """`Jᵀ u` as by autograd; colours of a grey light over a coloured background."""
    rig, shape = cameras(), lattice(0.5)
    options: dict[str, Any] = {
        "lighting": lit(lights(channels=1)),
        "background": torch.tensor([0.2, 0.1, 0.4]),
    }
    J = linearize(shape, rig, **options)
    values = shape.values.clone().requires_grad_()
    out = sr.render(shape.with_values(values), rig, **options)
    u = torch.randn(out.images.shape, generator=torch.Generator().manual_seed(5)).double()
    (gradient,) = torch.autograd.grad(out.images, values, u)
    torch.testing.assert_close(J.rendering.images, out.images, rtol=0, atol=1e-14)
    torch.testing.assert_close(J.vjp(u, None), gradient, rtol=1e-9, atol=1e-12)


def test_meshes_and_fields_under_them() -> None:
    light, rig = lit(lights()), cameras()
    mesh = sr.extract_mesh(lattice(0.5))
    traced = raytrace(mesh, rig, lighting=light, supersampling=1)
    field = primitives.sphere(0.5)
    shown = render_field(field, rig, BOX, lighting=light)
    for n in range(3):
        own = light.for_view(n)
        alone = raytrace(mesh, rig[n], lighting=own, supersampling=1)
        torch.testing.assert_close(traced.images[[n]], alone.images, rtol=0, atol=1e-6)
        single = render_field(field, rig[n], BOX, lighting=own)
        torch.testing.assert_close(shown.images[[n]], single.images, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "see",
    [
        lambda light: sr.render(lattice(0.5), cameras(), lighting=light),
        lambda light: sr.render(lattice(0.5), cameras(), lighting=light, engine="reference"),
        lambda light: linearize(lattice(0.5), cameras(), lighting=light),
        lambda light: raytrace(sr.extract_mesh(lattice(0.5)), cameras(), lighting=light),
        lambda light: render_field(primitives.sphere(0.5), cameras(), BOX, lighting=light),
    ],
    ids=["cpu", "reference", "linearize", "raytrace", "field"],
)
@pytest.mark.parametrize("count", [1, 2, 4])
def test_lights_of_other_cameras(see: Callable[[sr.Lighting], object], count: int) -> None:
    with pytest.raises(ValueError, match=f"3 cameras, got that of {count}"):
        see(lit(lights(count)))


@pytest.mark.parametrize("shape", [(8,), (3, 9), (9, 3, 3), (2, 2, 9, 3), ()])
def test_coefficients_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="sh: need"):
        sr.Lighting(sh=torch.zeros(shape))


def test_a_point_needs_its_camera() -> None:
    up = torch.tensor([[0.0, 0.0, 1.0]])
    with pytest.raises(ValueError, match="views"):
        lit(lights()).shade(up, up, torch.ones(1))
    assert lit(lights()).num_channels == 3
    assert lit(lights(channels=1)).num_channels == 1


def test_a_scene_states_one_light() -> None:
    with pytest.raises(ValueError, match="one light for all views"):
        lighting_to_dict(lit(lights()))


# ---------------------------------------------------------------------- turned


def test_a_turned_light_does_to_turned_normals_what_it_did() -> None:
    rotations = cameras().c2w[:, :3, :3].double()
    sh = lights(1)[0]
    turned = turned_sh(sh, rotations)
    normals = torch.randn(200, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    normals = torch.nn.functional.normalize(normals, dim=-1)
    for R, found in zip(rotations, turned, strict=True):
        expected = sh_basis(normals @ R) @ sh  # rows Rᵀ n
        torch.testing.assert_close(sh_basis(normals) @ found, expected, rtol=0, atol=1e-6)
    same = turned_sh(sh, torch.eye(3, dtype=torch.float64)[None])
    torch.testing.assert_close(same[0], sh, rtol=0, atol=1e-12)
    assert turned_sh(sh.float(), rotations).dtype == torch.float32


def test_derivatives_of_a_turned_light() -> None:
    sh = lights(1)[0].requires_grad_()
    rotations = cameras().c2w[:, :3, :3].double().requires_grad_()
    assert torch.autograd.gradcheck(turned_sh, (sh, rotations))


# ---------------------------------------------------------------------- what a light may be

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "to_light",
    [
        (0, 0, 0),
        torch.zeros(3),
        (NAN, 0, 1),
        torch.tensor([0.0, INF, 1.0]),
        (1, 2),
        (1, 2, 3, 4),
        [[0, 0, 1]],
        2.0,
        "up",
        (1e-30, 0, 0),  # its square is zero in float32
        (1e30, 0, 0),
        torch.zeros(3, dtype=torch.int64),
    ],
    ids=str,
)
def test_a_direction_that_is_none_is_refused(to_light: Any) -> None:
    with pytest.raises(ValueError, match=r"^to_light: need a direction of .*, got ") as caught:
        sr.Directional(to_light)
    assert str(to_light) in str(caught.value)


@pytest.mark.parametrize("intensity", [NAN, INF, torch.tensor([1.0, NAN]), torch.ones(1, 3),
                                       torch.zeros(0), "bright", None], ids=str)  # fmt: skip
def test_an_intensity_that_is_none_is_refused(intensity: Any) -> None:
    rule = "need a finite number, or one for each channel, got "
    with pytest.raises(ValueError, match=f"^intensity: {rule}"):
        sr.Headlight(intensity)
    with pytest.raises(ValueError, match=f"^intensity: {rule}"):
        sr.Directional((0, 0, 1), intensity)
    with pytest.raises(ValueError, match=f"^ambient: {rule}"):
        sr.Lighting(intensity)


def test_coefficients_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^sh: need finite coefficients, got "):
        sr.Lighting(sh=torch.full((9, 3), NAN))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [1e-15, 1e-3, 1, 7, 1e15])
def test_only_where_a_light_is_matters_not_how_far(length: float, dtype: torch.dtype) -> None:
    up = torch.tensor([[0.0, 0.6, 0.8]], dtype=dtype)
    whole = sr.Lighting(headlight=None, directional=[sr.Directional((0, 3 * length, 4 * length))])
    out = whole.shade(up, up, torch.ones(1, dtype=dtype))
    torch.testing.assert_close(out, torch.ones(1, 1, dtype=dtype))
    values = sr.Lattice.sphere(0.5, resolution=9, dtype=dtype)
    seen = [sr.render(values, cameras(), lighting=whole, engine=engine)
            for engine in ("cpu", "reference")]  # fmt: skip
    assert seen[0].images.isfinite().all()
    torch.testing.assert_close(seen[0].images, seen[1].images, atol=1e-5, rtol=0)


def test_lights_of_whole_numbers_and_of_tensors_with_gradients() -> None:
    direction = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
    strength = torch.tensor([1.0, 0.0, -1.0], requires_grad=True)
    light = sr.Lighting(0, sr.Headlight(1), [sr.Directional(direction, strength)])
    seen = sr.render(sr.Lattice.sphere(0.5, resolution=9), cameras(), lighting=light)
    seen.images.square().sum().backward()  # type: ignore[no-untyped-call]
    assert direction.grad is not None
    assert strength.grad is not None
