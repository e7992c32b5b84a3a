"""How close two surfaces are, and two images.

Lengths are in the units of the meshes, except in `compare_meshes`. Distances between surfaces are
*point to surface*: samples that are uniform by area on one mesh, to the exact nearest point on the
other. (Distances between two sets of samples have a floor of .003 to .004 of the shape's size.)
Everything is deterministic for a seed. Nothing here is differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass

import igl
import numpy as np
import torch
import trimesh
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.geometry.mesh_distance import winding_numbers
from sdfrender.geometry.mesh_files import Doubles, mesh_arrays

SAMPLES = 100_000  # points on each surface


# ---------------------------------------------------------------------- surfaces


def compare_meshes(
    mesh: trimesh.Trimesh, reference: trimesh.Trimesh, samples: int = SAMPLES, seed: int = 0
) -> dict[str, float]:
    """All measures of a reconstruction, lengths as fractions of the reference's longest side.

    Returns:
        `chamfer_l1`, `hausdorff`, `f_score_0.5pct`, `f_score_1pct`, `normal_consistency`,
        `volume_iou`, as the functions of those names define them, from one set of samples.

    Raises:
        InputError: a mesh without triangles, area or finite coordinates.
    """
    there, back = _matches(mesh, reference, samples, seed)
    size = float(reference.extents.max())
    return {
        "chamfer_l1": _chamfer(there, back) / size,
        "hausdorff": _hausdorff(there, back) / size,
        "f_score_0.5pct": _f_score(there, back, 0.005 * size),
        "f_score_1pct": _f_score(there, back, 0.01 * size),
        "normal_consistency": _normal_consistency(there, back),
        "volume_iou": volume_iou(mesh, reference, samples, seed),
    }


def chamfer(
    mesh: trimesh.Trimesh, reference: trimesh.Trimesh, samples: int = SAMPLES, seed: int = 0
) -> float:
    """Chamfer-L1: the mean distance from `mesh` to `reference` and back, averaged. A length.

    Example:
        >>> import trimesh, sdfrender as sr
        >>> balls = [trimesh.creation.icosphere(4, radius=r) for r in (1.0, 1.1)]
        >>> round(sr.metrics.chamfer(*balls), 3)
        0.1
    """
    return _chamfer(*_matches(mesh, reference, samples, seed))


def hausdorff(
    mesh: trimesh.Trimesh, reference: trimesh.Trimesh, samples: int = SAMPLES, seed: int = 0
) -> float:
    """The largest distance of any sample on either mesh to the other. A length."""
    return _hausdorff(*_matches(mesh, reference, samples, seed))


def nearest_samples(
    mesh: trimesh.Trimesh, points: Doubles, normals: Doubles, seed: int = 0
) -> tuple[float, float]:
    """Chamfer-L1 and normal consistency between samples, as Occupancy Networks measure them.

    Distances go to the nearest sample rather than to the surface, so that they are not zero for
    equal surfaces (Mescheder et al. 2019, §4).

    Args:
        mesh: the shape to judge; it gets as many samples.
        points: `[S, 3]` uniform by area on the reference.
        normals: `[S, 3]` unit, of the reference there.
        seed: of the samples.

    Returns:
        Mean distance both ways, averaged, a length; mean `|n·n′|` both ways, averaged.
    """
    from scipy.spatial import KDTree

    own, own_normals = _sample(mesh, len(points), seed)
    there, i = KDTree(points).query(own)
    back, k = KDTree(own).query(points)
    cosines = [
        np.abs((own_normals * normals[i]).sum(1)).mean(),
        np.abs((normals * own_normals[k]).sum(1)).mean(),
    ]
    return float((there.mean() + back.mean()) / 2), float(np.mean(cosines))


def f_score(
    mesh: trimesh.Trimesh,
    reference: trimesh.Trimesh,
    threshold: float,
    samples: int = SAMPLES,
    seed: int = 0,
) -> float:
    """Harmonic mean of precision and recall at `threshold`, a length. In [0, 1].

    Precision: the fraction of `mesh` within `threshold` of `reference`. Recall: the reverse.
    """
    return _f_score(*_matches(mesh, reference, samples, seed), threshold)


def normal_consistency(
    mesh: trimesh.Trimesh, reference: trimesh.Trimesh, samples: int = SAMPLES, seed: int = 0
) -> float:
    """Mean `|n·n′|` of a sample's normal and that of its nearest point, both ways. In [0, 1]."""
    return _normal_consistency(*_matches(mesh, reference, samples, seed))


