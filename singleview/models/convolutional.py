"""Convolutional Occupancy Networks (Peng, Niemeyer, Mescheder, Pollefeys, Geiger, ECCV 2020).

A cloud becomes a grid of features over the padded box, and a 3D U-Net says of each cell what its
surroundings are like. Features of a place are read from that grid, so that what is learned in one
place is known in all: few objects teach more, and detail does not pass through one vector (§3).

B objects, N points of a cloud, R³ cells, C channels. Positions are canonical; inside they are in
units of the object's longest side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate, max_pool3d, relu

from singleview.data.samples import HALF_PADDED_BOX
from singleview.models.encoders import Code, Neighbours, Places, ResnetBlock, unit_cube

BLOCKS = 5  # of the network of points, and of the decoder in the paper
MIRRORS = ((-1.0, 1.0, 1.0), (1.0, 1.0, -1.0))  # y is up
GROUPS = 8  # of channels that are normalised together


class ConvolutionalEncoder(nn.Module):
    """A point cloud `[B, N, 3]` as features of places.

    Args:
        features: C, of a point and of a place.
        hidden: width of the network of points.
        channels: of the U-Net's first level; they double from level to level.
        grid: R, cells along each side.
        levels: of the U-Net; each halves the grid, but for the first.
        near: whether places are told of the nearest points too, beside their cell. The paper's
            are not; a coarse grid needs it.
        mirrored: whether cells are told of the cloud's mirror images along x and z too, each by a
            layer of its own: most things are like one of them, and few points become more. The
            paper's are not.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        channels: int,
        grid: int,
        levels: int,
        near: bool,
        mirrored: bool,
    ) -> None:
        super().__init__()
        self.points = LocalPointnet(features, hidden, grid)
        mirrors = MIRRORS if mirrored else ()
        self.of_mirrors = nn.ModuleList(nn.Linear(features, features) for _ in mirrors)
        self.unet = UNet(features, channels, features, levels)
        self.neighbours = Neighbours(features, features) if near else None

    def forward(self, cloud: Tensor) -> Code:
        """Features of a cloud `[B, N, 3]`, canonical frame. Differentiable.

        The code's vector is the mean over the grid `[B, C]`: nothing is decoded from it.
        """
        of_points, cells = self.points(cloud)
        seen = cells.grid(of_points)
        for signs, layer in zip(MIRRORS, self.of_mirrors, strict=False):
            of_mirror, where = self.points(cloud * cloud.new_tensor(signs))
            seen = seen + where.grid(layer(of_mirror))
        grid = self.unet(seen)  # (B, C, R, R, R)
        near = None if self.neighbours is None else self.neighbours(cloud, of_points)

        def places(points: Tensor) -> Tensor:
            found = read_grid(grid, points)
            return found if near is None else found + near(points)

        return Code(grid.mean((-3, -2, -1)), places)


