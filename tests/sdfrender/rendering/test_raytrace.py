"""Ray tracing of meshes, against shapes whose images are known in closed form."""

import math

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from sdfrender.rendering.raytrace import MeshTracer, raytrace
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Directional, Headlight, Lighting

AMBIENT = Lighting(ambient=1.0, headlight=None)


def odd_camera(target: tuple[float, float, float] = (0.1, -0.2, 0.3)) -> Cameras:
    """Not square in pixels or in shape, off centre, tilted."""
    view = Cameras.look_at([[1.5, 1.1, 2.4]], target, width=64, height=45)
    K = torch.tensor([[[70.0, 0.0, 27.3], [0.0, 85.0, 25.9], [0.0, 0.0, 1.0]]])
    return Cameras(view.c2w, K, 64, 45)


def subpixel_rays(cameras: Cameras, s: int) -> tuple[Tensor, Tensor]:
    """The rays of an s × s grid in each pixel, `[H, s, W, s, 3]`, written without `Cameras`."""
    H, W = cameras.height, cameras.width
    (fx, _, cx), (_, fy, cy), _ = cameras.Ks[0].double()
    v = ((torch.arange(H * s).double() + 0.5) / s)[:, None].expand(H * s, W * s)
    u = ((torch.arange(W * s).double() + 0.5) / s)[None, :].expand(H * s, W * s)
    local = torch.stack(((u - cx) / fx, (v - cy) / fy, torch.ones_like(u)), -1)
    rotation, eye = cameras.c2w[0, :3, :3].double(), cameras.c2w[0, :3, 3].double()
    d = local @ rotation.T
    return eye, (d / d.norm(dim=-1, keepdim=True)).reshape(H, s, W, s, 3)


def sphere_hits(eye: Tensor, d: Tensor, center: Tensor, radius: float) -> Tensor:
    """Distances to a sphere along rays, inf on a miss."""
    o = eye - center
    b = (d * o).sum(-1)
    discriminant = b * b - o @ o + radius**2
    return torch.where(discriminant >= 0, -b - discriminant.clamp(min=0).sqrt(), torch.inf)


# ---------------------------------------------------------------------- a sphere


@pytest.fixture(scope="module")
def ball() -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=6, radius=0.5)
    mesh.apply_translation((0.1, -0.2, 0.3))
    return mesh


def test_sphere_coverage_depth_and_shading(ball: trimesh.Trimesh) -> None:
    cameras, center = odd_camera(), torch.tensor([0.1, -0.2, 0.3]).double()
    light = Lighting(
        ambient=0.1,
        headlight=Headlight(0.5, falloff=True),
        directional=(Directional((0.0, 2.0, 1.0), intensity=torch.tensor([0.3, 0.2, 0.1])),),
    )
    albedo = torch.tensor([0.9, 0.6, 0.3])
    seen = raytrace(ball, cameras, lighting=light, albedo=albedo, smooth=True)

    eye, d = subpixel_rays(cameras, 3)
    t = sphere_hits(eye, d, center, 0.5)  # (H, 3, W, 3)
    hit = torch.isfinite(t)
    coverage = hit.double().mean((1, 3))
    # The triangles lie up to 3e-5 inside the sphere (1e-3 of a pixel): few rays tell them apart.
    wrong = (seen.silhouettes[0] - coverage).abs() * 9
    assert wrong.sum() <= 3
    assert 0.15 < coverage.mean() < 0.6

    depth = t[:, 1, :, 1] * (d[:, 1, :, 1] @ cameras.c2w[0, :3, 2].double())
    # Less than 1e-4 off where the ray is not near grazing.
    n = (eye + t[..., None].nan_to_num(posinf=0) * d - center) / 0.5
    facing = -(n * d).sum(-1)
    inner = (hit & (facing > 0.3))[:, 1, :, 1]
    assert inner.sum() > 400
    torch.testing.assert_close(seen.depths[0].double()[inner], depth[inner], atol=1.5e-4, rtol=0)
    assert torch.isinf(seen.depths[0])[coverage == 0].all()

    to_light = torch.tensor([0.0, 2.0, 1.0]).double() / math.sqrt(5)
    sun = (n @ to_light).clamp(min=0)[..., None] * torch.tensor([0.3, 0.2, 0.1])
    radiance = (0.1 + (0.5 * facing / t**2)[..., None] + sun) * albedo
    expected = torch.where(hit[..., None], radiance, 0.0).mean((1, 3))
    same = wrong < 0.5
    torch.testing.assert_close(
        seen.images[0].double()[same], expected[same], atol=2e-3, rtol=0
    )  # interpolated normals are off by up to 1e-3
    assert (seen.images[0].double() - expected)[same].abs().mean() < 5e-5


