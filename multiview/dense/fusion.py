"""Depth maps merged into one lattice of signed distances (Curless and Levoy 1996).

A vertex at z_v before a view that has the depth z there gets `d = z − z_v`, held to the truncation;
what is farther behind than that says nothing. Its value is the mean over views, weighted.

https://graphics.stanford.edu/papers/volrange/volrange.pdf, equations 1 to 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdfrender import Cameras
from sdfrender.geometry.grid import samples_per_axis
from sdfrender.kernels.compiled import kernel
from sdfrender.kernels.threads import run_all

TRUNCATION = 3.0  # cells
FREE = 0.25  # weight of empty space that one view claims where others may see a surface

Floats = NDArray[np.float32]


def fuse(
    depths: Floats, weights: Floats, cameras: Cameras, bounds: Tensor, resolution: int
) -> tuple[Floats, Floats, Floats]:
    """Merge depth maps. Not differentiable.

    Args:
        depths: `[N, H, W]` z, 0 where there is none.
        weights: `[N, H, W]` how much each counts.
        cameras: N views of that size.
        bounds: `[2, 3]` the box, world units.
        resolution: samples along its longest side.

    Returns:
        `[X, Y, Z]` distances, world units, positive in free space, 0 where nothing is known; and
        their weights, 0 there; and the weights of the depths alone that are within half of the
        truncation: how much the surface there was seen.
    """
    shape = samples_per_axis(resolution, bounds)
    lower = bounds[0].double().numpy()
    spacing = ((bounds[1] - bounds[0]).double() / (torch.tensor(shape) - 1)).numpy()
    eyes = cameras.c2w[:, :3, 3].double().numpy()
    P = (cameras.Ks.double() @ cameras.c2w[:, :3, :3].double().mT).contiguous().numpy()
    values, total, near = (np.zeros(shape, np.float32) for _ in range(3))
    truncation = TRUNCATION * float(spacing.max())

    def slab(i: int) -> None:
        integrate(i, lower, spacing, depths, weights, eyes, P, truncation, values, total, near)

    run_all(slab, range(shape[0]), torch.get_num_threads())
    return values, total, near


@kernel
def integrate(
    i: int, lower: Any, spacing: Any, depths: Any, weights: Any, eyes: Any, projections: Any,
    truncation: float, values: Any, total: Any, near: Any,
) -> None:  # fmt: skip
    """Write the vertices of one slab, `values[i]`, `total[i]` and `near[i]`; see `fuse`."""
    N, H, W = depths.shape
    _, Y, Z = values.shape
    x = lower[0] + i * spacing[0]
    for j in range(Y):
        y = lower[1] + j * spacing[1]
        for k in range(Z):
            z = lower[2] + k * spacing[2]
            value, weight = 0.0, 0.0
            for n in range(N):
                a, b, c = x - eyes[n, 0], y - eyes[n, 1], z - eyes[n, 2]
                P = projections[n]
                depth = P[2, 0] * a + P[2, 1] * b + P[2, 2] * c
                if depth <= 0:
                    continue
                u = (P[0, 0] * a + P[0, 1] * b + P[0, 2] * c) / depth - 0.5
                v = (P[1, 0] * a + P[1, 1] * b + P[1, 2] * c) / depth - 0.5
                if not (u >= 0 and v >= 0 and u < W - 1 and v < H - 1):
                    continue
                column, row = int(u), int(v)
                d00, d01 = depths[n, row, column], depths[n, row, column + 1]
                d10, d11 = depths[n, row + 1, column], depths[n, row + 1, column + 1]
                least, most = min(min(d00, d01), min(d10, d11)), max(max(d00, d01), max(d10, d11))
                nearest_row, nearest_column = int(v + 0.5), int(u + 0.5)
                if least > 0 and most - least < truncation:
                    f, g = u - column, v - row
                    seen = (1 - g) * ((1 - f) * d00 + f * d01) + g * ((1 - f) * d10 + f * d11)
                else:
                    seen = depths[n, nearest_row, nearest_column]
                if seen <= 0:
                    continue
                distance = seen - depth
                if distance < -truncation:
                    continue
                w = weights[n, nearest_row, nearest_column]
                if abs(distance) < truncation / 2:
                    near[i, j, k] += w
                if distance >= truncation:
                    distance, w = truncation, w * FREE
                value += w * distance
                weight += w
            if weight > 0:
                values[i, j, k] = value / weight
                total[i, j, k] = weight
