"""Cameras: rays and projection are each other's inverse, in every convention that matters."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from sdfrender.view.cameras import Cameras


def camera(
    width: int = 37,
    height: int = 23,
    cx: float = 5.5,
    cy: float = 30.25,
    fx: float = 40,
    fy: float = 55,
) -> Cameras:
    """Off centre (the principal point is outside the image), not square, rotated, shifted."""
    view = Cameras.look_at([[1.0, 2.0, 3.0]], target=(0.2, -0.1, 0.3), width=width, height=height)
    K = torch.tensor([[[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]])
    c2w = view.c2w.double()
    U, _, Vh = torch.linalg.svd(c2w[:, :3, :3])  # a rotation in double, not only in float
    c2w[:, :3, :3] = U @ Vh
    return Cameras(c2w, K.double(), width, height)


def pixel_centres(cameras: Cameras) -> torch.Tensor:
    """`[H, W, 2]` (u, v)."""
    u = torch.arange(cameras.width).double() + 0.5
    v = torch.arange(cameras.height).double() + 0.5
    return torch.stack(torch.meshgrid(u, v, indexing="xy"), -1)


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    cx=st.floats(-50, 90),
    cy=st.floats(-50, 90),
    fx=st.floats(5, 500),
    fy=st.floats(5, 500),
    t=st.floats(0.1, 20),
)
def test_a_point_on_a_ray_projects_to_its_pixel_centre(
    width: int, height: int, cx: float, cy: float, fx: float, fy: float, t: float
) -> None:
    cameras = camera(width, height, cx, cy, fx, fy)
    rays_o, rays_d = cameras.rays()
    assert rays_o.shape == rays_d.shape == (1, height, width, 3)
    torch.testing.assert_close(rays_d.norm(dim=-1), torch.ones(1, height, width).double())
    uv, depths = cameras.project((rays_o + t * rays_d).reshape(-1, 3))
    torch.testing.assert_close(
        uv.reshape(height, width, 2), pixel_centres(cameras), rtol=0, atol=1e-8
    )
    forward = cameras.c2w[0, :3, 2]
    torch.testing.assert_close(depths.reshape(height, width), t * (rays_d[0] @ forward))


def test_pixels_unproject_to_points_that_project_back() -> None:
    one = camera()
    Ks = one.Ks.repeat(2, 1, 1)
    Ks[:, 0, 1] = torch.tensor([0.0, 3.5])  # the second with skew
    other = one.c2w[..., [2, 0, 1, 3]]  # turned
    cameras = Cameras(torch.cat((one.c2w, other)), Ks, 37, 23)
    generator = torch.Generator().manual_seed(0)
    depths = 1 + torch.rand(2, 23, 37, generator=generator, dtype=torch.float64)
    pixels = torch.rand(2, 23, 37, generator=generator) < 0.3
    points = cameras.unproject(depths, pixels)
    assert len(points) == int(pixels.sum())
    uv, z = cameras.project(points)  # (2, P, 2)
    view, row, column = pixels.nonzero(as_tuple=True)
    order = torch.arange(len(points))
    torch.testing.assert_close(uv[view, order], torch.stack((column, row), -1).double() + 0.5)
    torch.testing.assert_close(z[view, order], depths[pixels])


def test_axes_are_right_down_forward() -> None:
    cameras = Cameras(
        torch.eye(4)[None], torch.tensor([[[10.0, 0, 4], [0, 10, 3], [0, 0, 1]]]), 8, 6
    )
    uv, depths = cameras.project(torch.tensor([[1.0, 0, 2], [0, 1, 2], [0, 0, -1]]))
    assert uv[0, 0].tolist() == [9, 3]  # +x is to the right
    assert uv[0, 1].tolist() == [4, 8]  # +y is down
    assert depths[0].tolist() == [2, 2, -1]  # +z is ahead


def test_each_camera_projects_its_own_points() -> None:
    cameras = Cameras.orbit(3, width=20, height=30)
    points = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(0)) * 0.3
    uv, depths = cameras.project(points)
    for n in range(3):
        one_uv, one_depth = cameras[n].project(points[n])
        torch.testing.assert_close(uv[n], one_uv[0])
        torch.testing.assert_close(depths[n], one_depth[0])


def test_cube_has_26_views_that_all_see_the_target_in_the_middle() -> None:
    target = (0.1, -0.2, 0.3)
    cameras = Cameras.cube(distance=2.5, target=target, width=64, height=48)
    assert len(cameras) == 26
    to_target = torch.tensor(target) - cameras.centers
    torch.testing.assert_close(to_target.norm(dim=-1), torch.full((26,), 2.5))
    uv, depths = cameras.project(torch.tensor([target]))
    # float32: 1e-7 of the distance, times a focal length of 66 pixels
    torch.testing.assert_close(
        uv[:, 0], torch.tensor([[32.0, 24.0]]).expand(26, 2), rtol=0, atol=1e-4
    )
    torch.testing.assert_close(depths[:, 0], torch.full((26,), 2.5))
    # Faces, edges and corners of a cube: all directions differ by at least 35 degrees.
    directions = to_target / to_target.norm(dim=-1, keepdim=True)
    cosines = directions @ directions.T - 2 * torch.eye(26)
    assert math.degrees(math.acos(float(cosines.max()))) > 35


def test_up_in_the_world_is_up_in_the_image() -> None:
    cameras = Cameras.orbit(7, distance=3.0, width=32)
    low, high = cameras.project(torch.tensor([[0.0, -0.5, 0.0], [0.0, 0.5, 0.0]]))[0].unbind(1)
    assert bool((high[:, 1] < low[:, 1]).all())
    torch.testing.assert_close(high[:, 0], torch.full((7,), 16.0), rtol=0, atol=1e-3)


def test_orbit_keeps_its_distance_and_elevation() -> None:
    cameras = Cameras.orbit(8, distance=2.0, elevation=math.radians(30), target=(1.0, 0.0, 0.0))
    eyes = cameras.centers - torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(eyes.norm(dim=-1), torch.full((8,), 2.0))
    torch.testing.assert_close(eyes[:, 1], torch.full((8,), 1.0))
    gaps = (eyes - eyes.roll(1, 0)).norm(dim=-1)
    torch.testing.assert_close(gaps, gaps[:1].expand(8))


def test_the_field_of_view_is_vertical() -> None:
    cameras = Cameras.look_at([[0.0, 0.0, 2.0]], width=30, height=50, fov=math.radians(60))
    edge = 2 * math.tan(math.radians(30))
    uv, _ = cameras.project(torch.tensor([[0.0, edge, 0.0], [0.0, -edge, 0.0]]))
    torch.testing.assert_close(uv[0], torch.tensor([[15.0, 0.0], [15.0, 50.0]]), rtol=0, atol=1e-4)


def test_looking_along_up_still_gives_a_rotation() -> None:
    cameras = Cameras.look_at([[0.0, 2.0, 0.0], [0.0, -2.0, 0.0]])
    R = cameras.c2w[:, :3, :3]
    torch.testing.assert_close(R.mT @ R, torch.eye(3).expand(2, 3, 3), rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(2))


def test_resizing_keeps_the_view() -> None:
    cameras = camera()
    bigger = cameras.resized(cameras.width * 2, cameras.height * 3)
    points = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).double()
    uv, _ = cameras.project(points)
    scaled, _ = bigger.project(points)
    torch.testing.assert_close(scaled, uv * torch.tensor([2.0, 3.0]).double())


def test_indexing_gives_cameras() -> None:
    cameras = Cameras.orbit(5)
    assert len(cameras[2]) == 1
    assert len(cameras[1:4]) == 3
    assert torch.equal(cameras[[3, 0]].c2w, cameras.c2w[[3, 0]])
    assert torch.equal(
        cameras[torch.tensor([True, False, False, False, True])].c2w, cameras.c2w[::4]
    )
    assert torch.equal(cameras[-1].c2w, cameras.c2w[4:])


def test_rays_are_differentiable_in_pose_and_intrinsics() -> None:
    cameras = camera(width=3, height=2)

    def rays(shift: torch.Tensor, Ks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        c2w = cameras.c2w.clone()
        c2w[:, :3, 3] += shift
        return Cameras(c2w, Ks, 3, 2).rays()

    shift = torch.zeros(3).double().requires_grad_()
    assert torch.autograd.gradcheck(rays, (shift, cameras.Ks.clone().requires_grad_()))


def broken(kind: str) -> Cameras:
    cameras = Cameras.orbit(2)
    c2w, Ks, width = cameras.c2w.clone(), cameras.Ks.clone(), cameras.width
    if kind == "shape":
        c2w = c2w[:, :3]
    elif kind == "count":
        Ks = Ks[:1]
    elif kind == "size":
        width = 0
    elif kind == "nan":
        c2w[1, 0, 3] = math.nan
    elif kind == "mirrored":
        c2w[1, :3, 0] *= -1
    elif kind == "scaled":
        c2w[1, :3, :3] *= 2
    elif kind == "focal":
        Ks[1, 0, 0] = -5
    return Cameras(c2w, Ks, width, cameras.height)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("shape", "c2w \\[N, 4, 4\\]"),
        ("count", "Ks \\[N, 3, 3\\]"),
        ("size", "positive size"),
        ("nan", "camera 1"),
        ("mirrored", "rotation"),
        ("scaled", "camera 1"),
        ("focal", "positive focal"),
    ],
)
def test_bad_cameras_are_refused(kind: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        broken(kind)
