"""The cheapest division of a picture in two: a minimum cut on its grid of pixels.

Y. Boykov, M.-P. Jolly: "Interactive graph cuts for optimal boundary & region segmentation of
objects in N-D images". The energy is the sum over pixels of what their label costs, and over
neighbours (8) with different labels of

    smoothness exp(−|difference of colour|² / 2 mean |difference|²) / distance
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from sdfrender.files.images import Image
from sdfrender.masks.silhouettes import Floats, Mask

UNIT = 1000  # of cost, in whole numbers
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


def cut(evidence: Floats, image: Image, smoothness: float) -> Mask:
    """Which pixels are object.

    Args:
        evidence: `[H, W]` what calling a pixel background costs more than calling it object;
            log-odds of the object.
        image: `[H, W, C]` in [0, 1].
        smoothness: cost of an outline's pixel where colours do not differ.

    Returns:
        `[H, W]` bool.
    """
    shape = evidence.shape
    pixels = int(np.prod(shape))
    source, sink = pixels, pixels + 1
    first, second, costs = _between(image, smoothness)
    flat = np.rint(evidence.ravel() * UNIT).astype(np.int32)
    more, less = np.flatnonzero(flat > 0), np.flatnonzero(flat < 0)
    tails = np.concatenate((first, second, np.full(len(more), source), less))
    heads = np.concatenate((second, first, more, np.full(len(less), sink)))
    capacities = np.concatenate((costs, costs, flat[more], -flat[less]))
    graph = sparse.csr_matrix(
        (capacities, (tails, heads)), shape=(pixels + 2, pixels + 2), dtype=np.int32
    )
    left = graph - maximum_flow(graph, source, sink).flow
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    reached = breadth_first_order(left, source, return_predecessors=False)
    side = np.zeros(pixels + 2, bool)
    side[reached] = True
    found: Mask = side[:pixels].reshape(shape)
    return found


def _between(
    image: Image, smoothness: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Pairs of neighbouring pixels, and what parting them costs."""
    height, width = image.shape[:2]
    ids = np.arange(height * width, dtype=np.int32).reshape(height, width)
    pairs = []
    for down, right in NEIGHBOURS:
        one = slice(0, height - down), slice(max(0, -right), width - max(0, right))
        other = slice(down, height), slice(max(0, right), width + min(0, right))
        apart = ((image[one] - image[other]) ** 2).sum(-1)
        pairs.append((ids[one].ravel(), ids[other].ravel(), apart.ravel(), np.hypot(down, right)))
    mean = max(float(np.mean(np.concatenate([p[2] for p in pairs]))), 1e-9)
    costs = [
        np.rint(UNIT * smoothness * np.exp(-apart / (2 * mean)) / distance).astype(np.int32)
        for _, _, apart, distance in pairs
    ]
    return (
        np.concatenate([p[0] for p in pairs]),
        np.concatenate([p[1] for p in pairs]),
        np.concatenate(costs),
    )
