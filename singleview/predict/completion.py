"""A whole shape from one depth image: the code that explains what was seen (DeepSDF, §4.3, §6.3).

Notation: `p` are points seen, `n` their normals, `v` the rays to them. The energy of a code z is

    mean |f(z, p ± η n) ∓ η|  +  w_F mean max(0, −f(z, q))  +  w_Z unlikely(z),

with q in free space: on the rays between the camera and the surface, and on those that meet
nothing. It is minimised by Levenberg-Marquardt (`sdfrender.latent_fit`) from several known shapes.
Everything is in the canonical frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn.functional import normalize

from sdfrender.latent.field import LatentField
from sdfrender.latent.fit import (
    LatentFit,
    LatentFitSettings,
    Term,
    distance_term,
    fit_code,
    gaussian_term,
    outside_term,
    total,
)
from sdfrender.rendering.field_render import box_interval
from sdfrender.view.noise import picture_noise
from singleview.data.samples import PADDED_BOX
from singleview.predict.depth_view import DepthView
from singleview.settings.prediction import CompletionSettings

NOISY_OFFSET = 0.5  # η at least, in standard deviations of the noise; at 1, thin parts swell
NOISY_PIXELS = 0.75  # noise above which points are smoothed, in sizes of a pixel
NORMAL_OF = (12, 300)  # least and most neighbours that a normal is taken from


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a depth image says of a shape, canonical frame.

    Args:
        points: `[P, 3]` on either side of the surface.
        distances: `[P]` there.
        free: `[F, 3]` where nothing is.
        noise: standard deviation of the depths, as estimated.
    """

    points: Tensor
    distances: Tensor
    free: Tensor
    noise: float


def complete(
    field: LatentField, view: DepthView, settings: CompletionSettings | None = None
) -> LatentFit:
    """The code of the shape that a depth image shows a side of. Not differentiable.

    Args:
        field: the decoder.
        view: the depth image.
        settings: of the energy.
    """
    settings = settings or CompletionSettings()
    seen = evidence(view, settings)
    few = Evidence(seen.points[::8], seen.distances[::8], seen.free[::8], seen.noise)
    mean, _ = field.statistics()
    codes = torch.cat((mean[None], field.codes.detach()))
    data = data_terms(field, few, settings)
    ranked = sorted(codes, key=lambda code: total(data, code).energy)[: settings.starts]
    followed = []
    for start in ranked:
        coarse, fine = (energy(field, x, start, settings) for x in (few, seen))
        code = fit_code(coarse, start, LatentFitSettings(15)).code
        followed.append((total(fine, code).energy, code, fine))
    _, code, terms = min(followed, key=lambda found: found[0])
    return fit_code(terms, code)


def energy(
    field: LatentField, seen: Evidence, start: Tensor, settings: CompletionSettings
) -> list[Term]:
    """The three terms; codes near `start` `[C]` are likely."""
    _, covariance = field.statistics()
    prior = gaussian_term(start, covariance, settings.prior_weight)
    return [*data_terms(field, seen, settings), prior]


def data_terms(field: LatentField, seen: Evidence, settings: CompletionSettings) -> list[Term]:
    """What the depth image says."""
    return [
        distance_term(field, seen.points, seen.distances),
        outside_term(field, seen.free, weight=settings.free_weight),
    ]


def evidence(view: DepthView, settings: CompletionSettings) -> Evidence:
    """Points on both sides of what is seen, and points in free space."""
    generator = torch.Generator().manual_seed(settings.seed)
    noise = depth_noise(view)
    offset = max(settings.offset, NOISY_OFFSET * noise)
    points = view.points()
    some = torch.randperm(len(points), generator=generator)[: settings.surface]
    p = points[some]
    n = normals(points, p, view, noise)
    p = smoothed(points, p, view, noise)
    sides = torch.cat((p + offset * n, p - offset * n))
    distances = torch.full((len(p),), offset)
    free = free_space(view, settings.free, 2 * offset + 2 * noise, generator)
    # in no order: what is looked at first is a fair part of it
    mixed = torch.randperm(len(sides), generator=generator)
    return Evidence(sides[mixed], torch.cat((distances, -distances))[mixed], free, noise)


