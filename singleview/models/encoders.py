"""From an observation to a code: encoders of point clouds, voxels and of occupancy itself.

Those of images are in `singleview.models.image_encoders`.

B objects, N points of a cloud, P places to decode, R³ voxels. Positions are in units of the
object's longest side (`unit_cube`), as in Occupancy Networks (Mescheder et al. 2019, §3).

A code is a vector and, in the small networks, features of a place as well: what the observation
says about the neighbourhood of a point. They let a few objects teach what surfaces are like, where
a vector alone needs thousands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate, relu

from singleview.data.objects import LONGEST_SIDE
from singleview.data.samples import HALF_PADDED_BOX

Places: TypeAlias = Callable[[Tensor], Tensor]  # [B, P, 3] to features [B, P, L]

TINY = 1e-6  # keeps divisions by distances finite


@dataclass(frozen=True, eq=False)
class Code:
    """What an encoder says.

    Args:
        vector: `[B, C]`.
        places: features of places `[B, P, 3]`, world units; None without.
    """

    vector: Tensor
    places: Places | None = None


def unit_cube(points: Tensor) -> Tensor:
    """Points `[..., 3]`, canonical units, as `[..., 3]` in units of the object's longest side."""
    return points / LONGEST_SIDE


# ---------------------------------------------------------------------- point clouds


class ResnetBlock(nn.Module):
    """Two layers with a shortcut, acting on the last dimension; the second begins at zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = min(inputs, outputs)
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        same = inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Linear(inputs, outputs, bias=False)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., inputs]` to `[..., outputs]`."""
        changed: Tensor = self.second(relu(self.first(relu(x))))
        out: Tensor = changed + self.shortcut(x)
        return out


