"""Simplified meshes stay closed; refined ones lie closer to the surface, whatever its scale."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.primitives import sphere, torus, union
from sdfrender.meshes.mise import extract_field
from sdfrender.meshes.refine import (
    RefineMeshSettings,
    points_on_faces,
    refine_mesh,
    simplify_mesh,
    surface_loss,
)

SHAPE = torus(0.5, 0.2)
FIELDS: dict[str, Callable[[Tensor], Tensor]] = {
    "distance": SHAPE,
    "occupancy": lambda p: 0.5 - torch.sigmoid(-60 * SHAPE(p)),
    "logit": lambda p: 40 * SHAPE(p) * (1.5 + p[:, 0]),
    "clamped distance": lambda p: SHAPE(p).clamp(-0.1, 0.1),
}


def mean_distance(mesh: trimesh.Trimesh, shape: Callable[[Tensor], Tensor] = SHAPE) -> float:
    points, _ = trimesh.sample.sample_surface(mesh, 20_000, seed=0)
    return float(shape(torch.from_numpy(points)).abs().mean())


@pytest.fixture(scope="module")
def simple() -> trimesh.Trimesh:
    return simplify_mesh(extract_field(SHAPE, levels=1), 1500)


@pytest.mark.parametrize("name", FIELDS)
def test_refinement_brings_any_field_closer(name: str, simple: trimesh.Trimesh) -> None:
    refined = refine_mesh(simple, FIELDS[name])
    assert np.array_equal(refined.faces, simple.faces)
    assert refined.is_watertight
    assert refined.volume > 0
    assert mean_distance(refined) < 0.7 * mean_distance(simple)


def test_a_lattice_is_a_field(simple: trimesh.Trimesh) -> None:
    lattice = Lattice.from_function(SHAPE, 65, ((-0.8, -0.3, -0.8), (0.8, 0.3, 0.8)))
    refined = refine_mesh(simple, lattice.sample, lattice.gradient)
    assert mean_distance(refined) < 0.7 * mean_distance(simple)


def test_the_seed_decides(simple: trimesh.Trimesh) -> None:
    few = RefineMeshSettings(steps=3)
    a, b, c = (refine_mesh(simple, SHAPE, settings=few, seed=s).vertices for s in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_settings_do_what_they_say(simple: trimesh.Trimesh) -> None:
    base = refine_mesh(simple, SHAPE, settings=RefineMeshSettings(steps=3)).vertices
    for changed in (
        RefineMeshSettings(steps=4),
        RefineMeshSettings(steps=3, rate=1e-4),
        RefineMeshSettings(steps=3, normal_weight=1.0),
        RefineMeshSettings(steps=3, samples=2),
    ):
        assert not np.allclose(base, refine_mesh(simple, SHAPE, settings=changed).vertices)


def test_the_normal_term_turns_faces(simple: trimesh.Trimesh) -> None:
    def consistency(mesh: trimesh.Trimesh) -> float:
        centers = torch.tensor(mesh.triangles_center).requires_grad_()
        (slope,) = torch.autograd.grad(SHAPE(centers).sum(), centers)
        return float((mesh.face_normals * slope.numpy()).sum(1).mean())

    with_term, without = (
        consistency(refine_mesh(simple, SHAPE, settings=RefineMeshSettings(normal_weight=w)))
        for w in (0.3, 0.0)
    )
    assert with_term > without


def test_the_gradient_of_the_loss_by_finite_differences() -> None:
    ball = trimesh.creation.icosphere(subdivisions=0, radius=0.6)
    faces = torch.from_numpy(np.array(ball.faces))
    field = sphere(0.5, (0.05, 0.0, -0.1))  # |∇f| = 1 everywhere, as the loss takes it to be

    def gradient(points: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(field(points).sum(), points, create_graph=True)
        return slope

    def loss(verts: Tensor) -> Tensor:
        points, normals = points_on_faces(verts, faces, 2, torch.Generator().manual_seed(0))
        return surface_loss(points, normals, field, gradient, 0.3, 0.5)

    verts = torch.from_numpy(np.array(ball.vertices)).requires_grad_()
    assert torch.autograd.gradcheck(loss, verts)


def test_points_are_uniform_on_their_faces() -> None:
    verts = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    points, normals = points_on_faces(verts, faces, 20_000, torch.Generator().manual_seed(0))
    first, second = points[::2], points[1::2]
    assert torch.allclose(first.mean(0), verts[faces[0]].mean(0), atol=0.02)
    assert torch.allclose(second.mean(0), verts[faces[1]].mean(0), atol=0.02)
    assert torch.equal(normals[:2], torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    # Below a line parallel to a side at half the height lie three quarters of the area.
    assert float((first[:, 1] < 1.5).float().mean()) == pytest.approx(0.75, abs=0.01)


def test_simplified_meshes_are_closed_and_as_small_as_asked() -> None:
    mesh = extract_field(SHAPE, levels=1)
    for faces in (3000, 500):
        simple = simplify_mesh(mesh, faces)
        assert simple.is_watertight
        assert simple.euler_number == 0  # it keeps its hole
        assert faces * 0.9 <= len(simple.faces) <= faces
    assert len(simplify_mesh(mesh, 10**6).faces) == len(mesh.faces)


def test_more_bodies_than_triangles_stay_closed() -> None:
    field = union(*(sphere(0.12, (0.25 * i, 0.3 * j, 0.0)) for i in range(-3, 4) for j in (-1, 1)))
    mesh = extract_field(field, levels=0)
    assert mesh.body_count == 14
    simple = simplify_mesh(mesh, 14)
    assert simple.is_watertight
    assert len(simple.faces) < len(mesh.faces)
    assert all(body.volume > 0 for body in simple.split())


def test_bad_input(simple: trimesh.Trimesh) -> None:
    with pytest.raises(ValueError, match="at least 4"):
        simplify_mesh(simple, 3)
    with pytest.raises(InputError, match="finite"):
        refine_mesh(simple, lambda p: p.sum(-1) * torch.nan)
    with pytest.raises(InputError, match="triangle"):
        refine_mesh(trimesh.Trimesh(), SHAPE)