def depth_noise(view: DepthView) -> float:
    """Standard deviation of a depth's noise, canonical units."""
    return picture_noise(view.depths.double()[None, ..., None], view.seen[None])


def smoothed(points: Tensor, at: Tensor, view: DepthView, noise: float) -> Tensor:
    """`at` `[Q, 3]`, moved along their rays to the middle of their neighbours in `points` `[P, 3]`.

    Canonical frame.

    Only where the depths are noisy: means of few depths are less so, and thin parts stay in place
    beside each other.
    """
    if noise < NOISY_PIXELS * pixel_size(points, view):
        return at
    middle = neighbors(points, at, NORMAL_OF[0]).mean(1)
    rays = normalize(at - view.camera.centers[0], dim=-1)
    return at + ((middle - at) * rays).sum(-1, keepdim=True) * rays


def neighbors(points: Tensor, at: Tensor, count: int) -> Tensor:
    """`[Q, ≤ count, 3]` the nearest of `points` `[P, 3]` to each of `at` `[Q, 3]`, in one frame."""
    _, ids = KDTree(points.numpy()).query(at.numpy(), np.arange(1, min(count, len(points)) + 1))
    return points[torch.from_numpy(np.asarray(ids, dtype=np.int64))]


def pixel_size(points: Tensor, view: DepthView) -> float:
    """Distance of neighbours on a surface at `points` `[P, 3]` seen head-on, canonical units."""
    eye = view.camera.centers[0]
    return float((points - eye).norm(dim=-1).mean() / view.camera.Ks[0, 0, 0])


def normals(points: Tensor, at: Tensor, view: DepthView, noise: float) -> Tensor:
    """Unit normals `[Q, 3]` of the surface through `points` `[P, 3]` at some of them, to the eye.

    Of the plane through the neighbours: as many as there are within 2.5 pixels on a surface seen
    head-on, or 3 standard deviations of the noise.
    """
    eye = view.camera.centers[0]
    pixel = pixel_size(points, view)
    radius = max(2.5 * pixel, 3 * noise)
    around = neighbors(points, at, int(np.clip(np.pi * (radius / pixel) ** 2, *NORMAL_OF)))
    arms = around - around.mean(1, keepdim=True)
    _, axes = torch.linalg.eigh((arms.mT @ arms).double())  # ascending
    n = axes[..., 0].to(at)
    toward = ((eye - at) * n).sum(-1, keepdim=True)
    return torch.where(toward < 0, -n, n)


def free_space(view: DepthView, count: int, margin: float, generator: torch.Generator) -> Tensor:
    """`[F, 3]` points of the padded box before what is seen, and on rays that meet nothing.

    Args:
        view: the depth image.
        count: of points; fewer where the image shows no free space of the box.
        margin: that they keep from the surface.
        generator: of the choice.
    """
    rays_o, rays_d = (x.reshape(-1, 3) for x in view.camera.rays())
    near, far, _ = box_interval(rays_o, rays_d, torch.tensor(PADDED_BOX))
    forward = rays_d @ view.camera.c2w[0, :3, 2]
    depths = view.depths.reshape(-1)
    t = torch.where(depths.isinf(), far, depths / forward - margin)
    end = torch.minimum(t, far)
    open_ids = ((end > near) & ~depths.isnan()).nonzero()[:, 0]
    if not len(open_ids):
        return rays_o[:0]
    # rays in proportion to how much of the box they clear, so that points are spread evenly
    length = (end - near)[open_ids]
    chosen = open_ids[torch.multinomial(length, count, replacement=True, generator=generator)]
    share = torch.rand(count, generator=generator)
    at = torch.lerp(near[chosen], end[chosen], share)
    return rays_o[chosen] + at[:, None] * rays_d[chosen]