class ResnetPointnet(nn.Module):
    """Five blocks over points; after each but the last, all points hear of the largest features.

    Args:
        code: length of the code.
        hidden: width.
        channels: of each point: its position, and what else is known of it.
    """

    def __init__(self, code: int, hidden: int, channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(channels, 2 * hidden)
        self.blocks = nn.ModuleList(ResnetBlock(2 * hidden, hidden) for _ in range(5))
        self.last = nn.Linear(hidden, code)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, N, channels]` to the code `[B, C]` and features of the points `[B, N, 2 hidden]`."""
        x = self.first(points)
        for i, block in enumerate(self.blocks):
            x = block(x)
            pooled = x.amax(1, keepdim=True)  # (B, 1, hidden)
            if i < len(self.blocks) - 1:
                x = torch.cat((x, pooled.expand_as(x)), -1)
        code: Tensor = self.last(relu(pooled[:, 0]))
        return code, torch.cat((x, pooled.expand_as(x)), -1)


class PointEncoder(nn.Module):
    """A point cloud `[B, N, 3]`, world units.

    Args:
        code: length of the code.
        hidden: width.
        features: L, features of a place; 0 for none.
    """

    def __init__(self, code: int, hidden: int, features: int) -> None:
        super().__init__()
        self.pointnet = ResnetPointnet(code, hidden)
        self.neighbours = Neighbours(2 * hidden, features) if features else None

    def forward(self, cloud: Tensor) -> Code:
        """The code of a cloud `[B, N, 3]`, canonical frame. Differentiable."""
        vector, of_points = self.pointnet(unit_cube(cloud))
        if self.neighbours is None:
            return Code(vector)
        return Code(vector, self.neighbours(cloud, of_points))


class Neighbours(nn.Module):
    """Features of a place out of those of the nearest points of a cloud.

    Each neighbour counts with `1 − d / d_k`, d_k the distance of the farthest of them, so that the
    features are continuous where neighbours change.

    Args:
        channels: of the features of points.
        features: L, of a place.
        count: k, neighbours.
    """

    def __init__(self, channels: int, features: int, count: int = 8) -> None:
        super().__init__()
        self.count = count
        self.of_point = nn.Linear(channels, features)
        self.of_offset = nn.Linear(4, features, bias=False)
        self.last = nn.Linear(features, features)

    def forward(self, cloud: Tensor, of_points: Tensor) -> Places:
        """Cloud `[B, N, 3]`, canonical frame, and its features `[B, N, channels]`, to places."""
        B, N, _ = cloud.shape
        k = min(self.count, N)
        table = self.of_point(of_points).flatten(0, 1)  # (B N, L)
        positions = cloud.flatten(0, 1)

        def places(points: Tensor) -> Tensor:
            with torch.no_grad():
                nearest = torch.cdist(points, cloud).topk(k, -1, largest=False).indices
                first = N * torch.arange(B, device=cloud.device)[:, None, None]
                nearest = (nearest + first).flatten()  # (B P k)
            shape = (*points.shape[:2], k)
            offsets = unit_cube(points[:, :, None] - positions[nearest].view(*shape, 3))
            distances = (offsets.square().sum(-1, keepdim=True) + TINY**2).sqrt()
            said = table[nearest].view(*shape, -1) + 10 * self.of_offset(
                torch.cat((offsets, distances), -1)
            )
            weights = (1 - distances / distances[:, :, -1:].clamp(min=TINY)).clamp(min=0) + TINY
            weights = weights / weights.sum(2, keepdim=True)
            found: Tensor = self.last((weights * relu(said)).sum(2))
            return found

        return places


# ---------------------------------------------------------------------- voxels


class VoxelEncoder(nn.Module):
    """A voxel grid `[B, R, R, R]`: a 3D CNN that halves it down to about 2³.

    Args:
        code: length of the code.
        hidden: channels of the first layer; they double up to eight times as many.
        features: L, features of a place; 0 for none. The grid is over the padded box then.
        released: double once more, up to sixteen times as many: Occupancy Networks'.
    """

    def __init__(self, code: int, hidden: int, features: int, released: bool = False) -> None:
        super().__init__()
        widths = [(2 if released else 1) * hidden << n for n in range(4)]
        self.first = nn.Conv3d(1, hidden, 3, padding=1)
        pairs = zip([hidden, *widths[:-1]], widths, strict=True)
        self.down = nn.ModuleList(nn.Conv3d(i, o, 3, stride=2, padding=1) for i, o in pairs)
        self.last = nn.Linear(widths[-1] * 8, code)
        total = hidden + sum(widths[:2])
        self.mix = nn.Linear(total, features) if features else None

    def forward(self, voxels: Tensor) -> Code:
        """The code of a grid `[B, R, R, R]`, R ≥ 4. Differentiable."""
        levels = [relu(self.first(voxels[:, None]))]
        for down in self.down:
            levels.append(relu(down(levels[-1])))
        small = levels[-1]
        if small.shape[-3:] != (2, 2, 2):
            small = interpolate(small, size=(2, 2, 2), mode="trilinear", align_corners=False)
        vector: Tensor = self.last(small.flatten(1))
        return Code(vector, None if self.mix is None else self._places(levels[:3]))

    def _places(self, levels: list[Tensor]) -> Places:
        assert self.mix is not None
        mix = self.mix

        def places(points: Tensor) -> Tensor:
            where = (points / HALF_PADDED_BOX).flip(-1)[:, :, None, None]  # (B, P, 1, 1, z y x)
            read = [
                grid_sample(x, where, padding_mode="border", align_corners=False)[..., 0, 0]
                for x in levels
            ]
            found: Tensor = mix(torch.cat(read, 1).transpose(1, 2))
            return found

        return places


# ---------------------------------------------------------------------- nothing, and an index


class LatentEncoder(nn.Module):
    """The posterior q(z | points and their occupancy) of the model without an observation (§3.2).

    Args:
        code: length of z.
        hidden: width.
    """

    def __init__(self, code: int, hidden: int) -> None:
        super().__init__()
        self.pointnet = ResnetPointnet(2 * code, hidden, channels=4)

    def forward(self, points: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation of z, `[B, C]` each. Differentiable.

        Args:
            points: `[B, P, 3]` canonical frame.
            inside: `[B, P]` bool.
        """
        seen = torch.cat((unit_cube(points), inside[..., None].to(points)), -1)
        mean, log_std = self.pointnet(seen)[0].chunk(2, -1)
        return mean, log_std.clamp(-8, 4)


class PooledLatentEncoder(nn.Module):
    """The posterior as Occupancy Networks have it: four layers, and what is largest over points.

    Args:
        code: length of z.
        hidden: width.
    """

    def __init__(self, code: int, hidden: int) -> None:
        super().__init__()
        self.of_points, self.of_inside = nn.Linear(3, hidden), nn.Linear(1, hidden)
        self.layers = nn.ModuleList(nn.Linear(n * hidden, hidden) for n in (1, 2, 2))
        self.mean, self.log_std = nn.Linear(hidden, code), nn.Linear(hidden, code)

    def forward(self, points: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """As `LatentEncoder`."""
        x = self.of_inside(inside[..., None].to(points)) + self.of_points(unit_cube(points))
        for n, layer in enumerate(self.layers):
            if n:
                x = torch.cat((x, x.amax(1, keepdim=True).expand_as(x)), -1)
            x = layer(relu(x))
        pooled = x.amax(1)
        return self.mean(pooled), self.log_std(pooled)


class IndexEncoder(nn.Module):
    """A code for each known object: how much a decoder can represent (§4.1).

    Args:
        code: length of the code.
        objects: how many there are.
    """

    def __init__(self, code: int, objects: int) -> None:
        super().__init__()
        self.table = nn.Embedding(objects, code)

    def forward(self, index: Tensor) -> Code:
        """Numbers `[B]` to codes."""
        return Code(self.table(index))
