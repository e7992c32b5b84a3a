"""Cones of sight through outlines: their distances, in the frame and beyond it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sdfrender.errors import InputError
from sdfrender.hull.bounds import search_cube
from sdfrender.hull.carving import cone_distance, farthest_cone
from sdfrender.hull.outlines import Outline, outline_distance, pixel_distance
from sdfrender.view.cameras import Cameras

WIDTH, HEIGHT = 9, 5
FOCAL = (8.0, 12.5)  # their geometric mean is 10 pixels
CENTRE = (4.0, 2.75)


def camera() -> Cameras:
    """One camera at the origin that looks along z; off-centre, and its pixels are not square."""
    K = torch.tensor([[FOCAL[0], 0, CENTRE[0]], [0, FOCAL[1], CENTRE[1]], [0, 0, 1.0]])
    return Cameras(torch.eye(4)[None], K[None], WIDTH, HEIGHT)


def seen_at(u: float, v: float, depth: float) -> np.ndarray:
    """`[1, 3]` the point at a depth that pixel coordinates `(u, v)` show."""
    x, y = (u - CENTRE[0]) / FOCAL[0], (v - CENTRE[1]) / FOCAL[1]
    return np.array([[x * depth, y * depth, depth]])


def halves() -> np.ndarray:
    """`[H, W]` coverage: object to the left of u = 4, up to the edges of the frame."""
    return np.repeat((np.arange(WIDTH) < 4)[None], HEIGHT, 0).astype(np.float32)


def test_pictures_from_one_place_do_not_tell_where_the_object_is() -> None:
    cameras = camera()[[0, 0, 0]]
    cameras.c2w[1, :3, :3] = torch.tensor([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
    cameras.c2w[:, :3, 3] = torch.tensor([3.0, -2, 1])
    coverage = torch.from_numpy(halves())[None].repeat(3, 1, 1)
    coverage[2] = 1 - coverage[2]
    with pytest.raises(InputError, match=r"pictures from different places, all 3 .*3.0, -2.0, 1"):
        search_cube(cameras, coverage)


def test_a_distance_in_pixels_grows_with_depth() -> None:
    outline = Outline(outline_distance(torch.from_numpy(halves())).numpy(), whole=False)
    for u, depth in ((1.5, 2.0), (3.5, 0.7), (6.5, 2.0)):
        distance, speaks = cone_distance(seen_at(u, 2.2, depth), camera(), outline)
        assert speaks.all()
        assert math.isclose(distance[0], (u - 4) * depth / 10, abs_tol=1e-6)


def test_beyond_the_frame_a_whole_silhouette_shows_no_object() -> None:
    distance = pixel_distance(halves())
    for u, v, beyond in ((-1.5, 2.5, 1.5), (2.0, 8.0, 3.0), (12.0, 9.0, 5.0)):
        point = seen_at(u, v, 2.0)
        far, speaks = cone_distance(point, camera(), Outline(distance, whole=True))
        assert speaks.all()
        inside = u < 4  # of the silhouette, where the way back to the frame meets its edge
        least = beyond * 2.0 / 10
        assert math.isclose(far[0], least, abs_tol=1e-6) if inside else far[0] > least
        unknown, speaks = cone_distance(point, camera(), Outline(distance, whole=False))
        assert not speaks.any()
        assert unknown[0] == -math.inf


def test_what_is_behind_a_camera_is_no_object_if_its_silhouette_is_whole() -> None:
    behind = seen_at(2.0, 2.0, -1.0)
    distance, speaks = cone_distance(behind, camera(), Outline(pixel_distance(halves()), True))
    assert speaks.all()
    assert distance[0] == math.inf
    _, speaks = cone_distance(behind, camera(), Outline(pixel_distance(halves()), False))
    assert not speaks.any()


def test_the_view_that_sees_a_point_farthest_outside_counts() -> None:
    points = np.concatenate([seen_at(u, 2.2, 2.0) for u in (1.5, 6.5)])
    left, right = halves(), 1 - halves()
    outlines = [Outline(pixel_distance(x), whole=False) for x in (left, right)]
    both = Cameras(*(torch.cat((x, x)) for x in (camera().c2w, camera().Ks)), WIDTH, HEIGHT)
    distances, views = farthest_cone(points, both, outlines, enough=math.inf)
    np.testing.assert_allclose(distances, [0.5, 0.5], atol=1e-6)
    assert views.tolist() == [2, 2]
