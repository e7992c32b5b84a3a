"""Planes moved through a box: how well each pixel of a view agrees with others on each of them.

A plane at z of the reference view i maps its pixels to those of view j by the homography

    M_ij(z) = K_j R_jᵀ (R_i K_i⁻¹ + (e_i − e_j) (0 0 1) / z)

with R camera to world and e the eyes (Collins 1996, *A space-sweep approach*). Planes are spaced
evenly in 1/z, so that a step moves a pixel of a source about as far everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multiview.dense.sources import Ints
from multiview.dense.sweep_kernel import sweep_planes
from multiview.stereo.pictures import Pictures
from sdfrender import Cameras

HALF = 2  # of a window beside its middle, pixels
STEP = 0.75  # pixels by which a plane moves a source's pixels, at most
FEWEST, MOST = 32, 320  # planes
MARGIN = 8  # pixels about the box that are scored too, which windows reach

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Volume:
    """Costs of a view's pixels on planes.

    Args:
        costs: `[D, h, w]` uint8, 0 for a ZNCC of 1 and 255 for −1.
        inverse: `[D]` 1/z of the planes, evenly spaced, rising.
        corner: column and row of its first pixel in the view.
    """

    costs: NDArray[np.uint8]
    inverse: Doubles
    corner: tuple[int, int]


def sweep(
    view: int, cameras: Cameras, pictures: Pictures, bounds: Tensor, sources: Ints, floor: float
) -> Volume | None:
    """Score the pixels of a view that may show a box. Not differentiable.

    Args:
        view: which of N.
        cameras: N views, of the size of the pictures.
        pictures: N views.
        bounds: `[2, 3]` the box, world units.
        sources: the views to compare with.
        floor: of a window's deviation, units of colour.

    Returns:
        None if the view does not show the box, or there is nothing to compare with.
    """
    part = shown_part(cameras, view, bounds)
    if part is None or not len(sources):
        return None
    left, top, right, bottom, near, far = part
    inverse = planes(view, cameras, sources, (near, far), bounds.mean(0))
    matrices = homographies(view, cameras, sources, inverse, (left, top))
    costs = np.zeros((len(inverse), bottom - top, right - left), np.uint8)
    sweep_planes(
        np.ascontiguousarray(pictures.grey[view, top:bottom, left:right].numpy()),
        np.ascontiguousarray(pictures.known[view, top:bottom, left:right].numpy()),
        pictures.grey.numpy(),
        pictures.known.numpy(),
        sources,
        matrices,
        HALF,
        floor,
        max(1, (len(sources) + 1) // 2),
        costs,
    )
    return Volume(costs, inverse, (left, top))


def shown_part(
    cameras: Cameras, view: int, bounds: Tensor
) -> tuple[int, int, int, int, float, float] | None:
    """Left, top, right, bottom of the pixels that may show a box, and its least and largest z.

    A box that reaches behind the eye may be anywhere in the picture, from near by on.
    """
    corners = torch.cartesian_prod(*bounds.double().T)
    c2w, K = cameras.c2w[view].double(), cameras.Ks[view].double()
    x = (corners - c2w[:3, 3]) @ c2w[:3, :3]
    far = float(x[:, 2].max())
    if far <= 0:
        return None
    near = max(float(x[:, 2].min()), 0.05 * far)
    left, top, right, bottom = 0, 0, cameras.width, cameras.height
    if float(x[:, 2].min()) >= near:
        p = (x @ K.T)[:, :2] / x[:, 2:]
        first, last = p.amin(0) - MARGIN, p.amax(0) + MARGIN
        left, top = (max(0, int(v)) for v in first.floor().tolist())
        right, bottom = min(right, int(last[0].ceil())), min(bottom, int(last[1].ceil()))
    if right - left <= 2 * HALF or bottom - top <= 2 * HALF:
        return None
    return left, top, right, bottom, near, far


def planes(
    view: int, cameras: Cameras, sources: Ints, depths: tuple[float, float], middle: Tensor
) -> Doubles:
    """1/z of the planes between two depths, such that no source's pixels jump between them."""
    near, far = depths
    inverse = np.array((1 / far, 1 / near))
    M = homographies(view, cameras, sources, inverse, (0, 0))
    pixel, _ = cameras[[view]].project(middle[None].to(cameras.c2w))
    u = np.append(pixel[0, 0].double().numpy(), 1.0)
    ends = np.einsum("dsij,j->dsi", M, u)
    with np.errstate(divide="ignore", invalid="ignore"):
        places = ends[..., :2] / ends[..., 2:]
    moved = np.linalg.norm(places[1] - places[0], axis=-1)
    moved = moved[np.isfinite(moved) & (ends[..., 2] > 0).all(0)]
    longest = float(moved.max()) if len(moved) else 0.0
    count = int(np.clip(np.ceil(longest / STEP) + 1, FEWEST, MOST))
    return np.linspace(1 / far, 1 / near, count)


def homographies(
    view: int, cameras: Cameras, sources: Ints, inverse: Doubles, corner: tuple[int, int]
) -> Doubles:
    """M_ij `[D, S, 3, 3]` from pixels of a part of the view that begins at `corner`."""
    R = cameras.c2w[:, :3, :3].double().numpy()
    e = cameras.c2w[:, :3, 3].double().numpy()
    K = cameras.Ks.double().numpy()
    own = K[view].copy()
    own[:2, 2] -= corner
    found = np.zeros((len(inverse), len(sources), 3, 3))
    back = np.linalg.inv(own)
    for s, j in enumerate(sources):
        P = K[j] @ R[j].T
        found[:, s] = P @ R[view] @ back
        found[:, s, :, 2] += inverse[:, None] * (P @ (e[view] - e[j]))
    return found
