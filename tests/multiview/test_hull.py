"""The visual hull: outlines to sub-pixels, carving, what no view says; the box of the object."""

from __future__ import annotations

import math

import numpy as np
import places
import pytest
import torch
from torch import Tensor

from multiview.scenes import load_scene
from sdfrender.errors import InputError
from sdfrender.geometry.lattice import Lattice
from sdfrender.hull.bounds import bounds_from_masks
from sdfrender.hull.completed import completed
from sdfrender.hull.outlines import outline_distance
from sdfrender.hull.visual_hull import visual_hull
from sdfrender.view.cameras import Cameras

DATA = places.DATA
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")

CENTER, RADIUS = (0.2, -0.1, 0.15), 0.6


def sphere_silhouettes(cameras: Cameras, center: tuple[float, ...], radius: float) -> Tensor:
    """`[N, H, W]` coverage of a sphere: a ramp one pixel wide across the exact cone of sight."""
    rays_o, rays_d = (x.double() for x in cameras.rays())
    to_center = torch.tensor(center).double() - rays_o
    distance = to_center.norm(dim=-1)
    angle = torch.acos(((to_center * rays_d).sum(-1) / distance).clamp(-1, 1))
    pixel = 1 / cameras.Ks[:, 0, 0].double()[:, None, None]
    # Angles along the radius of the image shrink with the square of the cosine off axis; the
    # sphere is near the axis, so that the ramp is one pixel wide to a few per cent.
    return (0.5 - (angle - torch.asin(radius / distance)) / pixel).clamp(0, 1).float()


def off_centre(cameras: Cameras, dx: float, dy: float) -> Cameras:
    """The same cameras with the principal point moved, pixels."""
    Ks = cameras.Ks.clone()
    Ks[:, 0, 2] += dx
    Ks[:, 1, 2] += dy
    return Cameras(cameras.c2w, Ks, cameras.width, cameras.height)


def views(width: int = 96, height: int = 72) -> tuple[Cameras, Tensor, Tensor]:
    """26 views, not square, off-centre; silhouettes of the sphere; all known."""
    cameras = off_centre(Cameras.cube(distance=3.2, width=width, height=height), 5.0, -3.0)
    silhouettes = sphere_silhouettes(cameras, CENTER, RADIUS)
    return cameras, silhouettes, torch.ones_like(silhouettes)


BOX = torch.tensor([[-0.6, -0.95, -0.65], [1.0, 0.75, 0.95]])


def on_sphere(
    hull: Lattice, center: tuple[float, ...] = CENTER, radius: float = RADIUS, n: int = 4000
) -> Tensor:
    """The hull's distances at `n` points spread evenly over a sphere."""
    i = torch.arange(n).double() + 0.5
    z, a = 1 - 2 * i / n, i * math.pi * (3 - math.sqrt(5))
    r = (1 - z * z).sqrt()
    directions = torch.stack((r * a.cos(), r * a.sin(), z), -1)
    return hull.sample((torch.tensor(center) + radius * directions).float())


# ---------------------------------------------------------------------- outlines


def test_outline_distance_worked_value() -> None:
    coverage = torch.tensor([[1.0, 1.0, 0.25, 0.0]]).expand(3, 4)
    expected = torch.tensor([-5 / 3, -2 / 3, 1 / 3, 4 / 3])
    torch.testing.assert_close(outline_distance(coverage)[1], expected)


@pytest.mark.parametrize("degrees", [0, 17, 45, 63, 90, 200])
def test_outline_of_a_half_plane(degrees: float) -> None:
    a = math.radians(degrees)
    v, u = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    truth = (u - 40.3) * math.cos(a) + (v - 30.2) * math.sin(a)
    # Area coverage of a pixel by a half-plane is close to this ramp; sampled finely here.
    offsets = (torch.arange(16) + 0.5) / 16 - 0.5
    grid = [(du, dv) for du in offsets for dv in offsets]
    covered = [truth + du * math.cos(a) + dv * math.sin(a) < 0 for du, dv in grid]
    coverage = torch.stack(covered).float().mean(0)
    # The nearest point of the outline is in the frame.
    x, y = u - truth * math.cos(a), v - truth * math.sin(a)
    framed = (x > 3) & (x < 76) & (y > 3) & (y < 56)
    error = (outline_distance(coverage) - truth)[framed]
    # Coverage is not linear in the distance: a tenth of a pixel is lost, more where the line just
    # touches a pixel's corner. Pixels taken for 0 or 1 would give 0.29 root mean square.
    assert float(error.square().mean().sqrt()) < 0.1
    assert float(error.abs().max()) < 0.4


