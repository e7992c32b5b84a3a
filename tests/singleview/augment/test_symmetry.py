from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from singleview_tiny import make_up, tiny_dataset

from sdfrender import Cameras, Lattice, render
from sdfrender.geometry.primitives import capsule
from singleview.augment.symmetry import X, Z, agreeing, mirror_signs, mirrored, side_axes
from singleview.augment.warps import Warp, WarpSettings, random_warp
from singleview.config import TrainConfig
from singleview.training.batches import Sampler
from singleview.training.distributed import Job
from singleview.training.learners.sdfdiff import predicted_lattices

ONE = Job(0, 1, torch.device("cpu"))


def wedge(axis: int) -> torch.Tensor:
    """`[12]³` a solid that is like its mirror image along `axis`, and not along the other."""
    x = torch.linspace(-1, 1, 12)
    places = torch.stack(torch.meshgrid(x, x, x, indexing="ij"), -1)
    side, other = places[..., axis], places[..., Z if axis == X else X]
    return (side.abs() < 0.5) & (other > 0.4 * places[..., 1]) & (places[..., 1] < 0.8)


def test_left_and_right_lie_where_a_category_says() -> None:
    solids = torch.stack([wedge(Z), wedge(X), wedge(Z), wedge(X), wedge(X), wedge(Z)])
    names = ("chair", "plane", "chair", "plane", "chair", "chair")  # one chair is turned
    assert side_axes(names, solids).tolist() == [Z, X, Z, X, Z, Z]
    assert side_axes(("none",), torch.zeros(1, 4, 4, 4, dtype=torch.bool)).tolist() == [X]


def test_points_and_lattices_are_mirrored_alike() -> None:
    lattice = Lattice.from_function(capsule((-0.3, 0.2, 0.1), (0.6, -0.4, -0.2), 0.2), 20)
    axes = torch.tensor([X, Z])
    turned = mirrored(lattice.values.expand(2, -1, -1, -1), axes)
    points = 1.8 * torch.rand(50, 3) - 0.9
    for values, signs in zip(turned, mirror_signs(axes), strict=True):
        torch.testing.assert_close(
            lattice.with_values(values).sample(points * signs),
            lattice.sample(points),
            atol=1e-5,
            rtol=0,
        )


def test_of_two_mirror_images_the_one_that_agrees() -> None:
    values = torch.where(torch.stack([wedge(X), wedge(Z)]), -0.05, 0.05)
    torch.testing.assert_close(agreeing(values, values), values)
    other = values + 0.01 * torch.randn(values.shape)
    found = agreeing(values, other)
    torch.testing.assert_close(found, torch.stack([other[0].flip(0), other[1].flip(2)]))


def test_warps_along_z_are_those_along_x_of_a_turned_thing() -> None:
    points = 2 * torch.rand(40, 3) - 1
    warps = [random_warp(WarpSettings(), torch.Generator().manual_seed(5), side) for side in (X, Z)]
    torch.testing.assert_close(
        warps[1].to_old(points), warps[0].to_old(points[:, [2, 1, 0]])[:, [2, 1, 0]]
    )
    for warp in warps:
        torch.testing.assert_close(warp.to_new(warp.to_old(points)), points, atol=1e-5, rtol=0)
    still = Warp(torch.linspace(-1, 1, 6).expand(3, -1), torch.zeros(5), torch.zeros(2), True, 0, Z)
    expected = points * torch.tensor([1.0, 1, -1])
    torch.testing.assert_close(still.to_old(points), expected, atol=1e-6, rtol=0)


def test_a_picture_mirrored_in_the_plane_of_z_is_of_the_mirrored_shape() -> None:
    lattice = Lattice.from_function(capsule((-0.3, 0.2, 0.1), (0.6, -0.4, -0.2), 0.2), 24)
    camera = Cameras.look_at([[3.0, 0.0, 0.0]], width=32)  # in the plane of the mirror
    turned = mirrored(lattice.values[None], torch.tensor([Z]))[0]
    a, b = (render(lattice.with_values(v), camera).images for v in (lattice.values, turned))
    torch.testing.assert_close(b, a.flip(2), atol=1e-4, rtol=0)


def test_steps_and_made_up_objects_know_their_axis() -> None:
    dataset = replace(tiny_dataset(resolution=24), sides=None).split("train")
    sides = torch.full((len(dataset),), Z)
    dataset = replace(dataset, sides=sides)
    step = Sampler(TrainConfig(Path("x"), Path("y"), batch=16), dataset).draw(ONE)
    assert step.sides.tolist() == [Z] * 16
    assert dataset.values is not None
    made = make_up(dataset, 4, 20, seed=1)
    assert all(part.side_axes.tolist() == [Z] * len(part) for part in made)

    def network(images: torch.Tensor) -> torch.Tensor:
        return torch.arange(27.0).reshape(1, 3, 3, 3).repeat(len(images), 1, 1, 1)

    values = predicted_lattices(network, step)  # type: ignore[arg-type]
    plain = network(step.inputs[:1])[0]
    for flipped, one in zip(step.flipped, values, strict=True):
        torch.testing.assert_close(one, plain.flip(2) if flipped else plain)