def mesh_cosine(
    mesh: trimesh.Trimesh, reference: trimesh.Trimesh, samples: int = SAMPLES, seed: int = 0
) -> float:
    """Mean `n·n′` from samples of `reference` to their nearest points (DeepSDF). In [−1, 1]."""
    return float(_nearest(reference, mesh, samples, seed).cosines.mean())


def mesh_accuracy(
    mesh: trimesh.Trimesh,
    reference: trimesh.Trimesh,
    fraction: float = 0.9,
    samples: int = SAMPLES,
    seed: int = 0,
) -> float:
    """The smallest d such that `fraction` of `mesh` is within d of `reference`. A length."""
    distances = _nearest(mesh, reference, samples, seed).distances
    return float(np.quantile(distances, fraction, method="inverted_cdf"))


def mesh_completion(
    mesh: trimesh.Trimesh,
    reference: trimesh.Trimesh,
    threshold: float = 0.01,
    samples: int = SAMPLES,
    seed: int = 0,
) -> float:
    """The fraction of `reference` within `threshold` (a length) of `mesh`. In [0, 1]."""
    return float((_nearest(reference, mesh, samples, seed).distances <= threshold).mean())


def earth_mover(
    mesh: trimesh.Trimesh, reference: trimesh.Trimesh, samples: int = 500, seed: int = 0
) -> float:
    """Mean distance between two sets of samples under the best one-to-one pairing. A length.

    Not zero for equal surfaces: the two sets are different samples.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    (points, _), (others, _) = _sample(mesh, samples, seed), _sample(reference, samples, seed + 1)
    costs = cdist(points, others)
    return float(costs[linear_sum_assignment(costs)].mean())


def squared_chamfer(
    mesh: trimesh.Trimesh, reference: trimesh.Trimesh, samples: int = 30_000, seed: int = 0
) -> float:
    """DeepSDF's Chamfer: mean squared distance of samples, there plus back. A squared length.

    Distances go to the nearest sample. Of equal surfaces of area A it is therefore `2 A / (π S)`
    for S samples, not 0: in the unit ball, with S = 30 000 and A = 3, .064 · 10⁻³.
    """
    from scipy.spatial import KDTree

    (points, _), (others, _) = _sample(mesh, samples, seed), _sample(reference, samples, seed + 1)
    there, back = KDTree(others).query(points)[0], KDTree(points).query(others)[0]
    return float((there**2).mean() + (back**2).mean())


def volume_iou(
    mesh: trimesh.Trimesh, reference: trimesh.Trimesh, samples: int = SAMPLES, seed: int = 0
) -> float:
    """Volume of the intersection over volume of the union, from random points. In [0, 1].

    The points are uniform in the box around both meshes; inside is where the winding number's
    magnitude exceeds ½, as in `Lattice.from_mesh`. NaN where neither mesh encloses a point.
    """
    pair = [mesh_arrays(mesh), mesh_arrays(reference)]
    corners = np.concatenate([verts[faces].reshape(-1, 3) for verts, faces in pair])
    points = np.random.default_rng(seed).uniform(corners.min(0), corners.max(0), (samples, 3))
    a, b = (np.abs(winding_numbers(*arrays, points)) > 0.5 for arrays in pair)
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else float("nan")


def occupancy_iou(inside: Tensor, reference: Tensor, axes: int = 3) -> Tensor:
    """Intersection over union of samples that are inside. In [0, 1]; 1 where both are empty.

    Args:
        inside: `[..., R, R, R]` bool, or with other sizes on the last `axes` axes.
        reference: the same, broadcast against `inside`; samples at the same places.
        axes: how many of the last axes hold the samples of one object: 3 for grids, 2 for pixels,
            1 for points.

    Returns:
        `[...]` float64.

    Worked value: half of a solid against all of it: 0.5.
    """
    shared = (inside & reference).flatten(-axes).sum(-1).double()
    either = (inside | reference).flatten(-axes).sum(-1).double()
    return torch.where(either > 0, shared / either.clamp(min=1), 1.0)


# ---------------------------------------------------------------------- images


def psnr(images: Tensor, reference: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal to noise ratio, `−10 log₁₀` of the mean squared difference, in dB; peak 1.

    Args:
        images: `[..., H, W, C]`.
        reference: the same shape.
        mask: `[..., H, W]` of the pixels that count. Default: all.

    Returns:
        One number over all images; infinity where they are equal.

    Raises:
        ValueError: shapes that differ, or a mask without a pixel.
    """
    squared = _difference(images, reference) ** 2
    if mask is not None:
        if mask.shape != squared.shape[:-1]:
            raise ValueError(f"mask: need {tuple(squared.shape[:-1])}, got {tuple(mask.shape)}")
        squared = squared[mask.bool()]
    if squared.numel() == 0:
        raise ValueError("mask: need at least one pixel")
    return float(-10 * squared.mean().log10())