def test_outline_of_a_binary_disc() -> None:
    v, u = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    truth = torch.hypot(u - 30.7, v - 33.1) - 17.2
    error = outline_distance((truth < 0).float()) - truth
    assert float(error.abs().max()) < 0.75  # a stair's step, half a pixel along each axis
    assert float(error.mean().abs()) < 0.1


def test_outline_has_no_wall_at_the_frame() -> None:
    coverage = torch.zeros(20, 30)
    coverage[:, 10:] = 1.0
    distance = outline_distance(coverage)
    torch.testing.assert_close(distance, (9.5 - torch.arange(30.0)).expand(20, 30))
    assert float(outline_distance(torch.ones(3, 4)).max()) == -5.0
    assert float(outline_distance(torch.zeros(3, 4)).min()) == 5.0


# ---------------------------------------------------------------------- the hull


def test_hull_of_a_sphere_is_the_sphere() -> None:
    cameras, silhouettes, known = views()
    hull = visual_hull(cameras, silhouettes, known, 40, BOX)
    assert hull.resolution == (38, 40, 38)
    torch.testing.assert_close(hull.bounds, BOX)
    # The hull holds the sphere, to a tenth of a cell; the 26 cones leave it room to stick out by
    # up to 0.018 where none of them touches (from their equations).
    distances = on_sphere(hull)
    assert float(distances.max()) < 0.006
    assert float(distances.min()) > -0.018
    assert float(on_sphere(hull, radius=RADIUS + 0.02).min()) > 0


def test_hull_is_exact_where_cones_touch() -> None:
    cameras, silhouettes, known = views(192, 144)
    hull = visual_hull(cameras, silhouettes, known, 64, BOX)
    # Every point of a rim lies on the hull's surface: take the rim of the first view.
    eye = cameras.centers[0].double()
    to_center = torch.tensor(CENTER).double() - eye
    distance = float(to_center.norm())
    d = to_center / distance
    side = torch.linalg.cross(d, torch.tensor([0.3, 0.9, 0.1]).double())
    side = side / side.norm()
    up = torch.linalg.cross(side, d)
    t = torch.linspace(0, 2 * math.pi, 50).double()[:-1, None]
    height, reach = RADIUS**2 / distance, RADIUS * math.sqrt(1 - (RADIUS / distance) ** 2)
    middle = torch.tensor(CENTER).double() - d * height
    rim = middle + reach * (t.cos() * side + t.sin() * up)
    spacing = float(hull.spacing.max())
    assert float(hull.sample(rim.float()).abs().max()) < 0.35 * spacing


def test_hull_on_a_lattice_that_is_not_cubic() -> None:
    cameras, silhouettes, known = views()
    box = torch.tensor([[-0.7, -0.9, -0.6], [1.1, 0.7, 1.4]])
    hull = visual_hull(cameras, silhouettes, known, (30, 40, 50), box)
    assert hull.resolution == (30, 40, 50)
    distances = on_sphere(hull)
    assert float(distances.max()) < 0.006
    assert float(distances.min()) > -0.018


