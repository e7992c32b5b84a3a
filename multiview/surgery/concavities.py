"""Open the concavities that a visual hull fills, where Gauss-Newton would stay on their lid.

The silhouettes say nothing about a concavity, and on a lid over it all pixels want different
things: the walls behind it are seen from other sides. So where the pictures are not explained, the
surface is tried further in; if there is a depth at which the views agree on a colour, while on the
surface they do not, it is moved there, and Gauss-Newton goes on from there.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from multiview.optimize.energy import residuals
from multiview.optimize.gauss_newton import kept_up
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.surgery.around import Index, Windows
from multiview.surgery.photo_consistency import Looks, Photographs
from sdfrender import Lattice, Rendering
from sdfrender.geometry.blocks import within
from sdfrender.geometry.grid import points_at
from sdfrender.geometry.trilinear import vertex_gradients

Floats = NDArray[np.float32] | NDArray[np.float64]

DEPTHS = np.arange(1, 9) * 0.25  # cells; deeper concavities take several calls
PIXELS_PER_CELL = 3.0  # of the photographs that are looked into
MOST_VIEWS = 32  # from all sides; what they agree on more would not change
UNEXPLAINED = 0.04  # residual of the colours above which a place is looked at
BETTER = 0.6  # of the disagreement on the surface: so little must be left further in
MARGIN = 0.006  # by which it has to fall at least
AS_GOOD = 0.003  # of depths that agree as well as the best within this the shallowest is taken
SHARE = 0.25  # or within this share of the fall
OBLIQUE = 1.5  # a view from the side passes through so much for each step inwards
AGREED = 0.3  # of the surface around that has to agree that it should move
BESIDE_A_HOLE = 1e-3  # of a pixel: up to some three cells from where a view would see past
AROUND = 1.0  # standard deviation of "around", cells


def open_concavities(lattice: Lattice, targets: Targets, appearance: Appearance) -> Lattice:
    """Move the surface inwards where views agree there and do not where it is. Not differentiable.

    Args:
        lattice: one lattice of distances.
        targets: all training views.
        appearance: colour and light as they stand.

    Returns:
        A lattice of distances; the same one if nothing moves.
    """
    targets = targets[take_turns(targets.cameras, lattice.bounds.mean(0), MOST_VIEWS)[0]]
    targets = targets.for_lattice(lattice, PIXELS_PER_CELL)
    with torch.no_grad():
        out = appearance.render(lattice, targets)
    certain = appearance.certain(out, targets)
    ids, points, normals = surface(lattice)
    residual = unexplained(lattice, targets, out, appearance, certain, ids)
    looked_at = residual > UNEXPLAINED
    if not looked_at.any():
        return lattice
    photographs = Photographs(targets, out)
    steps = np.zeros(len(looked_at))
    steps[looked_at] = inward_steps(
        photographs,
        Looks.under(appearance, targets),
        points[looked_at],
        normals[looked_at],
        float(lattice.spacing.max()),
    )
    moved = moved_in(lattice, ids, steps)
    if moved is lattice or appearance.known is not None:  # silhouettes then count enough to repair
        return moved
    return without_holes(moved, lattice, targets, out, appearance)


def surface(lattice: Lattice) -> tuple[Index, Tensor, Tensor]:
    """Vertices next to the surface, the points of the surface nearest to them, and normals there.

    Returns:
        Index of the P vertices, points `[P, 3]` in world units, unit normals `[P, 3]` of the
        surface without its finest wrinkles.
    """
    values, h = lattice.values.contiguous().numpy(), float(lattice.spacing.max())
    ids = np.unravel_index(within(values, h), values.shape)
    windows, gradients = (
        _windows(lattice, ids),
        torch.zeros(len(ids[0]), 3, dtype=lattice.values.dtype),
    )
    each = zip(windows.filtered(values, beside=1), windows.members(ids), strict=True)
    for (part, smooth, inner), some in each:
        at = zip(ids, part, inner, strict=True)
        place = tuple(i[some] - whole.start + mine.start for i, whole, mine in at)
        gradients[some] = vertex_gradients(torch.from_numpy(smooth), lattice.spacing)[place]
    vertices = points_at(ids, lattice.resolution, lattice.bounds)
    normals = normalize(gradients, dim=-1)
    return ids, vertices - lattice.values[ids][:, None] * normals, normals


def unexplained(
    lattice: Lattice,
    targets: Targets,
    out: Rendering,
    appearance: Appearance,
    certain: Tensor,
    ids: Index,
) -> Floats:
    """Root mean square residual of the colours of the surface around the vertices `ids`: `[P]`."""
    color, _ = residuals(targets, out, appearance)
    squares = (color**2).mean(-1)[certain].numpy()
    points = targets.cameras.unproject(out.depths, certain)
    _, (total, pixels) = _at_vertices(lattice, points, squares, np.ones_like(squares))
    return np.sqrt(_windows(lattice, ids).means_at(ids, total, pixels))


def inward_steps(
    photographs: Photographs, looks: Looks, points: Tensor, normals: Tensor, h: float
) -> Floats:
    """How far inwards the surface should move at each of P points: `[P]` cells, 0 for not at all.

    Args:
        photographs: what is seen.
        looks: what is allowed.
        points: `[P, 3]` of the surface, world units.
        normals: `[P, 3]` there.
        h: the largest spacing, world units.
    """
    threads = torch.get_num_threads()

    def disagreement(some: Tensor, depths: Floats) -> Floats:
        steps = torch.from_numpy(h * depths).float()
        places = points[some][:, None] - steps[:, None] * normals[some][:, None]
        slack = h + OBLIQUE * steps
        return photographs.consistency(places, normals[some], slack, looks, threads)

    out = np.zeros(len(points), np.float32)
    here = disagreement(torch.arange(len(points)), np.zeros(1))[:, 0]
    doubtful = np.flatnonzero(np.isfinite(here) & (here > MARGIN))
    if not len(doubtful):
        return out
    here = here[doubtful]
    there = disagreement(torch.from_numpy(doubtful), DEPTHS)
    best = there.min(1)
    as_good = there <= (best + np.maximum(AS_GOOD, SHARE * (here - best)))[:, None]
    wanted = (best < BETTER * here) & (here - best > MARGIN)
    out[doubtful] = np.where(wanted, DEPTHS[as_good.argmax(1)], 0)
    return out


def moved_in(lattice: Lattice, ids: Index, steps: Floats) -> Lattice:
    """Move the surface in at the vertices `ids` by `steps` `[P]` in cells, where most agree."""
    # Of zeros only what is written takes memory.
    wanted, near, total = (np.zeros(lattice.resolution, np.float32) for _ in range(3))
    wanted[ids], near[ids], total[ids] = steps > 0, 1, steps
    windows = _windows(lattice, ids)
    agreed = windows.means_at(ids, wanted, near) > AGREED
    agreed_step = np.where(agreed, windows.means_at(ids, total, wanted), 0)
    if not agreed_step.any():
        return lattice
    step = total  # which is of no use any more
    step[ids] = agreed_step
    values = lattice.values.clone()
    for part, shift in _windows(lattice, ids, reached=True).means(step, near):
        values[part] += lattice.spacing.max() * torch.from_numpy(shift).to(values)
    return lattice.with_values(values).redistance(reach=kept_up(lattice), reuse=True)


def without_holes(
    moved: Lattice, lattice: Lattice, targets: Targets, out: Rendering, appearance: Appearance
) -> Lattice:
    """Take back moves that let a view see past the shape where its mask is full.

    Photographs of what shines agree on places behind it that only look like a surface.

    Args:
        moved: `lattice` with parts of its surface moved in.
        lattice: as it was.
        targets: all training views.
        out: renderings of `lattice`.
        appearance: of them.
    """
    with torch.no_grad():
        left = appearance.render(moved, targets).silhouettes
    full = torch.minimum(targets.silhouettes, targets.silhouette_weights) > 0.99
    holes = full & (out.silhouettes > 0.5) & (left < 0.5) & out.hit_mask
    points = targets.cameras.unproject(out.depths, holes)
    ids, (seen_past,) = _at_vertices(lattice, points, np.ones(len(points)))
    values, any_back = moved.values.clone(), False
    for part, weight, inner in _windows(lattice, ids, reached=True).filtered(seen_past):
        taken_back = torch.from_numpy(weight[inner] > BESIDE_A_HOLE)
        values[part] = torch.where(taken_back, lattice.values[part], values[part])
        any_back |= bool(taken_back.any())
    if not any_back:
        return moved
    return lattice.with_values(values).redistance(reach=kept_up(lattice), reuse=True)


def _at_vertices(lattice: Lattice, points: Tensor, *weights: Floats) -> tuple[Index, list[Floats]]:
    """Sums of weights `[P]` over the points `[P, 3]` nearest to each vertex.

    Returns:
        Index of the vertices that are nearest to any, and the sums, `[X, Y, Z]` each.
    """
    nearest = lattice.to_index(points).round().long()
    nearest = nearest.clamp(torch.zeros(3).long(), torch.tensor(lattice.resolution) - 1)
    flat = np.ravel_multi_index(tuple(nearest.T.numpy()), lattice.resolution)
    found, which = np.unique(flat, return_inverse=True)
    ids = np.unravel_index(found, lattice.resolution)
    sums: list[Floats] = []
    for each in weights:
        total = np.zeros(lattice.resolution, np.float32)
        total[ids] = np.bincount(which, each, len(found))
        sums.append(total)
    return ids, sums


def _windows(lattice: Lattice, ids: Index, reached: bool = False) -> Windows:
    """Those of the vertices `ids`, for means with a deviation of `AROUND` on each axis."""
    sigma = (AROUND * lattice.spacing.max() / lattice.spacing).tolist()
    return Windows.of(ids, lattice.resolution, sigma, reached)
