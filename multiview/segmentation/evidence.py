"""What each pixel says: log-odds of the object, by its colour and by the surface behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from multiview.segmentation.photograph import Array, Floats, Mask, Photograph
from multiview.segmentation.support import Support
from sdfrender.masks.colors import colour_bins, histogram

MOST = 4.0  # log-odds that a colour, or a difference, may give
STEPS = 40  # of the histogram of differences
WIDEST = 0.5  # difference that fills its last step


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the pixels `[H, W]` of N photographs say.

    Args:
        colour: log-odds of the object by the colour.
        support: log-odds of the object by the look of the surface behind, 0 where that is unknown.
        bins: of the colours.
        outside: pixels that are taken for background.
    """

    colour: list[Floats]
    support: list[Floats]
    bins: list[NDArray[np.intp]]
    outside: list[Mask]

    def total(self, n: int) -> Floats:
        """Log-odds of one photograph's pixels."""
        return self.colour[n] + self.support[n]

    def learned_again(self, own: list[Mask]) -> Evidence:
        """The same with colours of the object learned from other pixels, `[H, W]` each."""
        return replace(self, colour=_by_colour(self.bins, own, self.outside))


def weigh(
    photographs: list[Photograph],
    support: Support | None,
    own: list[Mask],
    outside: list[Mask],
) -> Evidence:
    """What the pixels say, learned from those that are taken for object and for background.

    The object has one histogram of colours in all photographs, each background its own.

    Args:
        photographs: N of them.
        support: what the object stands on, if that is known.
        own: `[H, W]` each, pixels that are taken for object.
        outside: `[H, W]` each, pixels that are taken for background.
    """
    gains = support.gains if support is not None else np.ones((len(photographs), 3))
    bins = [
        colour_bins(photo.image / gain.astype(np.float32))
        for photo, gain in zip(photographs, gains, strict=True)
    ]
    by_support = _by_support(photographs, support, own, outside)
    return Evidence(_by_colour(bins, own, outside), by_support, bins, outside)


def _by_colour(bins: list[NDArray[np.intp]], own: list[Mask], outside: list[Mask]) -> list[Floats]:
    """Log-odds by colours."""
    object_ = histogram(bins, [mask.astype(np.float32) for mask in own])
    away = [mask.astype(np.float32) for mask in outside]
    everywhere = histogram(bins, away)
    return [
        _clipped(np.log(object_ / (0.5 * (histogram([b], [w]) + everywhere)))[b])
        for b, w in zip(bins, away, strict=True)
    ]


def _by_support(
    photographs: list[Photograph],
    support: Support | None,
    own: list[Mask],
    outside: list[Mask],
) -> list[Floats]:
    """Log-odds by how far pixels are from the look of the surface behind them."""
    if support is None:
        return [np.zeros(photo.shape, np.float32) for photo in photographs]
    found = [support.difference(photographs, n) for n in range(len(photographs))]
    steps = [(d / WIDEST * STEPS).astype(int).clip(0, STEPS - 1) for d, _ in found]
    counts = [np.ones(STEPS), np.ones(STEPS)]
    for step, (_, known), *parts in zip(steps, found, own, outside, strict=True):
        for count, part in zip(counts, parts, strict=True):
            count += np.bincount(step[known & part], minlength=STEPS)
    object_, background = (_smooth(count) for count in counts)
    odds = np.log(object_ / background)
    return [
        np.where(known, _clipped(odds[step]), 0).astype(np.float32)
        for step, (_, known) in zip(steps, found, strict=True)
    ]


def _smooth(counts: Array) -> Array:
    share = ndimage.gaussian_filter1d(counts / counts.sum(), 1.0, mode="nearest")
    found: Array = share + 0.01 / STEPS
    return found


def _clipped(odds: Array | Floats) -> Floats:
    return odds.clip(-MOST, MOST).astype(np.float32)
