"""Which way is up, by cameras whose world is turned by a known rotation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from sdfrender.view.upright import up_direction, upright_frame

WORLD = torch.from_numpy(Rotation.from_rotvec([0.4, -1.1, 2.0]).as_matrix())
UP = WORLD[:, 1]


def looking(azimuths: list[float], elevation: float, roll: float = 0.0) -> torch.Tensor:
    """`[N, 3, 3]` cameras at these degrees about up, in a world turned by `WORLD`.

    They look down by `elevation` degrees and are rolled by `roll` in turns to either side.
    """
    level = turns([0.0, 1.0, 0.0], azimuths) @ torch.diag(torch.tensor([1.0, -1, -1]).double())
    signs = np.resize([1.0, -1.0], len(azimuths))
    return WORLD @ level @ turns([1.0, 0.0, 0.0], [-elevation]) @ rolled(roll * signs)


def turns(axis: list[float], degrees: Sequence[float] | np.ndarray) -> torch.Tensor:
    """`[N, 3, 3]` by the right-hand rule."""
    found = Rotation.from_rotvec(np.outer(degrees, axis), degrees=True)
    return torch.from_numpy(found.as_matrix())


def rolled(degrees: Sequence[float] | np.ndarray) -> torch.Tensor:
    """`[N, 3, 3]` turns about the optical axis."""
    return turns([0.0, 0.0, 1.0], degrees)


def off(found: torch.Tensor | None) -> float:
    """Degrees between what was found and what is up."""
    assert found is not None
    assert float(found.norm()) == pytest.approx(1)
    return math.degrees(math.acos(max(-1.0, min(1.0, float(found @ UP)))))


def test_up_does_not_lean_towards_a_viewer_who_looks_down_from_one_side() -> None:
    rotations = looking([-40, -15, 5, 30], 35)
    mean = -rotations[..., 1].mean(0)
    assert off(mean / mean.norm()) > 25
    assert off(up_direction(rotations)) < 1e-4


@pytest.mark.parametrize("elevation", [-30, 0, 60])
def test_cameras_that_are_held_a_little_askew(elevation: float) -> None:
    rotations = looking(list(np.linspace(-60, 60, 9)), elevation, roll=2)
    assert off(up_direction(rotations)) < 2


def test_from_straight_above_up_is_where_the_cameras_are() -> None:
    down = turns([1.0, 0.0, 0.0], [90])  # forward is −y
    rotations = WORLD @ down @ rolled([0, 80, 170, 260, 300])
    assert float(-rotations[:, :, 2].mean(0) @ UP) > 0.99
    assert off(up_direction(rotations)) < 1e-4


def test_one_camera_and_alike_ones_take_their_own_up() -> None:
    for azimuths in ([20], [20, 20, 20]):
        rotations = looking(azimuths, 30)
        assert off(up_direction(rotations)) == pytest.approx(30, abs=1e-4)


def test_pictures_that_lie_on_their_sides_tell_nothing() -> None:
    rotations = looking([0, 45, 90, 135, 180, 225, 270, 315], 20) @ rolled([90])
    assert up_direction(rotations) is None
    assert upright_frame(rotations)[1].tolist() == [0, 1, 0]


@pytest.mark.parametrize("elevation", [10, 89])
def test_the_frame_is_a_rotation_with_the_first_camera_in_front(elevation: float) -> None:
    rotations = looking([30, 80, 200], elevation)
    frame = upright_frame(rotations)
    assert torch.allclose(frame @ frame.mT, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert float(torch.linalg.det(frame)) == pytest.approx(1)
    assert off(frame[1]) < 0.1
    if elevation < 45:
        assert float((frame @ -rotations[0, :, 2])[0]) == pytest.approx(0, abs=1e-6)
        assert float((frame @ -rotations[0, :, 2])[2]) > 0