def test_a_view_that_is_cut_carves_nothing_outside_its_frame() -> None:
    # Half of the views are moved so that the frame cuts the sphere in the middle.
    cameras = Cameras.cube(distance=3.2, width=96, height=72)
    Ks = cameras.Ks.clone()
    Ks[::2, 0, 2] += 48
    Ks[1::4, 1, 2] -= 36
    cut = Cameras(cameras.c2w, Ks, 96, 72)
    silhouettes = sphere_silhouettes(cut, (0.0, 0.0, 0.0), RADIUS)
    box = torch.tensor([[-0.9] * 3, [0.9] * 3])
    hull = visual_hull(cut, silhouettes, torch.ones_like(silhouettes), 40, box)
    origin = (0.0, 0.0, 0.0)
    assert float(on_sphere(hull, origin).max()) < 0.006  # nothing of the sphere is lost
    assert float(on_sphere(hull, origin, RADIUS + 0.2).min()) > 0


def test_a_whole_silhouette_carves_outside_its_frame() -> None:
    cameras = Cameras.look_at([[0.0, 0.0, 3.0], [3.0, 0.0, 0.0]], width=40, height=40, fov=0.5)
    silhouettes = sphere_silhouettes(cameras, (0.0, 0.0, 0.0), 0.4)
    box = torch.tensor([[-2.0] * 3, [2.0] * 3])
    hull = visual_hull(cameras, silhouettes, torch.ones_like(silhouettes), 41, box)
    assert float(hull.vertices[hull.values < 0].abs().max()) < 0.65


def test_where_the_silhouette_is_not_known_nothing_is_carved() -> None:
    cameras, silhouettes, known = views()
    whole = visual_hull(cameras, silhouettes, known, 32, BOX)
    spoiled, weights = silhouettes.clone(), known.clone()
    spoiled[:, 30:40, 40:60] = 0.0
    carved = visual_hull(cameras, spoiled, known, 32, BOX)
    weights[:, 30:40, 40:60] = 0.0
    kept = visual_hull(cameras, spoiled, weights, 32, BOX)
    assert float((carved.values < 0).sum()) < 0.8 * float((whole.values < 0).sum())
    assert bool((kept.values < 0)[whole.values < 0].all())


def test_a_point_that_no_view_sees_is_outside() -> None:
    cameras = Cameras.look_at([[0.0, 0.0, 3.0], [0.5, 0.0, 3.0]], width=20, height=20, fov=0.3)
    silhouettes = torch.ones(2, 20, 20)  # cut on all sides
    box = torch.tensor([[-1.0] * 3, [1.0] * 3])
    hull = visual_hull(cameras, silhouettes, torch.ones_like(silhouettes), 21, box)
    assert float(hull.values[10, 10, 10]) < 0
    assert float(hull.values[0, 0, 0]) > 0
    assert bool(torch.isfinite(hull.values).all())


def test_hull_refuses_what_does_not_fit() -> None:
    cameras, silhouettes, known = views(24, 18)
    with pytest.raises(ValueError, match=r"silhouettes: need \[26, 18, 24\].*got \[25, 18, 24\]"):
        visual_hull(cameras, silhouettes[1:], known, 16, BOX)
    with pytest.raises(ValueError, match="silhouette_weights: need"):
        bounds_from_masks(cameras, silhouettes, known[:, 1:])
    with pytest.raises(InputError, match="none of its 15×16×15 vertices is inside all 26"):
        visual_hull(cameras, silhouettes, known, 16, BOX + 5.0)


# ---------------------------------------------------------------------- the box


def test_bounds_hold_the_sphere_and_little_more() -> None:
    bounds = bounds_from_masks(*views())
    assert bounds.dtype == torch.float32
    margin = torch.stack((torch.tensor(CENTER) - RADIUS - bounds[0], bounds[1] - RADIUS))
    margin[1] -= torch.tensor(CENTER)
    assert float(margin.min()) > 0.08 * 2 * RADIUS * 0.9
    assert float(margin.max()) < 0.08 * 2 * RADIUS + 0.1
    tight = bounds_from_masks(*views(), padding=0.0)
    assert float((tight - bounds).abs().min()) > 0.05


