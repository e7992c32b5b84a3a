"""Base colour, roughness and environment of a surface, in turns.

Given roughness and the rest, observations are linear in the environment, and given that in the base
colour; roughness is searched for among a few values at each vertex, with the base colour that is
best for each (variable projection), and is smooth over the surface. Normals are turned a little
where that explains more. Observations that are not
explained count linearly (Huber). Nothing here is differentiable.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import cg
from torch import Tensor

from multiview.materials.light_step import solve_light
from multiview.materials.model import PIXELS, Material, Model, filter_all
from multiview.materials.normal_step import solve_normals
from sdfrender.materials.environment import LEVELS

log = logging.getLogger("multiview")

Floats = NDArray[np.float32]

START = (0.5, 0.4)  # base colour and roughness
ROUNDS = 5
HUBER = 0.08  # residual beyond which an observation counts linearly
SMOOTH_COLOR = 0.03  # of a difference of neighbours, in observations of full weight
SMOOTH_COST = 12  # steps of averaging over neighbours, of what a roughness costs
DARKEST, BRIGHTEST = 0.0, 1.0  # of base colours
HOLD = 1e-4  # of the mean, where no view sees anything


def solve(mesh: trimesh.Trimesh, model: Model, rounds: int = ROUNDS) -> tuple[Material, Model]:
    """Solve in turns, from grey paint of a middling roughness under an even light.

    Args:
        mesh: V vertices; its edges say what is near what.
        model: geometry and observations.
        rounds: of all of them.

    Returns:
        The materials, and the model with the normals that go with them.
    """
    o = model.observations
    near = neighbours(mesh)
    base = torch.full((len(model.normals), 3), START[0])
    rough = torch.full((len(model.normals),), START[1])
    even = torch.full((PIXELS, 3), 1.0) * (o.colors.mean(0) / START[0])
    material = Material(base, rough, even)
    weights = o.weights[:, None].expand(-1, 3)
    radiance = solve_light(model, material, robust(model, material, weights))
    material = Material(base, rough, radiance)
    surface = model.normals
    for turn in range(rounds):
        material = solve_color(model, material, near, robust(model, material, weights))
        if turn > 0:  # the first light is too far off
            now = robust(model, material, weights)
            model = solve_normals(model, material, surface, near, now)
        material = solve_roughness(model, material, near, robust(model, material, weights))
        material = solve_color(model, material, near, robust(model, material, weights))
        radiance = solve_light(model, material, robust(model, material, weights))
        material = Material(material.base_color, material.roughness, radiance)
        log.debug("materials: turn %d, %s", turn + 1, residual(model, material))
    return solve_color(model, material, near, robust(model, material, weights)), model


def residual(model: Model, material: Material) -> float:
    """Weighted root mean square of what is not explained."""
    o = model.observations
    left = short_of(model, material)
    return float(((o.weights[:, None] * left**2).sum() / o.weights.sum() / 3).sqrt())


def short_of(model: Model, material: Material) -> Tensor:
    """`[P, 3]` prediction minus observation; 0 where a saturated one is brighter."""
    left = model.predict(material) - model.observations.colors
    left[model.observations.capped & (left > 0)] = 0
    return left


def robust(model: Model, material: Material, weights: Tensor) -> Tensor:
    """`[P, 3]` weights, less where little is explained."""
    left = short_of(model, material).abs().amax(-1, keepdim=True)
    return weights * (HUBER / left.clamp(min=HUBER))


def neighbours(mesh: trimesh.Trimesh) -> sparse.csr_array:
    """`[V, V]` 1 where two vertices share an edge."""
    V, (a, b) = len(mesh.vertices), mesh.edges_unique.T
    ones = np.ones(2 * len(a), np.float32)
    found: sparse.csr_array = sparse.csr_array((ones, (np.r_[a, b], np.r_[b, a])), shape=(V, V))
    return found


# ---------------------------------------------------------------------- base colour


def solve_color(
    model: Model, material: Material, near: sparse.csr_array, weights: Tensor
) -> Material:
    """The best base colours, a little smooth; vertices that nobody sees take their neighbours'."""
    filtered = filter_all(material.radiance).numpy()
    mirror = torch.from_numpy(model.levels(material.roughness) @ filtered)
    slope, rest = _linear_in_color(model, material, mirror)
    top, bottom = _sums(model, slope, rest, weights)
    seen = bottom > 0
    mean = torch.where(seen, top, 0).sum(0) / bottom.sum(0).clamp(min=1e-9)
    color = _smoothed(top, bottom, near, mean)
    clamped = torch.from_numpy(color).clamp(DARKEST, BRIGHTEST)
    return Material(clamped, material.roughness, material.radiance)


