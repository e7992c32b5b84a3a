"""How likely a colour is, as smoothed histograms tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sdfrender.files.images import Image
from sdfrender.masks.silhouettes import Floats

BINS = 24  # a channel
SMOOTHING = 0.8  # bins
DOUBT = 0.05  # share of a histogram that is every colour alike


def colour_bins(image: Image) -> NDArray[np.intp]:
    """`[...]` the bin of each colour `[..., 3]` in [0, 1]."""
    b = (image * BINS).astype(np.intp).clip(0, BINS - 1)
    found: NDArray[np.intp] = (b[..., 0] * BINS + b[..., 1]) * BINS + b[..., 2]
    return found


def histogram(bins: Sequence[NDArray[np.intp]], weights: Sequence[Floats]) -> Floats:
    """`[B³]` probabilities of the colours of weighted pixels; all alike where no pixel counts."""
    counts = np.zeros(BINS**3)
    for b, w in zip(bins, weights, strict=True):
        counts += np.bincount(b.ravel(), w.ravel(), BINS**3)
    smooth = ndimage.gaussian_filter(counts.reshape(BINS, BINS, BINS), SMOOTHING).ravel()
    even = 1 / BINS**3
    total = smooth.sum()
    share = smooth / total if total > 0 else np.full(BINS**3, even)
    found: Floats = ((1 - DOUBT) * share + DOUBT * even).astype(np.float32)
    return found