def test_bounds_of_a_long_object_seen_by_few_views() -> None:
    cameras = Cameras.orbit(5, distance=6.0, width=64, height=48)
    centers = [(0.0, 0.0, z) for z in np.linspace(-1.2, 1.2, 13)]
    silhouettes = torch.stack([sphere_silhouettes(cameras, c, 0.3) for c in centers]).amax(0)
    bounds = bounds_from_masks(cameras, silhouettes, torch.ones_like(silhouettes))
    assert bool((bounds[0] < torch.tensor([-0.3, -0.3, -1.5])).all())
    assert bool((bounds[1] > torch.tensor([0.3, 0.3, 1.5])).all())
    assert float(bounds.abs().max()) < 2.0


def test_bounds_when_every_view_is_cut() -> None:
    cameras = Cameras.cube(distance=3.2, width=64, height=48, fov=math.radians(18))
    silhouettes = sphere_silhouettes(cameras, (0.0, 0.0, 0.0), RADIUS)
    assert float(silhouettes[:, 0].max()) == 1.0
    bounds = bounds_from_masks(cameras, silhouettes, torch.ones_like(silhouettes))
    assert bool((bounds[0] < -RADIUS).all())
    assert bool((bounds[1] > RADIUS).all())
    assert float(bounds.abs().max()) < 1.3


def test_bounds_of_an_object_larger_than_any_picture_shows() -> None:
    # A rod of which every view shows a part, so that the first guess of its size is too small.
    middles = torch.tensor([[0.0, 0.0, z] for z in (-2.0, 0.0, 2.0)])
    a = torch.arange(8) * (math.pi / 4)
    eyes = 6 * torch.stack((a.cos(), a.sin(), torch.zeros(8)), -1)
    c2w = Cameras.look_at(eyes).c2w.repeat_interleave(3, 0)
    c2w[:, :3, 3] += middles.repeat(8, 1)
    Ks = torch.tensor([[128.0, 0, 32], [0, 128, 32], [0, 0, 1]]).repeat(24, 1, 1)  # 1.5 each way
    cameras = Cameras(c2w, Ks, 64, 64)
    centers = [(0.0, 0.0, z) for z in np.linspace(-2.8, 2.8, 29)]
    silhouettes = torch.stack([sphere_silhouettes(cameras, c, 0.2) for c in centers]).amax(0)
    bounds = bounds_from_masks(cameras, silhouettes, torch.ones_like(silhouettes))
    assert float(bounds[0, 2]) < -3.0
    assert float(bounds[1, 2]) > 3.0
    assert float(bounds[:, :2].abs().max()) < 1.0


def test_bounds_refuse_views_that_do_not_meet() -> None:
    eyes = torch.tensor([[0.0, 0.0, 3.0], [1.0, 0.0, 3.0]])
    c2w = Cameras.look_at(eyes[:1], width=20).c2w.repeat(2, 1, 1)
    c2w[:, :3, 3] = eyes
    parallel = Cameras(c2w, Cameras.look_at(eyes, width=20).Ks, 20, 20)
    silhouettes = torch.zeros(2, 20, 20)
    silhouettes[:, 8:12, 8:12] = 1.0
    with pytest.raises(InputError, match="parallel: state the bounds"):
        bounds_from_masks(parallel, silhouettes, torch.ones_like(silhouettes))
    apart = Cameras.cube(width=20)
    silhouettes = torch.zeros(26, 20, 20)
    silhouettes[::2, 1:3, 1:3] = 1.0
    silhouettes[1::2, 16:18, 1:3] = 1.0
    with pytest.raises(InputError, match="inside all 26 silhouettes"):
        bounds_from_masks(apart, silhouettes, torch.ones_like(silhouettes))


# ---------------------------------------------------------------------- the real data


