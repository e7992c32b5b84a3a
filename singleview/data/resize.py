"""A dataset's images at another size."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.images import area_average
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
        images=_shrink(dataset.images, size),
        silhouettes=_shrink(dataset.silhouettes[..., None], size)[..., 0],
        Ks=Ks.reshape(dataset.Ks.shape),
    )


def _shrink(pixels: Tensor, size: int) -> Tensor:
    """`[N, V, H, H, C]` uint8 to `size`²: each pixel the mean over the area it covers."""
    V, C = pixels.shape[1], pixels.shape[-1]
    shrunk = []
    for x in pixels:  # one object at a time: as floats all of them would take four times the memory
        stacked = x.permute(1, 2, 0, 3).flatten(2).float().numpy()  # (H, H, V C)
        small = torch.from_numpy(area_average(stacked, size, size))
        shrunk.append(small.reshape(size, size, V, C).permute(2, 0, 1, 3).round().to(torch.uint8))
    return torch.stack(shrunk)
