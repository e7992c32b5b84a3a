"""A dataset's images at another size."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.view.cameras import Cameras
from singleview.data.dataset import Dataset


def resized(dataset: Dataset, size: int | None) -> Dataset:
    """The same dataset with images averaged down to `size` × `size` pixels.

    Raises:
        InputError: images that are smaller, or not square.
    """
    H, W = dataset.image_size
    if size is None or (size, size) == (H, W):
        return dataset
    if H != W or size > H:
        raise InputError(f"image_size: need at most the stored {H}×{W}, square, got {size}")
    Ks = Cameras(dataset.c2w.flatten(0, 1), dataset.Ks.flatten(0, 1), W, H).resized(size, size).Ks
    return replace(
        dataset,
        images=_shrink(dataset.images.movedim(-1, 2), size).movedim(2, -1).contiguous(),
        silhouettes=_shrink(dataset.silhouettes[:, :, None], size)[:, :, 0],
        Ks=Ks.reshape(dataset.Ks.shape),
    )


def _shrink(pixels: Tensor, size: int) -> Tensor:
    """`[N, V, C, H, H]` uint8 to `size`²: each pixel the mean over the area it covers."""
    W = _overlaps(pixels.shape[-1], size)
    # One object at a time: as floats all of them would take four times the memory.
    return torch.stack([(W @ x.float() @ W.T).round().to(torch.uint8) for x in pixels])


def _overlaps(before: int, after: int) -> Tensor:
    """`[after, before]` share of each old pixel in each new one; rows sum to 1."""
    edges = torch.arange(after + 1) * (before / after)
    old = torch.arange(before)
    overlap = torch.minimum(edges[1:, None], old + 1) - torch.maximum(edges[:-1, None], old)
    return overlap.clamp(min=0) * (after / before)