@pytest.mark.release
@needs_data
def test_dinosaur_from_sixteen_photographs() -> None:
    scene = load_scene(DATA / "middlebury" / "dinoRing", "2::3", max_size=320)
    ids = list(scene.train)
    images = scene.cameras[ids], scene.silhouettes[ids], scene.silhouette_weights[ids]
    bounds = bounds_from_masks(*images)
    stated = torch.tensor([[-0.021897, 0.021126, -0.017845], [0.050897, 0.108227, 0.055495]])
    assert bool((bounds[0] < stated[0]).all())
    assert bool((bounds[1] > stated[1]).all())
    assert float((bounds - stated).abs().max()) < 0.02  # a fifth of the object's size
    hull = visual_hull(*images, 64, bounds)
    # No view of the ring sees the base from below: the hull hangs there in a cone.
    inside = hull.vertices[hull.values < 0]
    assert bool((inside.amin(0) > stated[0] - torch.tensor([0.004, 0.012, 0.004])).all())
    assert bool((inside.amax(0) < stated[1] + 0.004).all())
    # Held-out silhouettes: almost every vertex inside the hull projects into them.
    held_out = list(scene.held_out)
    uv, _ = scene.cameras[held_out].project(inside)
    pixels = torch.stack((uv[..., 0] / 320, uv[..., 1] / 240), -1) * 2 - 1
    seen = torch.nn.functional.grid_sample(
        scene.silhouettes[held_out][:, None], pixels[:, None], align_corners=False
    )
    framed = pixels.abs().amax(-1) < 1
    assert float((seen[:, 0, 0] > 0.5)[framed].float().mean()) > 0.985


# ---------------------------------------------------------------------- cut a little


def cut_views(count: int, larger: float) -> tuple[Cameras, Tensor]:
    """A ring of views whose frames are lower than the sphere; larger than 1: by how much."""
    cameras = Cameras.orbit(count, 3.2, 0.3, width=96, height=72)
    focal = larger * 36 * math.sqrt(3.2**2 - RADIUS**2) / RADIUS
    Ks = cameras.Ks.clone()
    Ks[:, 0, 0] = Ks[:, 1, 1] = focal
    cameras = Cameras(cameras.c2w, Ks, 96, 72)
    return cameras, sphere_silhouettes(cameras, (0.0, 0.0, 0.0), RADIUS)


def overlap(hull: Lattice) -> float:
    truth, inside = hull.vertices.norm(dim=-1) < RADIUS, hull.values < 0
    return float((truth & inside).sum() / (truth | inside).sum())


@pytest.mark.parametrize("larger", [1.03, 1.1])
def test_an_object_that_every_view_cuts_a_little_does_not_fill_the_box(larger: float) -> None:
    cameras, silhouettes = cut_views(12, larger)
    known = torch.ones_like(silhouettes)
    box = bounds_from_masks(cameras, silhouettes, known)
    assert float((box[1] - box[0]).max()) < 2 * RADIUS * 1.5
    assert overlap(visual_hull(cameras, silhouettes, known, 40, box)) > 0.9


def test_cuts_are_continued_only_where_hardly_a_view_is_whole() -> None:
    cameras, silhouettes = cut_views(12, 1.1)
    known = torch.ones_like(silhouettes)
    larger, longer, border = completed(cameras, silhouettes, known)
    b = (larger.width - 96) // 2
    assert b > 4
    assert larger.height == 72 + 2 * b
    assert torch.equal(longer[:, b:-b, b:-b], silhouettes)
    assert float(border.min()) == 1
    assert bool((longer[:, b - 1] > 0.5).any(1).all())
    assert not (longer[:, 0] > 0.5).any()
    there, here = larger.project(torch.eye(3))[0], cameras.project(torch.eye(3))[0]
    torch.testing.assert_close(there, here + b)
    whole = silhouettes.clone()
    whole[:4, :2], whole[:4, -2:] = 0, 0
    assert completed(cameras, whole, known)[1] is whole
    long = silhouettes.clone()
    long[:, 20:50] = 1  # from side to side
    assert completed(cameras, long, known)[1] is long


def test_a_view_with_a_long_cut_says_nothing_beyond_its_frame() -> None:
    cameras, silhouettes = cut_views(12, 1.1)
    silhouettes[3] = 1
    larger, _, known = completed(cameras, silhouettes, torch.ones_like(silhouettes))
    b = (larger.width - 96) // 2
    assert float(known[3].sum()) == 96 * 72
    assert float(known[3, b:-b, b:-b].min()) == 1
    assert float(known[4].min()) == 1