class LocalPointnet(nn.Module):
    """Blocks over points; after each but the last, the points of a cell hear of its largest.

    Args:
        features: C, that it gives.
        hidden: width.
        grid: R, cells along each side of the padded box.
    """

    def __init__(self, features: int, hidden: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.first = nn.Linear(6, 2 * hidden)
        self.blocks = nn.ModuleList(ResnetBlock(2 * hidden, hidden) for _ in range(BLOCKS))
        self.last = nn.Linear(hidden, features)

    def forward(self, cloud: Tensor) -> tuple[Tensor, Cells]:
        """`[B, N, 3]`, canonical frame, to features `[B, N, C]` and the cells they lie in."""
        place = (cloud / (2 * HALF_PADDED_BOX) + 0.5) * self.grid  # in cells
        corner = place.floor().clamp(0, self.grid - 1)
        cells = Cells(corner.long(), self.grid)
        x = self.first(torch.cat((unit_cube(cloud), place - corner - 0.5), -1))
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < len(self.blocks) - 1:
                x = torch.cat((x, cells.largest(x)), -1)
        return self.last(relu(x)), cells


class Cells:
    """In which of R³ cells points lie; only those that hold a point take memory.

    Args:
        corner: `[B, N, 3]` number of the cell along each axis.
        grid: R.
    """

    def __init__(self, corner: Tensor, grid: int) -> None:
        self.shape = (corner.shape[0], grid, grid, grid)
        x, y, z = corner.unbind(-1)
        first = grid**3 * torch.arange(corner.shape[0], device=corner.device)[:, None]
        number = first + (x * grid + y) * grid + z
        self.taken, self.row = torch.unique(number.flatten(), return_inverse=True)

    def _reduced(self, x: Tensor, how: str) -> Tensor:
        """Features `[B, N, C]` reduced over each taken cell: `[M, C]`."""
        rows = x.flatten(0, 1)
        table = x.new_zeros(len(self.taken), x.shape[-1])
        index = self.row[:, None].expand_as(rows)
        return table.scatter_reduce(0, index, rows, how, include_self=False)

    def largest(self, x: Tensor) -> Tensor:
        """For each of `[B, N, C]` the largest of the points in its cell: `[B, N, C]`."""
        return self._reduced(x, "amax")[self.row].view_as(x)

    def grid(self, x: Tensor) -> Tensor:
        """Features `[B, N, C]` as means over cells `[B, C, R, R, R]`; zero in empty ones."""
        B, R, C = self.shape[0], self.shape[1], x.shape[-1]
        table = x.new_zeros(B * R**3, C).index_copy(0, self.taken, self._reduced(x, "mean"))
        return table.view(B, R, R, R, C).permute(0, 4, 1, 2, 3)


def read_grid(grid: Tensor, points: Tensor) -> Tensor:
    """Cells `[B, C, R, R, R]` over the padded box at `points` `[B, P, 3]`, trilinearly.

    Values stand in the middle of their cells; beyond the outermost middles they stay. Canonical
    frame; differentiable in both.

    Returns:
        `[B, P, C]`.
    """
    where = (points / HALF_PADDED_BOX).flip(-1)[:, :, None, None]  # (B, P, 1, 1, z y x)
    found = grid_sample(grid.to(points), where, padding_mode="border", align_corners=False)
    return found[..., 0, 0].transpose(1, 2)


class UNet(nn.Module):
    """3D U-Net (Çiçek et al. 2016): down by max-pooling, up to the nearest, with what was there.

    Args:
        inputs: channels.
        channels: of the first level.
        outputs: channels.
        levels: how many; a grid is a multiple of 2^(levels − 1).
    """

    def __init__(self, inputs: int, channels: int, outputs: int, levels: int) -> None:
        super().__init__()
        widths = [channels << n for n in range(levels)]
        self.down = nn.ModuleList(
            _twice(i, o) for i, o in zip([inputs, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(_twice(w + 2 * w, w) for w in reversed(widths[:-1]))
        self.last = nn.Conv3d(channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, R, R, R]` to `[B, outputs, R, R, R]`."""
        x = x.contiguous(memory_format=torch.channels_last_3d)
        skips: list[Tensor] = []
        for n, down in enumerate(self.down):
            x = down(x if n == 0 else max_pool3d(x, 2))
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = up(torch.cat((interpolate(x, scale_factor=2.0), skips.pop()), 1))
        out: Tensor = self.last(x)
        return out


def _twice(inputs: int, outputs: int) -> nn.Module:
    """Two convolutions of 3³, each with its normalisation."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1, bias=False),
        nn.GroupNorm(GROUPS, outputs),
        nn.ReLU(),
        nn.Conv3d(outputs, outputs, 3, padding=1, bias=False),
        nn.GroupNorm(GROUPS, outputs),
        nn.ReLU(),
    )


class PlaceDecoder(nn.Module):
    """Points and features of their places to logits; the features enter before every block.

    Args:
        features: C, of a place.
        hidden: width.
        blocks: of two layers.
    """

    def __init__(self, features: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Linear(3, hidden)
        self.of_places = nn.ModuleList(nn.Linear(features, hidden) for _ in range(blocks))
        self.blocks = nn.ModuleList(ResnetBlock(hidden, hidden) for _ in range(blocks))
        self.last = nn.Linear(hidden, 1)

    def forward(self, points: Tensor, code: Code) -> Tensor:
        """Points `[B, P, 3]`, canonical frame, to logits `[B, P]`."""
        places: Places | None = code.places
        assert places is not None, "decoded from features of places"
        found = places(points)
        x = self.first(unit_cube(points))
        for of_place, block in zip(self.of_places, self.blocks, strict=True):
            x = block(x + of_place(found))
        logits: Tensor = self.last(relu(x))[..., 0]
        return logits