def _linear_in_color(model: Model, material: Material, mirror: Tensor) -> tuple[Tensor, Tensor]:
    """What observations `[P, 3]` are: slope times base colour plus rest."""
    zero = torch.zeros_like(material.base_color)
    rest = model.factors(zero, material.roughness) * mirror
    one = model.factors(torch.ones_like(zero), material.roughness) * mirror - rest
    even = model.even(material.radiance)[model.observations.vertices]
    return (1 - model.metallic) * even + one, rest


def _sums(model: Model, slope: Tensor, rest: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Per vertex `[V, 3]`: Σ w s (y − rest), and Σ w s²."""
    o = model.observations
    top = torch.zeros(len(model.normals), 3)
    bottom = torch.zeros_like(top)
    top.index_add_(0, o.vertices, weights * slope * (o.colors - rest))
    bottom.index_add_(0, o.vertices, weights * slope**2)
    return top, bottom


def _smoothed(top: Tensor, bottom: Tensor, near: sparse.csr_array, mean: Tensor) -> Floats:
    """Minimise Σ bottom (x − top / bottom)² + ρ Σ (xᵢ − xⱼ)² per channel; `[V, 3]`."""
    V = len(top)
    degree = np.asarray(near.sum(1)).ravel()
    out = np.zeros((V, 3), np.float32)
    for c in range(3):
        strength = float(bottom[:, c].median()) or 1.0
        rho = SMOOTH_COLOR * strength
        diagonal = bottom[:, c].numpy() + rho * degree + HOLD * strength
        right = top[:, c].numpy() + HOLD * strength * float(mean[c])
        A = sparse.diags_array(diagonal) - rho * near
        M = sparse.diags_array(1 / diagonal)
        out[:, c], _ = cg(A, right, x0=right / diagonal, M=M, rtol=1e-4, maxiter=60)
    return out


# ---------------------------------------------------------------------- roughness


def solve_roughness(
    model: Model, material: Material, near: sparse.csr_array, weights: Tensor
) -> Material:
    """The best roughness at each vertex among `LEVELS`, then between them by a parabola."""
    o = model.observations
    V = len(model.normals)
    cost = torch.zeros(V, len(LEVELS))
    filtered = filter_all(material.radiance).reshape(len(LEVELS), PIXELS, 3)
    for n, level in enumerate(LEVELS):
        here = Material(material.base_color, torch.full((V,), level), material.radiance)
        slope, rest = _linear_in_color(model, here, model.mirror(filtered[n]))
        top, bottom = _sums(model, slope, rest, weights)
        color = (top / bottom.clamp(min=1e-9)).clamp(DARKEST, BRIGHTEST)
        left = slope * color[o.vertices] + rest - o.colors
        left[o.capped & (left > 0)] = 0
        cost[:, n].index_add_(0, o.vertices, (weights * left**2).sum(-1))
    rough = _lowest(_averaged(cost, near))
    return Material(material.base_color, rough, material.radiance)


def _averaged(cost: Tensor, near: sparse.csr_array) -> Tensor:
    """Costs `[V, L]`, each vertex's and those of vertices near it."""
    degree = np.asarray(near.sum(1)).ravel()[:, None]
    x = cost.numpy()
    for _ in range(SMOOTH_COST):
        x = 0.5 * x + 0.5 * (near @ x) / np.maximum(degree, 1)
    return torch.from_numpy(np.asarray(x))


def _lowest(cost: Tensor) -> Tensor:
    """`[V]` where costs `[V, L]` are least, by a parabola through the least and those beside it."""
    best = cost.argmin(1).clamp(1, len(LEVELS) - 2)
    before, here, after = (cost.gather(1, (best + k)[:, None])[:, 0] for k in (-1, 0, 1))
    bend = (before - 2 * here + after).clamp(min=1e-12)
    shift = (0.5 * (before - after) / bend).clamp(-1, 1)
    levels = torch.tensor(LEVELS)
    ahead = torch.where(shift > 0, levels[best + 1] - levels[best], levels[best] - levels[best - 1])
    return levels[best] + shift * ahead
