"""MISE finds what a dense grid finds, from few evaluations; and says what is wrong with a field."""

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.geometry.grid import UNIT_BOX
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.primitives import box, difference, sphere, torus, union
from sdfrender.meshes.extraction import extract_mesh
from sdfrender.meshes.mise import extract_field, mise

BOUNDS = ((-1.0, -0.7, -0.9), (1.1, 0.8, 1.0))
FIELDS: dict[str, Callable[[Tensor], Tensor]] = {
    "ball": sphere(0.5),
    "torus": torus(0.5, 0.13),
    "plate": box((0.8, 0.04, 0.7)),
    "two bodies and a cavity": union(
        difference(sphere(0.4, (-0.4, 0.0, 0.0)), sphere(0.3, (-0.4, 0.0, 0.0))),
        box((0.1, 0.4, 0.1), (0.6, 0.0, 0.0)),
    ),
    "steep as an occupancy": lambda p: 0.5 - torch.sigmoid(-200 * sphere(0.5)(p)),
    "sticks out of the box": sphere(0.9, (0.7, 0.0, 0.0)),
}


def dense(
    field: Callable[[Tensor], Tensor],
    bounds: tuple[tuple[float, ...], ...],
    samples: tuple[int, ...],
) -> trimesh.Trimesh:
    return extract_mesh(Lattice.from_function(field, samples, bounds))


def hausdorff(a: trimesh.Trimesh, b: trimesh.Trimesh) -> float:
    """Largest distance from a vertex of one mesh to the nearest of the other, both ways."""
    assert a.faces.shape == b.faces.shape
    trees = KDTree(a.vertices), KDTree(b.vertices)
    return float(max(trees[0].query(b.vertices)[0].max(), trees[1].query(a.vertices)[0].max()))


@pytest.mark.parametrize("name", FIELDS)
def test_the_mesh_is_that_of_the_dense_grid(name: str) -> None:
    found = mise(FIELDS[name], BOUNDS, (21, 15, 19), levels=2)
    shape = tuple(found.lattice.values.shape)
    assert shape == (85, 61, 77)
    mesh = found.mesh()
    assert mesh.is_watertight
    # Equal but for how marching cubes rounds: values are scaled by the largest, here interpolated.
    assert hausdorff(mesh, dense(FIELDS[name], BOUNDS, shape)) <= 1e-7


def test_few_evaluations() -> None:
    counted = 0

    def field(points: Tensor) -> Tensor:
        nonlocal counted
        counted += len(points)
        return torus(0.5, 0.2)(points)

    found = mise(field, UNIT_BOX, coarse=32, levels=3)
    assert found.evaluations == counted
    assert counted < 0.03 * 257**3
    assert found.lattice.resolution == (257, 257, 257)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 3), smooth=st.floats(1.0, 3.0))
def test_noise_that_leaves_active_cells_through_their_faces(
    seed: int, levels: int, smooth: float
) -> None:
    """Whatever is found is closed, part of the dense surface, and whole."""
    rng = np.random.default_rng(seed)
    fine = Lattice(
        torch.from_numpy(rng.standard_normal((5 * 2**levels + 1, 13, 4 * 2**levels + 1))).float(),
        torch.tensor(UNIT_BOX),
    )
    values = gaussian_filter(fine.values.numpy(), smooth * 2 ** (levels - 1))
    # Nothing meets the box: a cap would make one body of surfaces that are several.
    inner = np.pad(np.ones([n - 2 for n in values.shape], dtype=bool), 1)
    fine = fine.with_values(torch.from_numpy(np.where(inner, values, np.abs(values))))
    samples = (5 * 2**levels + 1, 3 * 2**levels + 1, 4 * 2**levels + 1)
    coarse = (5, 3, 4)
    field = fine.sample
    if not bool((Lattice.from_function(field, (6, 4, 5)).values < 0).any()):
        return
    mesh = extract_field(field, UNIT_BOX, coarse, levels)
    assert mesh.is_watertight
    whole = dense(field, UNIT_BOX, samples)
    known = {tuple(v) for v in whole.vertices.round(5)}
    there = np.array([tuple(v) in known for v in mesh.vertices.round(5)])
    # Rounding to five digits may part what is equal; a surface that is not there would be many.
    assert there.mean() > 0.99
    # Every body of the dense surface is there with all its vertices or with none.
    found = {tuple(v) for v in mesh.vertices.round(5)}
    for body in whole.split(only_watertight=False):
        share = np.mean([tuple(v) in found for v in body.vertices.round(5)])
        assert share < 0.01 or share > 0.99


def test_a_body_that_no_coarse_sample_sees_is_missing() -> None:
    small = sphere(0.02, (0.53, 0.53, 0.53))
    field = union(sphere(0.3), small)
    assert extract_field(field, coarse=8, levels=2).body_count == 1
    assert extract_field(field, coarse=100, levels=0).body_count == 2


def test_a_solid_in_all_of_the_box_is_the_box() -> None:
    mesh = extract_field(lambda p: -torch.ones(len(p)), BOUNDS, 4, 1)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(2.1 * 1.5 * 1.9, rel=1e-6)


def test_hostile_fields() -> None:
    with pytest.raises(InputError, match="no surface"):
        mise(lambda p: torch.ones(len(p)), levels=1)
    with pytest.raises(InputError, match="finite values, got nan at"):
        mise(lambda p: torch.where(p[:, 0] > 0.9, torch.nan, p[:, 1]), coarse=8)
    with pytest.raises(InputError, match="finite values, got inf"):
        mise(lambda p: torch.full((len(p),), torch.inf), coarse=8)
    with pytest.raises(ValueError, match="field: need values"):
        mise(lambda p: p, coarse=4)
    with pytest.raises(ValueError, match="bounds"):
        mise(sphere(0.5), ((0, 0, 0), (1, 0, 1)))
    with pytest.raises(ValueError, match="coarse"):
        mise(sphere(0.5), coarse=0)
    with pytest.raises(ValueError, match="levels"):
        mise(sphere(0.5), levels=-1)


def test_the_field_is_called_without_gradients_and_in_chunks() -> None:
    layer = torch.nn.Linear(3, 1)
    sizes = []

    def field(points: Tensor) -> Tensor:
        sizes.append(len(points))
        values: Tensor = layer(points)[:, 0]
        assert not values.requires_grad
        return 0.1 * values + points.norm(dim=-1) - 0.5

    mise(field, coarse=6, levels=1, chunk=100)
    assert max(sizes) == 100
