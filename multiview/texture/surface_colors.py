"""Colours of surface points from the photographs that see them.

A point takes a weighted mean of the views that see it. The weight of a view is how finely its
pixels resolve the surface there, less the nearer the point lies to an edge of what the view sees,
where a small error of shape or pose shows another surface. Nothing here is differentiable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import correlate1d, distance_transform_edt
from scipy.sparse.linalg import spsolve
from torch import Tensor

from multiview.photo.targets import Targets
from sdfrender.meshes.atlas import sample_image
from sdfrender.meshes.rasterize import rasterize_mesh

Floats = NDArray[np.float64]

NEIGHBOURS = 8  # views that a point takes its colour from, at most
SHARPNESS = 1.0  # power of the resolution: how far the best view is preferred
JUMP = 4.0  # a bend of the depth by so many pixels' width is an edge
EDGE = 2.0  # pixels, beyond the first, from an edge to where a view counts fully
LEAST = 1e-3  # weight of a view right at an edge, for points that no view sees better
GRAZING = 0.15  # cosine of the viewing angle below which a view does not count
AGREEMENT = 0.08  # a view whose colour is so far from the median counts half
ROUNDS = 3  # of reweighting by agreement
SURE = 0.02  # weight of all views together below which a point counts as unseen
HOLD = 1e-6  # weight of the mean colour in that of an unseen vertex
PART = 2**18  # points whose colours are averaged at a time


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """P points of a surface: positions and unit outward normals `[P, 3]`, world frame."""

    positions: Tensor
    normals: Tensor

    @classmethod
    def vertices_of(cls, mesh: trimesh.Trimesh) -> SurfacePoints:
        """The vertices of a mesh."""
        return cls(_float(mesh.vertices), _float(mesh.vertex_normals))

    def __len__(self) -> int:
        return len(self.positions)


def surface_colors(
    mesh: trimesh.Trimesh,
    points: SurfacePoints,
    targets: Targets,
    on_view: Callable[[], object] = lambda: None,
) -> tuple[Tensor, Tensor]:
    """Blend the photographs at points of a surface.

    Args:
        mesh: what hides what; closed, outward.
        points: P points on it.
        targets: N views, with `image_weights` for their colours.
        on_view: called when a view has been looked at.

    Returns:
        Colours `[P, C]`, zero where no view sees the point, and weights `[P]`: 1 for a view that
        faces the point at its middle distance, 0 where none sees it.

    Source: the k best views with weights that vanish where a view enters or leaves them, so that
    colours have no seams, as in Buehler et al. 2001, "Unstructured lumigraph rendering", §4.2;
    outliers are weighed down by their distance from the median.
    """
    C = targets.channels
    colors = torch.zeros(NEIGHBOURS + 1, len(points), C)
    weights = torch.zeros(NEIGHBOURS + 1, len(points))
    for view in range(len(targets.cameras)):
        seen, color, weight = look(mesh, points, targets[[view]])
        _keep_best(colors, weights, seen, color, weight)
        on_view()
    # The last of the views has no weight: the next to come is no step.
    blend = weights - (1 - LEAST) * weights.min(0).values
    parts = range(0, len(points), PART)
    means = [_robust_mean(colors[:, i : i + PART], blend[:, i : i + PART]) for i in parts]
    return torch.cat(means) if means else colors[0], weights.sum(0)


def vertex_colors(
    mesh: trimesh.Trimesh, targets: Targets, on_view: Callable[[], object] = lambda: None
) -> Tensor:
    """Colours `[V, C]` of the vertices of a mesh; smooth over what no view sees.

    Vertices that no view sees away from its edges take the mean of their neighbours' colours, a
    discrete harmonic function.

    Args:
        mesh: closed, outward.
        targets: the photographs.
        on_view: called when a view has been looked at.
    """
    colors, weights = surface_colors(mesh, SurfacePoints.vertices_of(mesh), targets, on_view)
    unseen = (weights <= SURE).numpy()
    if not unseen.any():
        return colors
    if unseen.all():
        return torch.full_like(colors, 0.5)
    V, (a, b) = len(mesh.vertices), mesh.edges_unique.T
    edges = sparse.csr_array((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), shape=(V, V))
    x = colors.double().numpy()
    mean = x[~unseen].mean(0)
    # A little of the mean, for bodies that no view sees at all.
    laplacian = sparse.diags_array(edges.sum(1) + HOLD) - edges
    known = edges[unseen][:, ~unseen] @ x[~unseen] + HOLD * mean
    x[unseen] = spsolve(laplacian.tocsr()[unseen][:, unseen].tocsc(), known).reshape(known.shape)
    return torch.from_numpy(x).float()


def look(
    mesh: trimesh.Trimesh, points: SurfacePoints, view: Targets
) -> tuple[Tensor, Tensor, Tensor]:
    """Which points one view sees `[S]`, in what colours `[S, C]`, with which weights `[S]`.

    A weight is 1 where the point is faced at the middle distance, away from edges.
    """
    camera = view.cameras
    focal = float((camera.Ks[0, 0, 0] * camera.Ks[0, 1, 1]).sqrt())
    fragments = rasterize_mesh(mesh, camera)
    depths = torch.from_numpy(fragments.depths).float()
    uv, z = (x[0] for x in camera.project(points.positions))

    to_eye = torch.nn.functional.normalize(camera.centers - points.positions, dim=-1)
    cosine = (to_eye * points.normals).sum(-1)
    column, row = uv.floor().long().unbind(-1)
    H, W = depths.shape
    inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
    seen = (inside & (z > 0) & (cosine > GRAZING)).nonzero()[:, 0]
    # The surface at the centre of the pixel is at most this much nearer than at the point.
    cosine, z, uv = cosine[seen], z[seen], uv[seen]
    slack = z / focal * (1 + (1 / cosine**2 - 1).clamp(min=0).sqrt())
    hidden = z > depths[row[seen], column[seen]] + slack
    seen, cosine, z, uv = (x[~hidden] for x in (seen, cosine, z, uv))

    edge = _edge_distances(fragments.depths, view.silhouettes[0].numpy(), focal)
    planes = torch.cat(
        (view.images[0], torch.stack((view.silhouettes[0], view.image_weights[0], edge), -1)), -1
    )
    sampled = sample_image(planes, uv)  # (S, C + 3)
    color, (alpha, known, distance) = sampled[:, :-3], sampled[:, -3:].unbind(-1)
    color = color / alpha.clamp(min=0.5)[:, None]
    middle = float(z.mean()) if len(z) else 1.0
    resolution = cosine * (middle / z) ** 2  # pixels per area, relative
    # Within a pixel of an edge, a sample may hold what is on its other side.
    near_edge = LEAST + (1 - LEAST) * ((distance - 1) / EDGE).clamp(0, 1)
    weight = resolution**SHARPNESS * near_edge * known * (2 * alpha - 1).clamp(min=0)
    return seen, color, weight


def _edge_distances(depths: Floats, silhouette: NDArray[np.float32], focal: float) -> Tensor:
    """`[H, W]` pixels to the nearest edge: a jump in depth, the outline, that of the photograph."""
    nearness = 1 / depths  # linear in the image on a plane, zero where there is nothing
    bend = np.zeros_like(nearness)
    for axis in (0, 1):
        bend = np.maximum(bend, np.abs(correlate1d(nearness, (1.0, -2.0, 1.0), axis)))
    edges = (bend * focal > JUMP * nearness) | (silhouette < 0.5)
    if not edges.any():
        return torch.full(edges.shape, torch.inf)
    return torch.from_numpy(distance_transform_edt(~edges)).float()


def _keep_best(
    colors: Tensor, weights: Tensor, seen: Tensor, color: Tensor, weight: Tensor
) -> None:
    """Put a view in the place of each point's worst one so far where it is better; in place.

    Args:
        colors: `[K, P, C]` of the best views.
        weights: `[K, P]` theirs.
        seen: `[S]` the points that the view sees.
        color: `[S, C]`.
        weight: `[S]`.
    """
    lowest, slot = weights[:, seen].min(0)
    better = weight > lowest
    slot, seen = slot[better], seen[better]
    weights[slot, seen] = weight[better]
    colors[slot, seen] = color[better]


def _robust_mean(colors: Tensor, weights: Tensor) -> Tensor:
    """`[P, C]` weighted mean of `[K, P, C]` that trusts what agrees with the weighted median."""
    center = _weighted_median(colors, weights)
    for _ in range(ROUNDS):
        squared = ((colors - center) ** 2).mean(-1)
        trusted = weights / (1 + squared / AGREEMENT**2)
        total = trusted.sum(0).clamp(min=torch.finfo(weights.dtype).tiny)
        center = (trusted[..., None] * colors).sum(0) / total[:, None]
    return center


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """`[P, C]` medians over the first axis of `[K, P, C]`, channel by channel."""
    ordered, order = values.sort(0)
    share = weights[..., None].expand_as(values).gather(0, order).cumsum(0)
    half = (share < share[-1:] / 2).sum(0, keepdim=True).clamp(max=len(values) - 1)
    return ordered.gather(0, half)[0]


def _float(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))
