"""What each pixel says: log-odds of the object, by its colour and by the surface behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from multiview.segmentation.colors import colour_bins, histogram
from multiview.segmentation.photograph import Array, Floats, Mask, Photograph
from multiview.segmentation.support import Support

MOST = 4.0  # log-odds that a colour, or a difference, may give
STEPS = 40  # of the histogram of differences
WIDEST = 0.5  # difference that fills its last step


@dataclass(frozen=True, eq=False)
class Evidence:
    """Log-odds `[H, W]` of the object in each of N photographs, split by where they come from."""

    colour: list[Floats]
    support: list[Floats]

    def total(self, n: int) -> Floats:
        """Of one photograph."""
        return self.colour[n] + self.support[n]


def weigh(
    photographs: list[Photograph],
    support: Support | None,
    inside: list[Mask],
    outside: list[Mask],
) -> Evidence:
    """What the pixels say, learned from those that are taken for object and for background.

    The object has one histogram of colours in all photographs, each background its own.

    Args:
        photographs: N of them.
        support: what the object stands on, if that is known.
        inside: `[H, W]` each, pixels that are taken for object.
        outside: `[H, W]` each, pixels that are taken for background.
    """
    gains = support.gains if support is not None else np.ones((len(photographs), 3))
    bins = [
        colour_bins(photo.image / gain.astype(np.float32))
        for photo, gain in zip(photographs, gains, strict=True)
    ]
    own = histogram(bins, [x.astype(np.float32) for x in inside])
    everywhere = histogram(bins, [x.astype(np.float32) for x in outside])
    colour = []
    for b, out in zip(bins, outside, strict=True):
        there = 0.5 * (histogram([b], [out.astype(np.float32)]) + everywhere)
        colour.append(_clipped(np.log(own / there)[b]))
    return Evidence(colour, _by_support(photographs, support, inside, outside))


def _by_support(
    photographs: list[Photograph],
    support: Support | None,
    inside: list[Mask],
    outside: list[Mask],
) -> list[Floats]:
    """Log-odds by how far pixels are from the look of the surface behind them."""
    if support is None:
        return [np.zeros(photo.shape, np.float32) for photo in photographs]
    found = [support.difference(photographs, n) for n in range(len(photographs))]
    steps = [(d / WIDEST * STEPS).astype(int).clip(0, STEPS - 1) for d, _ in found]
    counts = [np.ones(STEPS), np.ones(STEPS)]
    for step, (_, known), *parts in zip(steps, found, inside, outside, strict=True):
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
