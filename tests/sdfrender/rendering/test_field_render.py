"""Pictures of a field itself agree with analytic shapes and with the lattice renderer."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sdfrender import Cameras, Directional, Headlight, InputError, Lattice, Lighting, render
from sdfrender.geometry.primitives import box, sphere, torus, union
from sdfrender.rendering.field_render import TraceSettings, render_field

BOUNDS = ((-1.0, -0.8, -0.9), (1.1, 0.8, 1.0))


def cameras(width: int = 61, height: int = 43) -> Cameras:
    """Three views, wider than high, off-centre principal points, float64."""
    eyes = [[0.4, 0.7, 2.6], [2.3, -1.1, 0.3], [-0.2, 2.5, -0.9]]
    views = Cameras.look_at(eyes, width=width, height=height)
    shift = torch.tensor([[0.0, 0.0, 5.3], [0.0, 0.0, -3.7], [0.0, 0.0, 0.0]])
    return Cameras(views.c2w.double(), views.Ks.double() + shift, width, height)


def test_a_sphere_is_where_it_should_be() -> None:
    center, radius = torch.tensor([0.1, -0.2, 0.15]).double(), 0.45
    views = cameras()
    out = render_field(sphere(radius, center.tolist()), views, BOUNDS)
    rays_o, rays_d = views.rays()
    b = ((rays_o - center) * rays_d).sum(-1)
    inside = b**2 - ((rays_o - center).square().sum(-1) - radius**2)
    assert torch.equal(out.hit_mask, inside > 0)
    t = -b - inside.clamp(min=0).sqrt()
    points = rays_o + t[..., None] * rays_d
    local = torch.einsum("nhwi,ni->nhw", points - views.centers[:, None, None], views.c2w[:, :3, 2])
    hit = out.hit_mask
    assert float((out.depths - local)[hit].abs().max()) < 1e-9
    assert float((out.normals - (points - center) / radius)[hit].abs().max()) < 1e-8
    assert bool(out.depths[~hit].isinf().all())
    assert float(out.normals[~hit].abs().max()) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f,
        lambda f: f.clamp(-0.1, 0.1),
        lambda f: torch.tanh(f),
        lambda f: 0.5 - torch.sigmoid(-8 * f),
        lambda f: f * (1 + 0.3 * f),
    ],
    ids=["distance", "clamped", "tanh", "occupancy", "bent"],
)
def test_a_torus_whatever_the_values_far_away(change: Callable[[Tensor], Tensor]) -> None:
    shape, views = torus(0.5, 0.2), cameras()
    plain = render_field(shape, views, BOUNDS, settings=TraceSettings(safety=0.5))
    out = render_field(lambda p: change(shape(p)), views, BOUNDS)
    # rays that pass a rim within the shortest step may be told either way
    assert int((out.hit_mask != plain.hit_mask).sum()) <= 2
    both = out.hit_mask & plain.hit_mask
    assert float((out.depths - plain.depths)[both].abs().max()) < 1e-6
    assert float((out.normals - plain.normals)[both].abs().max()) < 1e-5


def test_it_agrees_with_the_lattice_renderer() -> None:
    """The field is that lattice: same hits, same cuts at the box, same light."""
    shape = union(torus(0.6, 0.2), box((0.1, 2.0, 0.1)))  # sticks out above and below
    lattice = Lattice.from_function(shape, (34, 27, 31), BOUNDS, torch.float64)
    lighting = Lighting(
        ambient=torch.tensor([0.1, 0.0, 0.2]),
        headlight=Headlight(0.7, falloff=True),
        directional=(Directional((0.3, 0.8, 0.5), 0.3),),
    )
    albedo, background = torch.tensor([0.9, 0.5, 0.3]), torch.tensor([0.0, 0.3, 1.0])
    views = cameras()
    options = {"lighting": lighting, "albedo": albedo, "background": background}
    want = render(lattice, views, coverage=False, **options)
    out = render_field(lattice.sample, views, BOUNDS, **options)
    assert 0.1 < float(out.silhouettes.mean()) < 0.9
    assert int((out.hit_mask != want.hit_mask).sum()) <= 3
    both = out.hit_mask & want.hit_mask
    far = (out.depths - want.depths).abs() > 1e-6  # behind what is grazed
    assert int((far & both).sum()) <= 3
    both &= ~far
    # normals of the lattice are blended over its cells, those of the field are of one cell
    assert float((out.normals * want.normals).sum(-1)[both].mean()) > 0.99
    same = render_field(lattice.sample, views, BOUNDS, lighting=Lighting(0.5, None), albedo=albedo)
    flat = render(lattice, views, coverage=False, lighting=Lighting(0.5, None), albedo=albedo)
    assert float((same.images - flat.images)[both].abs().max()) < 1e-12
    cut = both & (want.normals[..., 1].abs() == 1)
    assert int(cut.sum()) > 5
    assert float((out.normals - want.normals)[cut].abs().max()) == 0


def test_chunks_make_no_difference() -> None:
    views = cameras(21, 15)
    whole, parts = (render_field(torus(0.5, 0.2), views, BOUNDS, chunk=n) for n in (1 << 16, 37))
    for name in ("images", "silhouettes", "depths", "normals", "hit_mask"):
        assert torch.equal(getattr(whole, name), getattr(parts, name)), name


def test_only_rays_on_their_way_are_evaluated() -> None:
    seen: list[int] = []

    def counted(points: Tensor) -> Tensor:
        seen.append(len(points))
        return sphere(0.3)(points)

    views = cameras()
    render_field(counted, views, ((-0.4, -0.4, -0.4), (0.4, 0.4, 0.4)))
    assert max(seen) < 0.5 * views.width * views.height  # the box fills less than half the picture


def test_what_is_not_there_is_not_drawn() -> None:
    out = render_field(sphere(0.3, (5.0, 0.0, 0.0)), cameras(), BOUNDS, background=0.25)
    assert not bool(out.hit_mask.any())
    assert float((out.images - 0.25).abs().max()) == 0


def test_rays_along_the_axes_meet_the_box() -> None:
    """A direction with zeros: no division of zero by zero."""
    views = Cameras.look_at([[0.0, 0.0, 3.0]], width=9)
    out = render_field(sphere(0.5), views, BOUNDS)
    assert float(out.depths[0, 4, 4]) == pytest.approx(2.5, abs=1e-5)
    assert float(out.images[0, 4, 4, 0]) == pytest.approx(1.0, abs=1e-5)


def test_what_is_wrong_is_said() -> None:
    views = cameras(9, 7)
    with pytest.raises(ValueError, match=r"bounds: need \[2, 3\]"):
        render_field(sphere(0.5), views, ((0.0, 0.0, 0.0), (1.0, 0.0, 1.0)))
    with pytest.raises(ValueError, match="field: need values"):
        render_field(lambda p: p, views)
    with pytest.raises(InputError, match="field: need finite values, got nan at"):
        render_field(lambda p: p[:, 0] * torch.nan, views)
    with pytest.raises(ValueError, match="safety: need a positive number, got 0"):
        TraceSettings(safety=0)
