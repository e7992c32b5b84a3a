"""Where left and right are: the plane in which things of a category are like their mirror image.

A mirrored picture shows the mirrored object, in whichever upright plane it is mirrored; cameras all
around see both. Only in the plane of its category's symmetry is the mirrored object one that may
occur: in another, a chair that faces along x would face the other way.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sdfrender.meshes.metrics import occupancy_iou

X, Z = 0, 2  # y is up
GRID = 24  # samples along each side of a solid are enough
SAME = 0.1  # distance, world units, beyond which shapes are not compared


def side_axes(categories: Sequence[str], solids: Tensor) -> Tensor:
    """Along which axis left and right lie: the one along which mirrored solids agree best.

    Args:
        categories: of N objects.
        solids: `[N, R, R, R]` bool, True inside, samples placed alike on both sides of the middle.

    Returns:
        `[N]` 0 (x) or 2 (z), the same for all objects of a category.
    """
    agreement = torch.stack([occupancy_iou(solids, solids.flip(1 + axis)) for axis in (X, Z)])
    axes = torch.zeros(len(solids), dtype=torch.long)
    for category in set(categories):
        ids = [i for i, name in enumerate(categories) if name == category]
        x, z = agreement[:, ids].mean(1)
        axes[ids] = Z if z > x else X
    return axes


def mirrored(values: Tensor, axes: Tensor) -> Tensor:
    """Distances `[B, R, R, R]`, each mirrored along its axis `[B]`, 0 (x) or 2 (z)."""
    along_z = (axes == Z)[:, None, None, None]
    return torch.where(along_z, values.flip(1 + Z), values.flip(1 + X))


def mirror_signs(axes: Tensor) -> Tensor:
    """`[B, 3]` what to multiply points by to mirror them along axes `[B]`."""
    return 1 - 2 * torch.nn.functional.one_hot(axes, 3).float()


def agreeing(values: Tensor, turned: Tensor) -> Tensor:
    """Lattices mirrored along x or z, whichever agrees better with others.

    Args:
        values: `[B, R, R, R]` signed distances, world units.
        turned: `[B, R, R, R]` what is to be mirrored.
    """
    near = values.clamp(-SAME, SAME)
    x, z = (turned.flip(1 + axis) for axis in (X, Z))
    away = [(m.clamp(-SAME, SAME) - near).abs().mean((1, 2, 3)) for m in (x, z)]
    return torch.where((away[1] < away[0])[:, None, None, None], z, x)
