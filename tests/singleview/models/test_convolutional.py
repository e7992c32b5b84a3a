"""The convolutional occupancy network: cells, the grid that is read, and learning through it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from occupancy_tiny import train_occupancy, write_samples

from sdfrender.errors import InputError
from singleview.config import OccupancyConfig
from singleview.data.samples import HALF_PADDED_BOX
from singleview.models import OccupancyNetwork, OccupancyShape, build_model
from singleview.models.convolutional import Cells, UNet, read_grid
from singleview.models.occupancy import paper_grid_shape, small_grid_shape
from singleview.training.checkpoint import load_model

TINY = OccupancyShape("points", hidden=8, blocks=2, encoder=8, features=8,
                      grid=4, levels=2, channels=8, near=True, mirrored=True)  # fmt: skip


def test_cells_pool_their_own_points() -> None:
    torch.manual_seed(0)
    corner, x = torch.randint(0, 3, (2, 17, 3)), torch.randn(2, 17, 4)
    cells = Cells(corner, 3)
    largest, grid = cells.largest(x), cells.grid(x)
    assert grid.shape == (2, 4, 3, 3, 3)
    for b in range(2):
        for i, j, k in torch.cartesian_prod(*[torch.arange(3)] * 3).tolist():
            inside = (corner[b] == torch.tensor([i, j, k])).all(-1)
            if not inside.any():
                assert not grid[b, :, i, j, k].any()
                continue
            torch.testing.assert_close(grid[b, :, i, j, k], x[b, inside].mean(0))
            assert torch.equal(largest[b, inside][0], x[b, inside].amax(0))


def test_a_grid_is_read_where_its_cells_are() -> None:
    torch.manual_seed(0)
    grid = torch.randn(2, 3, 4, 4, 4, dtype=torch.float64)
    middle = (torch.arange(4).double() + 0.5) / 4 * 2 * HALF_PADDED_BOX - HALF_PADDED_BOX
    points = torch.stack((middle[[1]], middle[[3]], middle[[0]]), -1).expand(2, -1, -1)
    torch.testing.assert_close(read_grid(grid, points)[:, 0], grid[:, :, 1, 3, 0])
    beside = torch.stack((middle[1:2], (middle[2] + middle[3])[None] / 2, middle[:1]), -1)
    mean = (grid[:, :, 1, 2, 0] + grid[:, :, 1, 3, 0]) / 2
    torch.testing.assert_close(read_grid(grid, beside.expand(2, -1, -1))[:, 0], mean)
    far = torch.tensor([[5.0, -5.0, 5.0]], dtype=torch.float64).expand(2, 1, -1)
    torch.testing.assert_close(read_grid(grid, far)[:, 0], grid[:, :, 3, 0, 3])


def test_gradients_of_the_field_in_the_points_by_finite_differences() -> None:
    torch.manual_seed(0)
    model = OccupancyNetwork(TINY).double().eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.3)
    cloud = torch.rand(1, 20, 3, dtype=torch.float64) - 0.5
    field = model.field(model.encode(cloud), 0.3)
    points = (torch.rand(6, 3, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(field, points, eps=1e-7, atol=1e-5)


def test_it_learns_with_all_its_parts_and_is_built_again() -> None:
    torch.manual_seed(0)
    model = OccupancyNetwork(TINY)
    again = build_model(**model.description())  # type: ignore[arg-type]
    assert [x.shape for x in again.parameters()] == [x.shape for x in model.parameters()]
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.3)
    points = torch.rand(3, 16, 3) - 0.5
    logits, _ = model(torch.rand(3, 40, 3) - 0.5, points, points[..., 0] > 0)
    assert logits.shape == (3, 16)
    logits.square().sum().backward()
    for name, x in model.named_parameters():
        assert x.grad is not None, name
        assert float(x.grad.abs().sum()) > 0, name


def test_an_object_is_decoded_as_alone() -> None:
    torch.manual_seed(0)
    model = OccupancyNetwork(TINY).eval()
    clouds, points = torch.rand(2, 30, 3) - 0.5, torch.rand(2, 9, 3) - 0.5
    both = model.decoder(points, model.encode(clouds))
    alone = model.decoder(points[1:], model.encode(clouds[1:]))
    torch.testing.assert_close(both[1:], alone)
    turned = model.decoder(points[1:], model.encode(clouds[1:, torch.randperm(30)]))
    torch.testing.assert_close(turned, alone)  # points of a cloud have no order


def test_sizes_are_those_of_the_paper() -> None:
    shape = paper_grid_shape()
    assert (shape.grid, shape.features, shape.hidden, shape.levels) == (32, 32, 32, 3)
    assert not shape.near
    assert not shape.mirrored
    unet = UNet(32, 32, 32, 3)
    widths = [m.out_channels for m in unet.modules() if isinstance(m, torch.nn.Conv3d)]
    assert widths == [32, 32, 64, 64, 128, 128, 64, 64, 32, 32, 32]
    assert unet(torch.zeros(1, 32, 4, 8, 4)).shape == (1, 32, 4, 8, 4)
    assert small_grid_shape().near


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grid": 6, "levels": 3}, "grid: need a multiple"),
        ({"grid": 4096}, "grid: need a multiple"),
        ({"channels": 12}, "channels: need"),
        ({"levels": 99}, "levels: need"),
        ({"input": "voxels"}, "input: need points"),
        ({"features": 0}, "features: need"),
    ],
)
def test_grids_that_cannot_be_are_refused(change: dict[str, object], said: str) -> None:
    description = {**OccupancyNetwork(TINY).description(), **change}
    with pytest.raises(ValueError, match=said):
        build_model(**description)  # type: ignore[arg-type]


def test_the_option_needs_points() -> None:
    with pytest.raises(InputError, match="--decoder: need code, or conv with --input points"):
        OccupancyConfig(decoder="conv", input="voxels")


@pytest.mark.slow
def test_the_option_trains_it(tmp_path: Path) -> None:
    train_occupancy(write_samples(tmp_path), tmp_path / "run", decoder="conv", steps=2)
    model, about = load_model(tmp_path / "run")
    assert isinstance(model, OccupancyNetwork)
    assert model.shape.grid == small_grid_shape().grid
    assert about["observations"]["cloud"] == 50