def test_face_normals_are_the_default(ball: trimesh.Trimesh) -> None:
    coarse = trimesh.creation.icosphere(subdivisions=1)
    camera = Cameras.look_at([[0.3, 0.2, 3.0]], width=41, height=31)
    sun = Lighting(headlight=None, directional=(Directional((0.4, 1.0, 0.8)),))
    image = raytrace(coarse, camera, lighting=sun, albedo=1.0, supersampling=1).images[0, ..., 0]
    to_light = np.array([0.4, 1.0, 0.8]) / np.linalg.norm([0.4, 1.0, 0.8])
    shades = np.unique(np.clip(coarse.face_normals @ to_light, 0, None).astype(np.float32))
    distance = np.abs(image.numpy().reshape(-1, 1) - shades).min(1)
    assert distance[image.flatten().numpy() > 0].max() < 1e-6  # one shade per triangle
    smooth = raytrace(coarse, camera, lighting=sun, albedo=1.0, smooth=True).images
    assert len(np.unique(smooth)) > 10 * len(shades)


@pytest.mark.parametrize(("scale", "offset"), [(1e-4, 0.0), (1e5, 0.0), (1.0, 1e4)])
def test_units_and_position_do_not_matter(
    ball: trimesh.Trimesh, scale: float, offset: float
) -> None:
    base = odd_camera()
    expected = raytrace(ball, base, lighting=AMBIENT, supersampling=1)
    moved = ball.copy()
    moved.apply_scale(scale)
    moved.apply_translation([offset] * 3)
    c2w = base.c2w.double().clone()
    c2w[:, :3, 3] = c2w[:, :3, 3] * scale + offset
    cameras = Cameras(c2w, base.Ks.double(), base.width, base.height)
    seen = raytrace(moved, cameras, lighting=AMBIENT, supersampling=1)
    both = torch.isfinite(seen.depths) & torch.isfinite(expected.depths)
    assert (torch.isfinite(seen.depths) != torch.isfinite(expected.depths)).sum() <= 1
    torch.testing.assert_close(seen.depths[both] / scale, expected.depths[both])
    assert torch.equal(seen.images, seen.silhouettes[..., None] * 0.8)


# ---------------------------------------------------------------------- boxes


def test_box_coverage_is_exact() -> None:
    # The front face, 2 away, is 16.5 × 10.5 pixels; with 3 rays a side halves show as 1/3 or 2/3.
    box = trimesh.creation.box((1.65, 1.05, 1.0))
    K = torch.tensor([[[20.0, 0, 15.25], [0, 20.0, 9.75], [0, 0, 1]]])
    camera = Cameras.look_at([[0.0, 0.0, 2.5]], width=30, height=20)
    camera = Cameras(camera.c2w, K, 30, 20)
    seen = raytrace(box, camera, lighting=AMBIENT, albedo=(0.5, 0.25, 1.0))
    # From 15.25 - 8.25 = 7 to 23.5, and from 9.75 - 5.25 = 4.5 to 15. A ray in the middle of a
    # pixel, on the edge itself, may go either way.
    inside = seen.silhouettes[0, 5:15, 7:23]
    assert torch.equal(inside, torch.ones_like(inside))
    assert seen.silhouettes[0, 5:15, 23].sub(0.5).abs().max() < 0.17
    assert seen.silhouettes[0, 4, 7:23].sub(0.5).abs().max() < 0.17
    outside = seen.silhouettes.clone()
    outside[0, 4:15, 7:24] = 0
    assert outside.sum() == 0
    torch.testing.assert_close(seen.depths[0, 5:15, 7:23], torch.full((10, 16), 2.0))
    torch.testing.assert_close(
        seen.images, seen.silhouettes[..., None] * torch.tensor([0.5, 0.25, 1.0])
    )


def test_no_ray_slips_through_an_edge() -> None:
    # Every pixel centre on the diagonals of the image meets an edge or a vertex exactly.
    box = trimesh.creation.box((1.0, 1.0, 1.0)).subdivide().subdivide()
    camera = Cameras.look_at([[0.0, 0.0, 2.0]], width=65, height=65, fov=math.radians(20))
    seen = raytrace(box, camera, supersampling=1)
    assert torch.equal(seen.silhouettes, torch.ones(1, 65, 65))
    torch.testing.assert_close(seen.depths, torch.full((1, 65, 65), 1.5))


def test_the_nearer_surface_is_seen() -> None:
    near, far = trimesh.creation.box((0.4, 2.0, 0.2)), trimesh.creation.box((2.0, 0.6, 0.2))
    near.apply_translation((0.0, 0.0, 0.5))
    far.apply_translation((0.0, 0.0, -0.5))
    camera = Cameras.look_at([[0.0, 0.0, 3.0]], width=33, height=33)
    for mesh in (near + far, far + near):
        depths = raytrace(mesh, camera, supersampling=1).depths[0]
        torch.testing.assert_close(depths[16, 16], torch.tensor(2.4))
        torch.testing.assert_close(depths[16, 24], torch.tensor(3.4))
        torch.testing.assert_close(depths[4, 16], torch.tensor(2.4))
        assert torch.isinf(depths[4, 24])


