"""Which directions of the sky a point of the surface sees: rays through the lattice.

A ray goes on by the distance that the lattice states (sphere tracing) until it is inside, which is
a shadow, or outside of the box. Nothing here is differentiable.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.geometry.lattice import Lattice
from sdfrender.kernels.compiled import kernel, scalar
from sdfrender.kernels.threads import run_all
from sdfrender.system import processors

Floats = NDArray[np.float32]

LIFT = 1.5  # cells along the normal from the surface to where a ray begins
LEAST_STEP = 0.35  # cells
MOST_STEPS = 400
PART = 2048  # points a task


@scalar
def blocked(
    values: Floats,
    x: float,
    y: float,
    z: float,
    dx: float,
    dy: float,
    dz: float,
    cell: float,
) -> bool:
    """Whether a ray meets the inside of the surface before it leaves the lattice.

    Args:
        values: `[X, Y, Z]` signed distances in units of length L.
        x: where it begins, samples.
        y: likewise.
        z: likewise.
        dx: its direction, samples per unit of length L.
        dy: likewise.
        dz: likewise.
        cell: the smallest spacing, units of length L.
    """
    X, Y, Z = values.shape
    for _ in range(MOST_STEPS):
        if not (0 <= x <= X - 1 and 0 <= y <= Y - 1 and 0 <= z <= Z - 1):
            return False
        i, j, k = min(int(x), X - 2), min(int(y), Y - 2), min(int(z), Z - 2)
        a, b, c = x - i, y - j, z - k
        low = (1 - a) * (
            (1 - b) * ((1 - c) * values[i, j, k] + c * values[i, j, k + 1])
            + b * ((1 - c) * values[i, j + 1, k] + c * values[i, j + 1, k + 1])
        )
        high = a * (
            (1 - b) * ((1 - c) * values[i + 1, j, k] + c * values[i + 1, j, k + 1])
            + b * ((1 - c) * values[i + 1, j + 1, k] + c * values[i + 1, j + 1, k + 1])
        )
        distance = low + high
        if distance < 0:
            return True
        step = max(distance, LEAST_STEP * cell)
        x, y, z = x + step * dx, y + step * dy, z + step * dz
    return False


@kernel
def _look(
    values: Floats,
    starts: NDArray[np.float64],
    normals: NDArray[np.float64],
    directions: NDArray[np.float64],
    scale: NDArray[np.float64],
    cell: float,
    seen: NDArray[np.uint8],
) -> None:
    """Fill `seen` `[P, K]`; `scale` `[3]` is samples per unit of length."""
    for p in range(len(starts)):
        for k in range(len(directions)):
            d = directions[k]
            if d[0] * normals[p, 0] + d[1] * normals[p, 1] + d[2] * normals[p, 2] <= 0:
                continue
            x, y, z = starts[p]
            hit = blocked(values, x, y, z, d[0] * scale[0], d[1] * scale[1], d[2] * scale[2], cell)
            seen[p, k] = 0 if hit else 1


def visibility(lattice: Lattice, points: Tensor, normals: Tensor, directions: Tensor) -> Tensor:
    """What points of the surface see of K directions.

    Args:
        lattice: `[X, Y, Z]` distances, which are true at least near the surface.
        points: `[P, 3]` on the surface, world units.
        normals: `[P, 3]` unit, outward. A direction below the horizon is not seen.
        directions: `[K, 3]` unit, world frame.

    Returns:
        `[P, K]` uint8, 1 where nothing is in the way.
    """
    spacing = lattice.spacing.double()
    cell = float(spacing.min())
    lifted = points.double() + LIFT * float(spacing.max()) * normals.double()
    starts = ((lifted - lattice.bounds[0].double()) / spacing).numpy()
    values = np.ascontiguousarray(lattice.values.numpy(), np.float32)
    scale, away = (1 / spacing).numpy(), directions.double().numpy()
    outward = normals.double().numpy()
    seen = np.zeros((len(points), len(directions)), np.uint8)

    def look(first: int) -> None:
        part = slice(first, first + PART)
        _look(values, starts[part], outward[part], away, scale, cell, seen[part])

    run_all(look, range(0, len(points), PART), processors())
    return torch.from_numpy(seen)
