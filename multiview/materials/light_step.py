"""The environment that explains observations best, whatever is painted on the surface.

Observations are linear in the environment's radiance x, by way of what falls on vertices (`D x`)
and of filtered pictures (`M x`). What all observations of a vertex have in common may as well be
paint: light that is held against paint that has already made up for its errors would hardly move.
So paint is eliminated, `a = mean(a) + δ` with `δ ~ N(0, PAINT²)` under the light so far: the
products of a vertex's rows lose all but a small share ε of their mean (Golub and Pereyra 1973).
That share is why light, not paint, explains what goes with the normal. The mean of the paint says
nothing of how bright the light is; highlights do. One Hessian per channel,

    H = Dᵀ (A D + B M) + Mᵀ (K M + Bᵀ D) − Gᵀ (1 − ε)/W G,   A, B, G, K, W sums over observations

and x is at least 0 (L-BFGS-B on the quadratic).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from torch import Tensor

from multiview.materials.model import PIXELS, Material, Model, filters
from sdfrender.materials.environment import HEIGHT, solid_angles

Floats = NDArray[np.float32]

SMOOTH = 1e-4  # weight of the mean squared relative difference of neighbouring pixels
ITERATIONS = 400
PAINT = 0.15  # how far paint is from its mean
NOISE = 0.02  # of observations: what a model of a surface leaves unexplained


def solve_light(model: Model, material: Material, weights: Tensor) -> Tensor:
    """`[PIXELS, 3]` at least 0.

    Args:
        model: geometry and observations.
        material: base colour, roughness, and the radiance to start from.
        weights: `[P, 3]` of the observations.
    """
    o = model.observations
    mirror = model.levels(material.roughness)
    used = np.flatnonzero(np.diff(mirror.tocsc().indptr) > 0)  # of all filtered pictures' pixels
    mirror, M = mirror[:, used], filters()[used]
    D = model.transfer.numpy()
    factors = model.factors(material.base_color, material.roughness).numpy()
    paint = ((1 - model.metallic) * material.base_color.mean(0)).numpy()
    to_vertex = summed(o.vertices.numpy(), len(model.normals))
    w, colors = weights.numpy(), o.colors.numpy()
    found = np.zeros((PIXELS, 3), np.float32)
    even = ((1 - model.metallic) * model.even(material.radiance)).numpy()
    for c in range(3):
        a, f, e, y = paint[c], factors[:, c], even[:, c], colors[:, c]
        common = to_vertex @ w[:, c]
        B = to_vertex @ (sparse.diags_array(w[:, c] * f) @ mirror)
        K = mirror.T @ (sparse.diags_array(w[:, c] * f * f) @ mirror)
        BM = B @ M
        H = D.T @ ((a * a * common)[:, None] * D + a * BM) + M.T @ (K @ M + a * (B.T @ D))
        right = a * (D.T @ (to_vertex @ (w[:, c] * y))) + M.T @ (mirror.T @ (w[:, c] * f * y))
        free = (PAINT / NOISE * e) ** 2  # (1 − ε) / W
        free = free / (1 + free * common)
        G = BM + (a * common)[:, None] * D
        H -= (G * free[:, None]).T @ G
        right -= G.T @ (free * (to_vertex @ (w[:, c] * y)))
        before = material.radiance[:, c].numpy()
        steps = differences(before)
        hold = SMOOTH * w[:, c].sum() / steps.shape[0]
        found[:, c] = _not_negative(H + hold * (steps.T @ steps), right, before)
    return torch.from_numpy(found)


def _not_negative(H: Floats, right: Floats, start: Floats) -> NDArray[np.float64]:
    """The x ≥ 0 at which `xᵀ H x / 2 − right x` is least."""
    scale = np.sqrt(np.maximum(np.diag(H), 1e-12 * np.trace(H) / len(H)))
    G, b = (H / scale / scale[:, None]).astype(np.float64), right / scale

    def error(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        pull = G @ x
        return float(x @ (0.5 * pull - b)), pull - b

    found: Any = minimize(
        error, start * scale, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(b),
        options={"maxiter": ITERATIONS, "maxcor": 30},
    )  # fmt: skip
    result: NDArray[np.float64] = found.x / scale
    return result


def summed(vertices: NDArray[np.int64], count: int) -> sparse.csr_array:
    """`[V, P]` that sums over the observations of a vertex."""
    ones = np.ones(len(vertices), np.float32)
    return sparse.csr_array((ones, (vertices, np.arange(len(vertices)))), (count, len(vertices)))


def differences(before: Floats) -> sparse.csr_array:
    """`[D, PIXELS]` differences of pixels side by side, relative to what is there.

    Lamps are much brighter than the sky: an absolute difference would blur them.

    Args:
        before: `[PIXELS]` the radiance so far.
    """
    ids = np.arange(PIXELS).reshape(HEIGHT, 2 * HEIGHT)
    share = (solid_angles(HEIGHT) / solid_angles(HEIGHT).max()).numpy()
    across = (ids, np.roll(ids, -1, 1), np.broadcast_to(share[:, None], ids.shape))
    down = (ids[:-1], ids[1:], np.broadcast_to(share[:-1, None], ids[1:].shape))
    a, b, w = (np.concatenate([x.ravel(), y.ravel()]) for x, y in zip(across, down, strict=True))
    root = (np.sqrt(w) / (np.maximum(before[a], before[b]) + before.mean())).astype(np.float32)
    rows = np.arange(len(a))
    shape = (len(a), PIXELS)
    found: sparse.csr_array = sparse.csr_array((root, (rows, a)), shape) - sparse.csr_array(
        (root, (rows, b)), shape
    )
    return found
