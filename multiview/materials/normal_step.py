"""Normals that explain shading and highlights better, near those of the surface.

The shape stays; its normals at 64 samples a side are off by a degree or two, which moves a
highlight by twice as much. A step of Gauss-Newton turns each vertex's normal about the two axes of
its tangent plane, held to the lattice's normal and to what its neighbours do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn.functional import normalize

from multiview.materials.model import Material, Model

STEP = 2e-3  # radians, of the differences that derivatives are
NOISE = 0.03  # of observations
OFF = 0.05  # radians, by which normals are expected to be off
NEIGHBOURS = 6.0  # weight of what neighbours do, relative to the hold
LONGEST = 0.1  # radians a step


def solve_normals(
    model: Model, material: Material, surface: Tensor, near: sparse.csr_array, weights: Tensor
) -> Model:
    """The model with better normals.

    Args:
        model: geometry and observations.
        material: held fixed.
        surface: `[V, 3]` the lattice's normals.
        near: `[V, V]` neighbours.
        weights: `[P, 3]` of the observations.
    """
    V = len(model.normals)
    a = tangent(model.normals)
    b = torch.linalg.cross(model.normals, a)
    left = model.predict(material) - model.observations.colors
    weights = torch.where(model.observations.capped & (left > 0), 0, weights)
    slopes = [_slope(model, material, axis) for axis in (a, b)]
    hold = (NOISE / OFF) ** 2
    H, g = torch.zeros(V, 2, 2), torch.zeros(V, 2)
    for i in range(2):
        g[:, i] = _per_vertex(model, (weights * slopes[i] * left).sum(-1))
        for j in range(2):
            H[:, i, j] = _per_vertex(model, (weights * slopes[i] * slopes[j]).sum(-1))
    # What the turn so far is, seen in the tangent plane: the hold pulls it back.
    off = model.normals - surface
    degree = torch.from_numpy(np.asarray(near.sum(1)).ravel()).clamp(min=1)
    mean = torch.from_numpy(near @ off.numpy()) / degree[:, None]
    pull = hold * (off + NEIGHBOURS * (off - mean))
    g = g + torch.stack(((pull * a).sum(-1), (pull * b).sum(-1)), -1)
    H = H + hold * (1 + NEIGHBOURS) * torch.eye(2)
    turn = -torch.linalg.solve(H, g[..., None])[..., 0]
    turn = turn * (LONGEST / turn.norm(dim=-1, keepdim=True).clamp(min=LONGEST))
    return replace(model, normals=normalize(model.normals + turn[:, :1] * a + turn[:, 1:] * b))


def tangent(normals: Tensor) -> Tensor:
    """`[V, 3]` unit vectors at right angles to normals `[V, 3]`."""
    axes = torch.eye(3).to(normals)[normals.abs().argmin(1)]
    return normalize(torch.linalg.cross(normals, axes), dim=-1)


def _slope(model: Model, material: Material, axis: Tensor) -> Tensor:
    """`[P, 3]` change of the observations when each normal turns towards `axis` `[V, 3]`."""
    ahead, behind = (
        replace(model, normals=normalize(model.normals + step * axis, dim=-1)).predict(material)
        for step in (STEP, -STEP)
    )
    return (ahead - behind) / (2 * STEP)


def _per_vertex(model: Model, values: Tensor) -> Tensor:
    """Sums `[V]` over the observations of each vertex."""
    return torch.zeros(len(model.normals)).index_add_(0, model.observations.vertices, values)
