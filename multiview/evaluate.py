"""How good a fit is: renderings against photographs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multiview.appearance import Appearance
from multiview.optimize.targets import Targets
from sdfrender import Lattice, metrics


@dataclass(frozen=True)
class ViewScore:
    """One view: PSNR of the colour inside the mask in dB, IoU of the silhouettes at ½."""

    psnr: float
    silhouette_iou: float


def score_views(lattice: Lattice, appearance: Appearance, targets: Targets) -> list[ViewScore]:
    """Render each view at the size of its photograph and compare.

    The PSNR is over the pixels of the photograph's mask, the IoU over all pixels of the frame.
    """
    return [
        score_view(*predict(lattice, appearance, targets, view), targets, view)
        for view in range(len(targets.cameras))
    ]


def predict(
    lattice: Lattice, appearance: Appearance, targets: Targets, view: int
) -> tuple[Tensor, Tensor]:
    """Image `[H, W, C]` and silhouette `[H, W]` of one view."""
    with torch.no_grad():
        out = appearance.render(lattice, targets.cameras[view])
    image = appearance.photograph(out.images)[0].clamp(0, 1).expand_as(targets.images[view])
    return image, out.silhouettes[0]


def score_view(image: Tensor, silhouette: Tensor, targets: Targets, view: int) -> ViewScore:
    """Compare one view's rendering with its photograph."""
    mask = targets.silhouettes[view]
    return ViewScore(
        psnr=metrics.psnr(image, targets.images[view], mask=mask > 0.5),
        silhouette_iou=metrics.silhouette_iou(silhouette, mask),
    )


def mean_scores(scores: list[ViewScore]) -> dict[str, float]:
    """Means over views, as `metrics.json` has them."""
    return {
        "psnr": sum(s.psnr for s in scores) / len(scores),
        "silhouette_iou": sum(s.silhouette_iou for s in scores) / len(scores),
    }
