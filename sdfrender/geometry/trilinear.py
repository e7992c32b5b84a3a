"""Trilinear interpolation on a grid of vertices, and differences at the vertices.

A cell's corner `4a + 2b + c` is at offset `(a, b, c)` from its first vertex.
"""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate(field: Tensor, index: Tensor, lattice_ids: Tensor | None = None) -> Tensor:
    """Trilinear interpolation at fractional vertex indices, clamped to the box.

    Args:
        field: `[X, Y, Z, C]`, or `[B, X, Y, Z, C]` together with `lattice_ids`.
        index: `[P, 3]` fractional vertex indices.
        lattice_ids: `[P]` which of the B fields each point reads.

    Returns:
        `[P, C]`, differentiable in `field` and `index`.
    """
    corners, f = gather_corners(field, index, lattice_ids)
    return (corner_weights(f)[..., None] * corners).sum(1)


def gather_corners(
    field: Tensor, index: Tensor, lattice_ids: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The cell that each point is in.

    Args:
        field: `[X, Y, Z, C]`, or `[B, X, Y, Z, C]` together with `lattice_ids`.
        index: `[P, 3]` fractional vertex indices, clamped to the box.
        lattice_ids: `[P]` which of the B fields each point reads.

    Returns:
        `corners` `[P, 8, C]`, corner `4a + 2b + c` at `(a, b, c)`, differentiable in `field`, and
        `f` `[P, 3]` the position inside the cell (0 … 1), differentiable in `index`.
    """
    X, Y, Z, C = field.shape[-4:]
    last = torch.tensor([X - 1, Y - 1, Z - 1], device=index.device, dtype=index.dtype)
    index = torch.minimum(index.clamp(min=0), last)
    cell = torch.minimum(index.detach().floor(), last - 1)
    i, j, k = cell.long().unbind(-1)
    base = (i * Y + j) * Z + k
    if lattice_ids is not None:
        base = base + lattice_ids * (X * Y * Z)
    ids = base[:, None] + corner_offsets(Y, Z, index.device)
    return torch.nn.functional.embedding(ids, field.reshape(-1, C)), index - cell


def corner_offsets(Y: int, Z: int, device: torch.device) -> Tensor:
    """`[8]` flat offsets of a cell's corners; corner `4a + 2b + c` is at `(a, b, c)`."""
    return torch.tensor([(a * Y + b) * Z + c for a in (0, 1) for b in (0, 1) for c in (0, 1)]).to(
        device
    )


def corner_weights(f: Tensor) -> Tensor:
    """`[P, 8]` trilinear weights of the corners at positions `f` `[P, 3]` inside the cell."""
    w = torch.stack((1 - f, f), -1)  # (P, 3, 2)
    return (w[:, 0, :, None, None] * w[:, 1, None, :, None] * w[:, 2, None, None, :]).flatten(1)


def vertex_gradients(values: Tensor, spacing: Tensor) -> Tensor:
    """Central differences at the vertices, one-sided at the faces: `[..., X, Y, Z, 3]`."""
    parts = torch.gradient(values, spacing=[float(s) for s in spacing], dim=(-3, -2, -1))
    return torch.stack(parts, -1)
