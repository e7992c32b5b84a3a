"""Whether photographs predict each other better than a model of colour and light predicts them.

Where texture is finer than a lattice of colours can hold, or light is not what the model has,
neighbouring photographs know what the model does not. Both are measured alike, on one surface, in
patches with a mean of 0 and a variance of 1: the variance of their residuals, `2 (1 − ZNCC)`, at
the median of the pixels that neighbours can be compared at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.stereo.agreement import SIZE, agreement
from multiview.stereo.matching import Matching
from multiview.stereo.pictures import channel_of
from sdfrender import Lattice

SOME = 16  # views, from all sides, are enough
AGREE = 0.8  # ZNCC of pixels at which photographs agree
FAR, SEEN = 5.0, 0.05  # an error is far more than elsewhere: times the median, and of full scale


class Unpredicted(NamedTuple):
    """Variance of the residuals of normalised patches; 2 where nothing is alike.

    Args:
        neighbours: of photographs, as their neighbours predict them.
        model: as colours and light do.
        share: of the pixels inside the masks: so many could be compared.
        missed: of those at which photographs agree: so many have a colour that the model misses by
            far more than it does elsewhere. Shadows and highlights that move are such.
    """

    neighbours: float
    model: float
    share: float
    missed: float


def unpredicted(lattice: Lattice, targets: Targets, appearance: Appearance) -> Unpredicted:
    """What neighbours, and what the model, leave of photographs. Not differentiable.

    Args:
        lattice: the surface.
        targets: all training views.
        appearance: colour, light and lens, fitted to this surface.
    """
    shown = targets.within(SIZE)
    some = take_turns(shown.cameras, lattice.bounds.mean(0), SOME)[0]
    agreed = agreement(lattice, targets, some)
    place = np.nonzero(agreed.compared[some])
    if not len(place[0]):
        return Unpredicted(2.0, 2.0, 0.0, 0.0)
    with torch.no_grad():
        out = appearance.render(lattice, shown[some])
        images = appearance.photograph(out.images).expand_as(shown.images[some])
    channel = channel_of(shown)
    like = correlations(images @ channel, shown.images[some] @ channel, Matching()).numpy()
    h, w = agreed.maps.shape[1:]
    rows, columns = (  # of the photographs
        ((x + 0.5) * full / small).astype(int)
        for x, full, small in zip(place[1:], like.shape[1:], (h, w), strict=True)
    )
    scores = agreed.maps[some][place], like[place[0], rows, columns]
    neighbours, model = (2 * (1 - float(np.median(x))) for x in scores)
    share = agreed.share(targets.views[some].tolist()) or 0.0
    off = (images - shown.images[some]).abs()
    off[shown[some].at_most(images)] = 0
    misses = off.mean(-1).numpy()[place[0], rows, columns]
    alike = scores[0] > AGREE
    far = misses[alike] > max(FAR * float(np.median(misses)), SEEN)
    return Unpredicted(neighbours, model, share, float(far.mean()) if len(far) else 0.0)


def correlations(a: Tensor, b: Tensor, matching: Matching) -> Tensor:
    """ZNCC of the patches about each pixel of two sets of pictures: `[N, H, W]` each, and of it.

    Patches are cut off at the frame.
    """
    size = 2 * matching.half + 1

    def mean(x: Tensor) -> Tensor:
        padding = matching.half
        return avg_pool2d(x[:, None], size, 1, padding, count_include_pad=False)[:, 0]

    a, b = a.double(), b.double()
    middle_a, middle_b = mean(a), mean(b)
    product = mean(a * b) - middle_a * middle_b
    least = matching.floor**2
    first = (mean(a * a) - middle_a**2).clamp(min=0) + least
    second = (mean(b * b) - middle_b**2).clamp(min=0) + least
    return product / (first * second).sqrt()
