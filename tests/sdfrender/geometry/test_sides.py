"""The inside of meshes whose triangles do not say where it is."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
import trimesh

from sdfrender.errors import InputError
from sdfrender.geometry.lattice import Lattice
from sdfrender.meshes.metrics import volume_iou

BOUNDS = ((-1.3, -1.1, -1.2), (1.2, 1.3, 1.25))


def torus() -> trimesh.Trimesh:
    return trimesh.creation.torus(0.7, 0.3, major_sections=32, minor_sections=16)


def cavity() -> trimesh.Trimesh:
    outer, inner = trimesh.creation.box((1.5, 1.5, 1.5)), trimesh.creation.icosphere(3, 0.5)
    inner.invert()
    return trimesh.util.concatenate(outer, inner)


def two() -> trimesh.Trimesh:
    first, second = trimesh.creation.icosphere(3, 0.5), trimesh.creation.box((0.7, 0.7, 0.7))
    first.apply_translation((-0.5, 0, 0))
    second.apply_translation((0.5, 0.1, 0))
    return trimesh.util.concatenate(first, second)


SHAPES = {"torus": torus, "cavity": cavity, "two": two}


def faces_of(shape: trimesh.Trimesh, faces: np.ndarray) -> trimesh.Trimesh:
    return trimesh.Trimesh(shape.vertices, faces, process=False)


def doubled(shape: trimesh.Trimesh) -> trimesh.Trimesh:
    return faces_of(shape, np.concatenate((shape.faces, shape.faces[:, ::-1])))


def apart(shape: trimesh.Trimesh) -> trimesh.Trimesh:
    """Each triangle with vertices of its own, each twice."""
    corners = doubled(shape).triangles.reshape(-1, 3)
    return trimesh.Trimesh(corners, np.arange(len(corners)).reshape(-1, 3), process=False)


def beside(shape: trimesh.Trimesh) -> trimesh.Trimesh:
    """A copy that faces inwards, not quite in the same place."""
    copy = shape.copy()
    copy.invert()
    copy.vertices = copy.vertices + np.random.default_rng(0).normal(0, 1e-6, copy.vertices.shape)
    return trimesh.util.concatenate(shape, copy)


def inverted(shape: trimesh.Trimesh) -> trimesh.Trimesh:
    return faces_of(shape, shape.faces[:, ::-1])


def any_way(shape: trimesh.Trimesh) -> trimesh.Trimesh:
    turn = np.random.default_rng(0).random(len(shape.faces)) < 0.4
    return faces_of(shape, np.where(turn[:, None], shape.faces[:, ::-1], shape.faces))


def a_patch_inwards(shape: trimesh.Trimesh) -> trimesh.Trimesh:
    turn = shape.triangles_center[:, 2] > 0.1
    return faces_of(shape, np.where(turn[:, None], shape.faces[:, ::-1], shape.faces))


def partly_doubled(shape: trimesh.Trimesh) -> trimesh.Trimesh:
    some = shape.faces[shape.triangles_center[:, 1] > 0]
    return faces_of(shape, np.concatenate((shape.faces, some[:, ::-1])))


def soup(shape: trimesh.Trimesh) -> trimesh.Trimesh:
    """Triangles that do not quite meet and face anywhere."""
    rng = np.random.default_rng(0)
    corners = any_way(shape).triangles
    corners = corners + rng.normal(0, 1e-4, (len(corners), 1, 3))
    return trimesh.Trimesh(
        corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3), process=False
    )


@pytest.mark.parametrize("name", ["torus", "two"])
@pytest.mark.parametrize(
    "spoil", [doubled, apart, beside, inverted, any_way, a_patch_inwards, partly_doubled, soup]
)
def test_the_inside_is_found(name: str, spoil: object) -> None:
    shape = SHAPES[name]()
    found = Lattice.from_mesh(spoil(shape), (25, 24, 26), BOUNDS)  # type: ignore[operator]
    told = Lattice.from_mesh(shape, (25, 24, 26), BOUNDS)
    assert int((told.values < 0).sum()) > 500
    differ = int(((found.values < 0) != (told.values < 0)).sum())
    assert differ <= (5 if spoil in (soup, beside) else 0)
    assert volume_iou(spoil(shape), shape, 20_000) > 0.995  # type: ignore[operator]


@pytest.mark.parametrize("spoil", [inverted, any_way, a_patch_inwards, partly_doubled])
def test_a_cavity_stays_one(spoil: object) -> None:
    shape = cavity()
    if spoil is any_way:  # most triangles still tell
        turn = np.random.default_rng(1).random(len(shape.faces)) < 0.2
        mesh = faces_of(shape, np.where(turn[:, None], shape.faces[:, ::-1], shape.faces))
    elif spoil is a_patch_inwards:  # one of the box's sides
        turn = shape.triangles_center[:, 2] > 0.7
        mesh = faces_of(shape, np.where(turn[:, None], shape.faces[:, ::-1], shape.faces))
    elif spoil is partly_doubled:
        some = shape.faces[shape.triangles_center[:, 2] > 0.7]
        mesh = faces_of(shape, np.concatenate((shape.faces, some[:, ::-1])))
    else:
        mesh = inverted(shape)
    found = Lattice.from_mesh(mesh, (25, 24, 26), BOUNDS)
    told = Lattice.from_mesh(shape, (25, 24, 26), BOUNDS)
    assert torch.equal(found.values < 0, told.values < 0)
    assert float(told.sample(torch.zeros(1, 3))) > 0.3


def test_one_of_two_bodies_that_faces_inwards_is_no_cavity() -> None:
    shape = two()
    turn = shape.triangles_center[:, 0] > 0
    mesh = faces_of(shape, np.where(turn[:, None], shape.faces[:, ::-1], shape.faces))
    assert volume_iou(mesh, shape, 20_000) > 0.999


def test_boxes_that_share_a_wall_are_whole() -> None:
    first, second = trimesh.creation.box((1, 1, 1)), trimesh.creation.box((1, 1, 1))
    second.apply_translation((1, 0, 0))
    both = trimesh.util.concatenate(first, second)
    whole = trimesh.creation.box((2, 1, 1))
    whole.apply_translation((0.5, 0, 0))
    assert volume_iou(both, whole, 20_000) > 0.999


@pytest.mark.parametrize("twice", [False, True])
def test_a_sheet_has_no_inside(twice: bool) -> None:
    grid = trimesh.creation.box((1, 1, 1)).faces  # two triangles of a side
    box = trimesh.creation.box((1, 1, 1))
    side = np.flatnonzero(box.face_normals[:, 0] > 0.9)
    sheet = faces_of(box, grid[side])
    with pytest.raises(InputError, match="need a mesh with an inside"):
        Lattice.from_mesh(doubled(sheet) if twice else sheet, 17, BOUNDS)


def test_a_solid_thinner_than_a_cell_says_what_helps() -> None:
    plate = trimesh.creation.box((1, 1, 0.001))
    plate.apply_translation((0, 0, 0.013))
    with pytest.raises(InputError, match="raise the resolution"):
        Lattice.from_mesh(plate, 17, BOUNDS)


def test_much_surface_without_an_inside_is_told(caplog: pytest.LogCaptureFixture) -> None:
    ball, plane = trimesh.creation.icosphere(3, 0.3), trimesh.creation.box((2, 2, 1e-3))
    plane = faces_of(plane, plane.faces[plane.face_normals[:, 2] > 0.9])
    with caplog.at_level(logging.WARNING, "sdfrender"):
        Lattice.from_mesh(ball, 17, BOUNDS)
        assert not caplog.text
        Lattice.from_mesh(trimesh.util.concatenate(ball, plane), 17, BOUNDS)
    assert "has no inside beside it" in caplog.text
