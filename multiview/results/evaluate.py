"""How good a fit is: renderings against photographs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from sdfrender import Lattice, metrics

NAMES = ("psnr", "psnr_full", "ssim", "silhouette_iou")  # in the order of `metrics.json`
TOGETHER = 1 << 21  # pixels of views that are rendered at once, about
SSIM_WINDOW = 11  # pixels; a smaller image has no SSIM


@dataclass(frozen=True)
class ViewScore:
    """How close one rendering comes to its photograph.

    Args:
        psnr: of the colour inside the mask, dB; NaN where it covers no pixel by more than half, as
            of an object that is thinner than a pixel.
        psnr_full: of the whole image over black, dB; NaN where no pixel's colour counts.
        ssim: of the whole image over black; None below 11 pixels on a side.
        silhouette_iou: of the silhouettes at ½; None where none is known.
        zncc: how well photographs agree over what the view sees (`multiview.stereo.agreement`);
            None where that was not asked.
    """

    psnr: float
    psnr_full: float
    ssim: float | None
    silhouette_iou: float | None
    zncc: float | None = None


def score_views(lattice: Lattice, appearance: Appearance, targets: Targets) -> list[ViewScore]:
    """Render each view at the size of its photograph and compare.

    `psnr` is over the pixels of the photograph's mask, `psnr_full` and the IoU over those whose
    colour counts; for `ssim` the others are black in both.
    """
    return [
        score_view(image, silhouette, some, view)
        for some in _groups(targets)
        for view, (image, silhouette) in enumerate(_rendered(lattice, appearance, some))
    ]


def predictions(
    lattice: Lattice, appearance: Appearance, targets: Targets
) -> Iterator[tuple[Tensor, Tensor]]:
    """Image `[H, W, C]` and silhouette `[H, W]` of each view."""
    for some in _groups(targets):
        yield from _rendered(lattice, appearance, some)


def _groups(targets: Targets) -> Iterator[Targets]:
    """Some views at a time: what the lattice needs to be seen at all is then made once for all."""
    cameras = targets.cameras
    together = max(1, TOGETHER // (cameras.width * cameras.height))
    for first in range(0, len(cameras), together):
        yield targets[range(first, min(first + together, len(cameras)))]


def _rendered(
    lattice: Lattice, appearance: Appearance, some: Targets
) -> Iterator[tuple[Tensor, Tensor]]:
    """What `predictions` returns, of views that are rendered at once."""
    with torch.no_grad():
        out = appearance.render(lattice, some)
    images = appearance.photograph(out.images).clamp(0, 1).expand_as(some.images)
    return zip(images, out.silhouettes, strict=True)


def score_view(image: Tensor, silhouette: Tensor, targets: Targets, view: int) -> ViewScore:
    """Compare one view's rendering with its photograph.

    Args:
        image: `[H, W, C]` premultiplied.
        silhouette: `[H, W]` coverage.
        targets: the photographs.
        view: which of them.
    """
    mask, photograph = targets.silhouettes[view], targets.images[view]
    known, inside = targets.image_weights[view] > 0.5, mask > 0.5
    large = min(known.shape) >= SSIM_WINDOW
    return ViewScore(
        psnr=metrics.psnr(image, photograph, mask=inside) if inside.any() else math.nan,
        psnr_full=metrics.psnr(image, photograph, mask=known) if known.any() else math.nan,
        ssim=metrics.ssim(image * known[..., None], photograph * known[..., None])
        if large
        else None,
        silhouette_iou=metrics.silhouette_iou(silhouette * known, mask * known)
        if targets.silhouette_weights[view].any()
        else None,
    )


def mean_scores(scores: list[ViewScore]) -> dict[str, float]:
    """Means over the views that have the score, as `metrics.json` has them; NaN where none has."""
    by_name = {name: [getattr(s, name) for s in scores] for name in NAMES}
    return {name: _mean(x) for name, x in by_name.items() if None not in x}


def _mean(numbers: list[float]) -> float:
    known = [x for x in numbers if not math.isnan(x)]
    return sum(known) / len(known) if known else math.nan