def test_vertex_colors_are_interpolated_in_space() -> None:
    # A colour that is the vertex's own position gives back the position that each ray meets.
    mesh = trimesh.creation.box((1.0, 0.8, 0.6))
    cameras = odd_camera((0.0, 0.0, 0.0))
    colors = torch.tensor(np.asarray(mesh.vertices))
    seen = raytrace(mesh, cameras, lighting=AMBIENT, albedo=colors, supersampling=1)
    eye, d = subpixel_rays(cameras, 1)
    d = d[:, 0, :, 0]
    z = seen.depths[0].double()
    hit = torch.isfinite(z)
    points = eye + d * (z / (d @ cameras.c2w[0, :3, 2].double()))[..., None]
    torch.testing.assert_close(seen.images[0].double()[hit], points[hit], atol=1e-6, rtol=0)
    on_faces = (points[hit].abs() - torch.tensor([0.5, 0.4, 0.3])).abs().amin(-1)
    assert on_faces.max() < 1e-6
    assert hit.sum() > 200


# ---------------------------------------------------------------------- odd places and bad input


def test_from_the_inside() -> None:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=2.0)
    camera = Cameras.look_at([[0.5, 0.0, 0.0]], width=15, height=11, fov=math.radians(100))
    seen = raytrace(mesh, camera, lighting=AMBIENT, supersampling=1)
    assert seen.silhouettes.min() == 1
    assert 2.49 < seen.depths[0, 5, 7] < 2.5 + 1e-6  # looks along -x, through the centre
    # The back of a face is dark under a headlight.
    assert raytrace(mesh, camera).images.max() == 0


def test_what_is_behind_the_camera_is_not_seen(ball: trimesh.Trimesh) -> None:
    away = Cameras.look_at([[0.0, 0.0, 3.0]], target=(0.0, 0.0, 6.0), width=8, height=6)
    seen = raytrace(ball, away)
    assert seen.silhouettes.sum() == 0
    assert torch.isinf(seen.depths).all()
    assert seen.images.shape == (1, 6, 8, 1)


def test_each_camera_has_its_own_view(ball: trimesh.Trimesh) -> None:
    cameras = Cameras.orbit(3, width=20, height=16, distance=3.0)
    together = raytrace(ball, cameras)
    for n in range(3):
        assert torch.equal(together.images[n], raytrace(ball, cameras[n]).images[0])
    assert not torch.equal(together.images[0], together.images[1])


def test_precision_against_double(ball: trimesh.Trimesh) -> None:
    rng = np.random.default_rng(0)
    target = rng.uniform(-0.25, 0.25, (300, 3)) + np.array([0.1, -0.2, 0.3])
    eye = np.array([1.0, 2.0, 3.0])
    d = (target - eye) / np.linalg.norm(target - eye, axis=1, keepdims=True)
    hits = MeshTracer(ball).first_hits(np.broadcast_to(eye, d.shape), d)
    assert len(hits.rays) == 300
    # Möller and Trumbore in double precision against all triangles.
    a, b, c = ball.vertices[ball.faces].transpose(1, 0, 2)
    for i in range(0, 300, 10):
        p = np.cross(d[i], c - a)
        det = ((b - a) * p).sum(1)
        u = ((eye - a) * p).sum(1) / det
        q = np.cross(eye - a, b - a)
        v, t = (q * d[i]).sum(1) / det, (q * (c - a)).sum(1) / det
        meets = (u >= 0) & (v >= 0) & (u + v <= 1)
        assert abs(t[meets].min() - hits.t[i]) < 5e-7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"supersampling": 2}, "supersampling: need an odd number"),
        ({"supersampling": -1}, "supersampling: need an odd number"),
        ({"albedo": torch.ones(7, 3)}, "albedo: need a number"),
        ({"albedo": torch.ones(0)}, "albedo: need a number"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    box, camera = trimesh.creation.box(), Cameras.orbit(1, width=4)
    with pytest.raises(ValueError, match=message):
        raytrace(box, camera, **options)  # type: ignore[arg-type]


def test_bad_meshes_and_no_cameras() -> None:
    camera = Cameras.orbit(1, width=4)
    with pytest.raises(ValueError, match="at least one triangle"):
        raytrace(trimesh.Trimesh(np.zeros((3, 3)), np.zeros((0, 3), int)), camera)
    broken = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, np.nan, 0]], [[0, 1, 2]], process=False)
    with pytest.raises(ValueError, match="finite vertices"):
        raytrace(broken, camera)
    with pytest.raises(ValueError, match="cameras: need at least one"):
        raytrace(trimesh.creation.box(), camera[:0])
    flat = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], process=False)
    assert raytrace(flat, camera).images.isfinite().all()  # a triangle without an area
