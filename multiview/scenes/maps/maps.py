"""Depth and normal maps of N views at one image size, and at smaller ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Resize = Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor]]

AGREE = 0.7  # length of a mean of unit normals; where it is less they are of several surfaces


@dataclass(frozen=True, eq=False)
class Maps:
    """What is known of each pixel's depth and normal, with weights of 0 where nothing is.

    Args:
        depths: `[N, H, W]` camera z, world units (or up to a scale and shift, see `scaled`), or
            None where a scene has no depth maps.
        depth_weights: `[N, H, W]` how far each can be trusted, at least 0; None likewise.
        normals: `[N, H, W, 3]` unit, outward, world frame; zero where unknown; or None.
        normal_weights: `[N, H, W]`; or None.
        scaled: whether each depth map is up to a scale and a shift of its own, to be found.
    """

    depths: Tensor | None = None
    depth_weights: Tensor | None = None
    normals: Tensor | None = None
    normal_weights: Tensor | None = None
    scaled: bool = False

    def __getitem__(self, views: Sequence[int] | Tensor) -> Maps:
        ids = torch.as_tensor(views)
        planes = (self.depths, self.depth_weights, self.normals, self.normal_weights)
        depths, sure, normals, trusted = (None if x is None else x[ids] for x in planes)
        return Maps(depths, sure, normals, trusted, self.scaled)

    def to(self, device: torch.device) -> Maps:
        """The same on a device."""

        def there(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device)

        depths, sure = there(self.depths), there(self.depth_weights)
        return Maps(depths, sure, there(self.normals), there(self.normal_weights), self.scaled)

    def resized(self, width: int, height: int) -> Maps:
        """At a smaller size: depths by their median, normals by their mean, of what is known.

        No depth comes from both sides of an edge, and none from an unknown pixel. Weights are
        means, unknown pixels counted as 0.
        """
        small = Maps(scaled=self.scaled)
        if self.depths is not None and self.depth_weights is not None:
            z, sure = _stacked(median_of_known, self.depths, self.depth_weights, width, height)
            small = replace(small, depths=z, depth_weights=sure)
        if self.normals is not None and self.normal_weights is not None:
            n, sure = _stacked(mean_of_known, self.normals, self.normal_weights, width, height)
            small = replace(small, normals=n, normal_weights=sure)
        return small


def _stacked(
    resize: Resize, values: Tensor, weights: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """Each view by itself: blocks of all at once would take much memory."""
    each = [resize(v, w, width, height) for v, w in zip(values, weights, strict=True)]
    small, sure = zip(*each, strict=True)
    return torch.stack(small), torch.stack(sure)


def median_of_known(
    depths: Tensor, weights: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """`[height, width]` depths, each one of the block it stands for, and weights.

    Args:
        depths: `[H, W]`.
        weights: `[H, W]`, 0 where unknown.
        width: at most W.
        height: at most H.
    """
    blocks, sure = (_blocks(x, width, height) for x in (depths, weights))
    middle = torch.where(sure > 0, blocks, math.nan).nanmedian(-1).values
    return middle.nan_to_num(0.0), sure.mean(-1)


def mean_of_known(
    normals: Tensor, weights: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """`[height, width, 3]` unit normals, and weights; none where a block has several surfaces.

    Args:
        normals: `[H, W, 3]`.
        weights: `[H, W]`, 0 where unknown.
        width: at most W.
        height: at most H.
    """
    sure = _blocks(weights, width, height)
    total = torch.stack(
        [(_blocks(x, width, height) * sure).sum(-1) for x in normals.unbind(-1)], -1
    )
    length = total.norm(dim=-1)
    one = length > AGREE * sure.sum(-1).clamp(min=1e-9)
    unit = total / length.clamp(min=1e-9)[..., None]
    return unit * one[..., None], sure.mean(-1) * one


def scattered(values: Tensor, weights: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """A map on a larger image: its pixels where their centres are, nothing known between them.

    Args:
        values: `[H, W]` or `[H, W, 3]`.
        weights: `[H, W]`.
        width: at least W.
        height: at least H.
    """
    H, W = weights.shape
    rows, columns = (
        ((torch.arange(n) + 0.5) * (new / n)).long() for n, new in ((H, height), (W, width))
    )
    large = values.new_zeros(height, width, *values.shape[2:])
    sure = weights.new_zeros(height, width)
    large[rows[:, None], columns] = values
    sure[rows[:, None], columns] = weights
    return large, sure


def _blocks(plane: Tensor, width: int, height: int) -> Tensor:
    """`[height, width, m n]` the pixels of `plane` `[H, W]` that each smaller one covers, about."""
    H, W = plane.shape
    m, n = math.ceil(H / height), math.ceil(W / width)
    rows = ((torch.arange(height * m) + 0.5) * (H / (height * m))).long()
    columns = ((torch.arange(width * n) + 0.5) * (W / (width * n))).long()
    taken = plane[rows[:, None], columns].reshape(height, m, width, n)
    return taken.transpose(1, 2).reshape(height, width, m * n)
