"""Which layout a dataset folder has, and its images at the size asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sdfrender.view.cameras import Cameras
from sdfrender.errors import InputError
from singleview.data.dataset import Dataset
from singleview.data.layouts.dvr import has_dvr, read_dvr
from singleview.data.layouts.folder import MANIFEST, read_folder
from singleview.data.layouts.nmr import has_nmr, read_nmr


def read_dataset(folder: Path, image_size: int | None) -> Dataset:
    """Read the dataset in `folder`; see `singleview.data.dataset.open_dataset`."""
    if image_size is not None and image_size < 8:
        raise InputError(f"image_size: need at least 8 pixels, got {image_size}")
    if not folder.is_dir():
        raise InputError(f"{folder}: need the folder of a dataset, there is no such folder")
    if (folder / MANIFEST).is_file():
        dataset = read_folder(folder)
    elif has_nmr(folder):
        dataset = read_nmr(folder)
    elif has_dvr(folder):
        dataset = read_dvr(folder)
    else:
        raise InputError(
            f"{folder}: need a dataset: {MANIFEST}, *_images.npz or CLASS/OBJECT/cameras.npz"
        )
    return resized(dataset, image_size)


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
