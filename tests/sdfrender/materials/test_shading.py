"""What an eye sees of a material: limits that are known, derivatives, visibility, pictures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor
from torch.nn.functional import normalize

from sdfrender import Cameras, InputError, Lattice, extract_mesh
from sdfrender.materials.environment import HEIGHT, Environment, picture_directions
from sdfrender.materials.relight import relit
from sdfrender.materials.shading import (
    irradiance,
    lookup,
    mirrored,
    open_at,
    shade,
    sky_directions,
    transfer,
)
from sdfrender.materials.surface import MaterialMesh
from sdfrender.materials.visibility import visibility

BOX = torch.tensor([[-1.0, -1.1, -0.9], [1.0, 0.9, 1.2]])


def random_units(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)


def sky_light() -> Environment:
    """Smooth, brighter above, coloured."""
    up = picture_directions(HEIGHT)[..., 1:2]
    return Environment((0.6 + torch.cat((0.4 * up, 0.1 * up, -0.2 * up), -1)).float())


def ball(radius: float = 0.5, light: Environment | None = None, **material: float) -> MaterialMesh:
    """A sphere that sees all in front of it."""
    mesh = trimesh.creation.icosphere(4, radius)
    normals = torch.from_numpy(np.array(mesh.vertices / radius)).float()
    V = len(normals)
    seen = (normals @ sky_directions().float().T > 0).to(torch.uint8)
    return MaterialMesh(
        mesh,
        normals,
        torch.full((V, 3), material.get("base", 0.5)),
        torch.full((V,), material.get("rough", 0.3)),
        seen,
        material.get("specular", 0.04),
        material.get("metallic", 0.0),
        light or sky_light(),
    )


def test_even_light_falls_evenly() -> None:
    normals = random_units(50, 0)
    light = Environment(torch.full((HEIGHT, 2 * HEIGHT, 3), 0.8))
    even = irradiance(normals, torch.ones(50, 2 * HEIGHT**2), light)
    torch.testing.assert_close(even, torch.full((50, 3), 0.8).double(), rtol=0.01, atol=0)


def test_a_rough_surface_without_mirror_is_lamberts() -> None:
    """Under light that grows linearly with height, E / π = a + 2/3 b n_y."""
    normals = random_units(40, 1)
    found = irradiance(normals, torch.ones(40, 2 * HEIGHT**2), sky_light())
    expected = 0.6 + 2 / 3 * torch.tensor([0.4, 0.1, -0.2]) * normals[:, 1:2]
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0.003)
    dark = torch.zeros(40, 3).double()
    seen = shade(torch.full((40, 3), 0.3), torch.ones(40), 0.04, 0.0, found, dark, torch.ones(40))
    torch.testing.assert_close(seen, 0.3 * found)


def test_a_white_furnace() -> None:
    """A white mirror in even light is not seen at all; rough, it loses a little."""
    light = Environment(torch.ones(HEIGHT, 2 * HEIGHT, 3))
    camera = Cameras.look_at([[0.0, 0.4, 3.0]], width=16)
    for rough, low in ((0.1, 0.97), (0.5, 0.8)):
        surface = ball(light=light, base=1.0, rough=rough, metallic=1.0)
        images, silhouettes = relit(surface, camera, light)
        inside = silhouettes[0] == 1
        assert images[0][inside].max() <= 1 + 1e-4
        assert images[0][inside].min() > low


def test_a_mirror_shows_the_light() -> None:
    generator = torch.Generator().manual_seed(0)
    light = Environment(torch.rand(HEIGHT, 2 * HEIGHT, 3, generator=generator))
    smooth = light.resized(6)  # of which a filter as narrow as a pixel changes nothing
    wide = torch.nn.functional.interpolate(
        smooth.radiance.permute(2, 0, 1)[None], scale_factor=HEIGHT / 6, mode="bilinear"
    )[0].permute(1, 2, 0)
    light = Environment(wide)
    normals, to_eye = random_units(200, 2).float(), random_units(200, 3).float()
    to_eye = to_eye * (to_eye * normals).sum(-1, keepdim=True).sign()
    directions, _ = mirrored(normals, to_eye)
    half = normalize(directions + to_eye, dim=-1)
    torch.testing.assert_close(half, normals, atol=1e-4, rtol=0)
    rows = directions[:, 1].abs() < 0.9  # away from the poles
    seen = lookup(light.filtered(), directions, torch.full((200,), 0.1))[rows]
    plain = lookup(light.radiance.expand(10, -1, -1, -1), directions, torch.full((200,), 0.1))[rows]
    assert float((seen - plain).abs().mean()) < 0.02


@pytest.mark.parametrize("metallic", [0.0, 1.0])
def test_derivatives_in_normal_roughness_and_color(metallic: float) -> None:
    """The whole of the model, in float64, against finite differences."""
    to_eye, raw = random_units(5, 4), random_units(5, 5)
    facing = raw + 1.5 * to_eye
    light = Environment(sky_light().radiance.double() + 0.3 * picture_directions(HEIGHT))
    filtered = light.filtered()
    seen = torch.ones(5, 2 * HEIGHT**2)
    corners = [(torch.arange(5), torch.ones(5).double())]

    def show(n: Tensor, rough: Tensor, base: Tensor) -> Tensor:
        normals = normalize(n, dim=-1)
        directions, cosine = mirrored(normals, to_eye)
        mirror = lookup(filtered, directions, rough)
        mirror = mirror * open_at(directions, normals, seen, corners)[:, None]
        even = transfer(normals, seen) @ light.radiance.reshape(-1, 3)
        return shade(base, rough, 0.04, metallic, even, mirror, cosine)

    generator = torch.Generator().manual_seed(6)
    rough = (0.2 + 0.6 * torch.rand(5, generator=generator, dtype=torch.float64)).requires_grad_()
    base = torch.rand(5, 3, generator=generator, dtype=torch.float64).requires_grad_()
    inputs = (facing.requires_grad_(), rough, base)
    assert torch.autograd.gradcheck(show, inputs, eps=1e-6, atol=1e-4, rtol=1e-3)


# ---------------------------------------------------------------------- visibility


def test_a_ball_hides_what_is_behind_it() -> None:
    """Two balls: a ray from one is free unless it meets the other, or itself."""
    centers, radii = torch.tensor([[-0.45, 0.0, 0.1], [0.4, 0.05, 0.1]]), (0.3, 0.25)

    def distance(p: Tensor) -> Tensor:
        return torch.stack(
            [(p - c).norm(dim=-1) - r for c, r in zip(centers, radii, strict=True)]
        ).amin(0)

    lattice = Lattice.from_function(distance, (48, 45, 50), BOX)
    normals = random_units(30, 7)
    points = centers[0].double() + radii[0] * normals
    directions = random_units(60, 8)
    seen = visibility(lattice, points, normals, directions).bool()
    off = points[:, None] - centers[1].double()
    along = (off * directions).sum(-1)
    nearest = ((off**2).sum(-1) - along**2).clamp(min=0).sqrt()
    cosine = normals @ directions.T
    free = (cosine > 0) & ((along >= 0) | (nearest > radii[1]))
    sure = (cosine.abs() > 0.1) & ((nearest - radii[1]).abs() > 0.06)
    assert sure.float().mean() > 0.7
    assert torch.equal(seen[sure], free[sure])
    assert not seen[sure & (cosine > 0)].all()


def test_reflections_are_shut_off_where_the_way_is() -> None:
    directions = sky_directions().float()
    up = torch.tensor([[0.0, 1.0, 0.0]])
    seen = (directions[None, :, 0] < 0).to(torch.uint8)  # a wall at the right
    corners = [(torch.zeros(1, dtype=torch.int64), torch.ones(1))]
    right, left = (normalize(torch.tensor([[x, 0.5, 0.0]]), dim=-1) for x in (1.0, -1.0))
    assert float(open_at(right, up, seen, corners)) == 0
    assert float(open_at(left, up, seen, corners)) == pytest.approx(1)
    below = torch.tensor([[0.0, -1.0, 0.1]])
    assert float(open_at(below, up, seen, corners)) == 1  # nothing is known there


# ---------------------------------------------------------------------- files


def test_a_mesh_with_materials_is_stored(tmp_path: Path) -> None:
    surface = ball(rough=0.4, specular=0.05)
    surface.save(tmp_path / "materials.safetensors")
    back = MaterialMesh.load(tmp_path / "materials.safetensors")
    for name in ("normals", "base_color", "roughness", "seen"):
        assert torch.equal(getattr(surface, name), getattr(back, name)), name
    assert (back.specular, back.metallic) == (0.05, 0.0)
    camera = Cameras.look_at([[1.0, 0.4, 2.0]], width=17, height=13)
    for one, other in zip(
        relit(surface, camera, surface.environment),
        relit(back, camera, back.environment),
        strict=True,
    ):
        assert torch.equal(one, other)
    with pytest.raises(InputError, match=r"multiview materials RUN"):
        MaterialMesh.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"bad.safetensors"):
        MaterialMesh.load(tmp_path / "bad.safetensors")


def test_highlights_are_where_the_lamp_is_mirrored() -> None:
    """One small lamp; the brightest pixel of a shiny black ball faces half way to it."""
    lamp = normalize(torch.tensor([0.6, 0.5, 0.62]), dim=0)
    radiance = (picture_directions(HEIGHT).float() @ lamp > math.cos(0.15)).float()[..., None]
    light = Environment(30 * radiance.expand(-1, -1, 3).contiguous())
    camera = Cameras.look_at([[0.0, 0.0, 6.0]], width=65, fov=0.25)
    images, _ = relit(ball(light=light, base=0.0, rough=0.25), camera, light)
    row, column = divmod(int(images[0, ..., 0].argmax()), 65)
    half = normalize(lamp + torch.tensor([0.0, 0.0, 1.0]), dim=0)
    pixel, _ = camera.project((0.5 * half)[None])
    assert abs(float(pixel[0, 0, 0]) - column - 0.5) < 2.5
    assert abs(float(pixel[0, 0, 1]) - row - 0.5) < 2.5


def test_a_lattice_and_its_mesh_see_the_same_sky() -> None:
    """Of a torus, part of the inside is in shadow; a ball's points see their whole hemisphere."""
    lattice = Lattice.sphere(0.6, resolution=33, bounds=BOX)
    mesh = extract_mesh(lattice)
    verts = torch.from_numpy(np.array(mesh.vertices))
    normals = normalize(verts, dim=-1)
    seen = visibility(lattice, verts, normals, sky_directions())
    above = normals @ sky_directions().T > 0.05
    assert seen[above].float().mean() > 0.999
