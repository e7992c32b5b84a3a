"""Grids of vertices over a box: how many samples along each axis, and where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.far import is_far
from sdfrender.magnitude import LARGEST, SMALLEST

Resolution = int | Sequence[int]
UNIT_BOX = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))  # world units


def grid_points(resolution: tuple[int, int, int], bounds: Tensor) -> Tensor:
    """`[X, Y, Z, 3]` world positions of the vertices of a grid over `bounds`."""
    return torch.stack(torch.meshgrid(*_axes(resolution, bounds), indexing="ij"), -1)


def points_at(
    index: Sequence[NDArray[np.intp]], resolution: tuple[int, int, int], bounds: Tensor
) -> Tensor:
    """`[P, 3]` world positions of those of these vertices that have an index, three times `[P]`."""
    axes = zip(_axes(resolution, bounds), index, strict=True)
    return torch.stack([axis[torch.from_numpy(i)] for axis, i in axes], -1)


def _axes(resolution: tuple[int, int, int], bounds: Tensor) -> list[Tensor]:
    """Positions of the vertices along each axis: `[X]`, `[Y]` and `[Z]`."""
    return [
        torch.linspace(float(lo), float(hi), n, dtype=torch.float64).to(bounds)
        for lo, hi, n in zip(*bounds.double().tolist(), resolution, strict=True)
    ]


def samples_per_axis(resolution: Resolution, bounds: Tensor) -> tuple[int, int, int]:
    """Samples along each axis of a box `[2, 3]`, 2 or more.

    One number means the longest side, the others follow with even spacing.

    Raises:
        ValueError: fewer than 2 samples, or neither one number nor three.
    """
    if isinstance(resolution, int):
        if resolution < 2:
            raise ValueError(f"resolution: need at least 2 samples, got {resolution}")
        size = (bounds[1] - bounds[0]).double()
        axes = (size / size.max() * (resolution - 1)).round().long().clamp(min=1) + 1
        X, Y, Z = (int(n) for n in axes)
    else:
        if len(resolution) != 3 or min(resolution) < 2:
            raise ValueError(f"resolution: need one number or three of at least 2: {resolution}")
        X, Y, Z = (int(n) for n in resolution)
    return X, Y, Z


def check_box(bounds: Tensor) -> None:
    """Check that a box `[2, 3]` is one, of numbers that can be computed with.

    Raises:
        ValueError: another shape, an empty side, or a number that is not finite, too large or, as
            the length of a side, too small.
    """
    if bounds.shape != (2, 3) or not bool((bounds[1] > bounds[0]).all()):
        raise ValueError(f"bounds: need [2, 3] with max > min on each axis, got {bounds.tolist()}")
    box = bounds.detach().double()
    if not float(box.abs().max()) <= LARGEST or not float((box[1] - box[0]).min()) >= SMALLEST:
        raise ValueError(
            f"bounds: need finite numbers of at most {LARGEST:g} and sides of at least "
            f"{SMALLEST:g}, got {bounds.tolist()}"
        )


def box_as_kept(bounds: Tensor | Sequence[Sequence[float]], dtype: torch.dtype) -> Tensor:
    """A box in `dtype`, or in float64 where float32 does not hold it.

    Raises:
        ValueError: not a box, see `check_box`.
    """
    exact = bounds if isinstance(bounds, Tensor) else torch.as_tensor(bounds, dtype=torch.float64)
    check_box(exact)
    if isinstance(bounds, Tensor) and bounds.dtype in (dtype, torch.float32):
        return bounds.to(dtype)  # what was rounded before is not known any more
    exact = exact.double()
    return exact if is_far(exact.detach().cpu().numpy()) else exact.to(dtype)
