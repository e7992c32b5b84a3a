"""Handles that are too thin to have been seen go, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
import trimesh
from skimage.measure import euler_number

from multiview.surgery.handles import doubtful_vertices, euler_gain, remove_thin_handles
from sdfrender import Lattice, extract_mesh

BOX = torch.tensor([[-1.0, -0.8, -1.2], [1.2, 1.0, 1.0]])


def lattice(field: Callable[[torch.Tensor], torch.Tensor], resolution: int = 47) -> Lattice:
    """A field on a lattice with sides and spacings of three lengths."""
    shape = Lattice.sphere(0.5, (0, 0, 0), resolution, BOX)
    return shape.with_values(field(shape.vertices))


def torus(points: torch.Tensor, ring: float = 0.5, tube: float = 0.2) -> torch.Tensor:
    """Signed distance of a torus around z."""
    flat = points[..., :2].norm(dim=-1) - ring
    return torch.stack((flat, points[..., 2]), -1).norm(dim=-1) - tube


def balls(points: torch.Tensor) -> torch.Tensor:
    """Signed distance of two balls that do not touch."""
    left, right = (points - torch.tensor([x, 0.0, 0.0]) for x in (-0.45, 0.45))
    return torch.minimum(left.norm(dim=-1), right.norm(dim=-1)) - 0.3


def genus(shape: Lattice) -> tuple[int, int]:
    """Bodies and handles."""
    mesh: trimesh.Trimesh = extract_mesh(shape)
    return mesh.body_count, mesh.body_count - mesh.euler_number // 2


def with_values(shape: Lattice, vertices: list[tuple[int, int, int]], cells: float) -> Lattice:
    """The same but for the values at some vertices."""
    values = shape.values.clone()
    for vertex in vertices:
        values[vertex] = cells * shape.spacing.max()
    return shape.with_values(values)


def slot(points: torch.Tensor) -> torch.Tensor:
    """A block with a slot of some three cells in it, open on three sides."""
    block = points.abs().amax(-1) - 0.6
    gap = torch.maximum(points[..., 2].abs() - 0.07, -points[..., 0])
    return torch.maximum(block, -gap)


def test_a_hair_across_a_slot_is_cut_and_nothing_else_changes() -> None:
    shape = lattice(slot)
    assert genus(shape) == (1, 0)
    x, y, z = shape.to_index(torch.tensor([0.03, 0.0, 0.0])).round().long().tolist()
    assert shape.values[x, y, z] > 0
    column = [(x, y, k) for k in range(z - 3, z + 4) if shape.values[x, y, k] > 0]
    haired = with_values(shape, column, -0.1)
    assert genus(haired) == (1, 1)
    cut = remove_thin_handles(haired)
    assert genus(cut) == (1, 0)
    turned = (cut.values < 0) != (haired.values < 0)
    assert turned.sum() == 1
    assert turned[tuple(torch.tensor(column).T)].any()


def test_a_hair_that_is_thicker_or_reaches_farther_stays() -> None:
    shape = lattice(slot)
    x, y, z = shape.to_index(torch.tensor([0.03, 0.0, 0.0])).round().long().tolist()
    column = [(x, y, k) for k in range(z - 3, z + 4) if shape.values[x, y, k] > 0]
    thick = with_values(shape, column, -0.4)
    assert genus(thick) == (1, 1)
    assert remove_thin_handles(thick) is thick

    far = shape.to_index(torch.tensor([0.55, 0.0, 0.0]))[0].round().long().item()
    distant = with_values(shape, [(far, y, k) for _, _, k in column], -0.1)  # 10 cells from its end
    assert genus(distant) == (1, 1)
    assert remove_thin_handles(distant) is distant


def test_a_pinhole_is_closed() -> None:
    plate = lattice(lambda p: torch.maximum(p[..., 2].abs() - 0.03, p.abs().amax(-1) - 0.6))
    x, y, z = plate.to_index(torch.zeros(3)).round().long().tolist()
    holed = with_values(plate, [(x, y, k) for k in range(z - 2, z + 3)], 0.1)
    assert genus(plate) == (1, 0)
    assert genus(holed) == (1, 1)
    assert genus(remove_thin_handles(holed)) == (1, 0)


@pytest.mark.parametrize("field", [torus, balls], ids=["torus", "balls"])
def test_shapes_without_thin_handles_are_left_as_they_are(
    field: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    shape = lattice(field)
    assert remove_thin_handles(shape) is shape


def test_bodies_are_neither_cut_off_nor_joined_nor_lost() -> None:
    shape = lattice(balls)
    x, y, z = shape.to_index(torch.zeros(3)).round().long().tolist()
    joined = with_values(shape, [(i, y, z) for i in range(x - 5, x + 6)], -0.1)
    assert genus(joined) == (1, 0)
    assert remove_thin_handles(joined) is joined
    specks = with_values(shape, [(x, y, z), (x, y + 9, z)], -0.1)
    assert genus(specks) == (4, 0)
    assert remove_thin_handles(specks) is specks


@pytest.mark.parametrize("seed", range(4))
def test_the_gain_is_the_difference_of_two_euler_numbers(seed: int) -> None:
    there = np.random.default_rng(seed).random((3, 3, 3)) < 0.5
    there[1, 1, 1] = True
    without = there.copy()
    without[1, 1, 1] = False
    expected = euler_number(there, connectivity=1) - euler_number(without, connectivity=1)
    assert euler_gain(there[None]) == euler_gain(without[None]) == expected


def test_no_vertex_of_a_smooth_surface_is_doubtful() -> None:
    shape = lattice(torus)
    assert not len(doubtful_vertices(shape.values.numpy(), 0.25 * float(shape.spacing.max())))


def test_what_is_done_does_not_depend_on_the_axes() -> None:
    shape = lattice(slot)
    x, y, z = shape.to_index(torch.tensor([0.03, 0.0, 0.0])).round().long().tolist()
    haired = with_values(shape, [(x, y, k) for k in range(z - 1, z + 2)], -0.1)
    genera = set()
    for axes, flips in product([(0, 1, 2), (2, 0, 1), (1, 2, 0)], [(), (0,), (1, 2)]):
        turned = haired.values.permute(axes).flip(flips).contiguous()
        bounds = haired.bounds[:, axes]
        genera.add(genus(remove_thin_handles(Lattice(turned, bounds))))
    assert genera == {(1, 0)}