def ssim(images: Tensor, reference: Tensor) -> float:
    """Structural similarity with an 11×11 Gaussian window, σ = 1.5 (Wang et al. 2004). In [−1, 1].

    Args:
        images: `[H, W, C]` or `[N, H, W, C]` in [0, 1], at least 11 pixels on a side.
        reference: the same shape.

    Returns:
        The mean over the images.

    Raises:
        ValueError: shapes that differ, or images that are too small.
    """
    from skimage.metrics import structural_similarity

    _difference(images, reference)
    H, W, C = images.shape[-3:]
    if min(H, W) < 11:
        raise ValueError(f"images: ssim needs at least 11 pixels on a side, got {H}×{W}")
    pairs = zip(
        images.detach().cpu().double().reshape(-1, H, W, C).numpy(),
        reference.detach().cpu().double().reshape(-1, H, W, C).numpy(),
        strict=True,
    )
    scores = [
        structural_similarity(  # type: ignore[no-untyped-call]
            a, b, channel_axis=-1, data_range=1.0, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in pairs
    ]  # fmt: skip
    return float(np.mean(scores))


def silhouette_iou(silhouettes: Tensor, reference: Tensor) -> float:
    """Intersection over union of the pixels covered by more than half, mean over views. In [0, 1].

    A view that is empty in both counts as 1.

    Args:
        silhouettes: `[H, W]` or `[N, H, W]` coverage.
        reference: the same shape.
    """
    _difference(silhouettes, reference)
    a, b = (x.detach().cpu() > 0.5 for x in (silhouettes, reference))
    return float(occupancy_iou(a, b, axes=2).mean())


def _difference(images: Tensor, reference: Tensor) -> Tensor:
    if images.shape != reference.shape or images.numel() == 0:
        raise ValueError(
            f"images: need the shape of the reference {tuple(reference.shape)}, and a pixel, "
            f"got {tuple(images.shape)}"
        )
    return images.detach().cpu().double() - reference.detach().cpu().double()


# ---------------------------------------------------------------------- from samples to numbers


@dataclass(frozen=True, eq=False)
class _Match:
    """Samples of one mesh against the nearest points of the other: `[S]` each."""

    distances: Doubles
    cosines: Doubles  # n·n′


def _matches(
    mesh: trimesh.Trimesh, reference: trimesh.Trimesh, samples: int, seed: int
) -> tuple[_Match, _Match]:
    """Mesh to reference, and reference to mesh."""
    return _nearest(mesh, reference, samples, seed), _nearest(reference, mesh, samples, seed + 1)


def _nearest(
    source: trimesh.Trimesh, target: trimesh.Trimesh, samples: int, seed: int
) -> _Match:  # fmt: skip
    verts, faces = mesh_arrays(target)
    points, normals = _sample(source, samples, seed)
    squared, ids, _ = igl.point_mesh_squared_distance(points, verts, faces)
    cosines = (normals * target.face_normals[ids]).sum(1)
    return _Match(np.sqrt(np.maximum(squared, 0)), cosines)


def _sample(mesh: trimesh.Trimesh, samples: int, seed: int) -> tuple[Doubles, Doubles]:
    """Points `[S, 3]` uniform by area, and the unit normals there."""
    mesh_arrays(mesh)  # for its checks
    if samples < 1:
        raise ValueError(f"samples: need at least 1, got {samples}")
    if not mesh.area > 0:
        raise InputError("mesh: need a surface, its area is 0")
    points, ids = trimesh.sample.sample_surface(mesh, samples, seed=seed)[:2]
    return np.ascontiguousarray(points, dtype=np.float64), mesh.face_normals[ids]


def _chamfer(there: _Match, back: _Match) -> float:
    return float(there.distances.mean() + back.distances.mean()) / 2


def _hausdorff(there: _Match, back: _Match) -> float:
    return float(max(there.distances.max(), back.distances.max()))


def _f_score(there: _Match, back: _Match, threshold: float) -> float:
    precision = float((there.distances <= threshold).mean())
    recall = float((back.distances <= threshold).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _normal_consistency(there: _Match, back: _Match) -> float:
    return float(np.abs(there.cosines).mean() + np.abs(back.cosines).mean()) / 2
