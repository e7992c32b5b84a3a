"""The minimum cut against all divisions of a small picture."""

import itertools

import numpy as np

from sdfrender.masks.cut import cut


def energy(mask: np.ndarray, evidence: np.ndarray, image: np.ndarray, smoothness: float) -> float:
    """As the module's docstring writes it, pair by pair."""
    height, width = mask.shape
    pairs = []
    for y, x in np.ndindex(height, width):
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            if y + dy < height and 0 <= x + dx < width:
                apart = float(((image[y, x] - image[y + dy, x + dx]) ** 2).sum())
                pairs.append((mask[y, x] != mask[y + dy, x + dx], apart, float(np.hypot(dy, dx))))
    mean = np.mean([apart for _, apart, _ in pairs])
    edges = sum(np.exp(-a / (2 * mean)) / length for differ, a, length in pairs if differ)
    return float(-(evidence * mask).sum() + smoothness * edges)


def test_no_division_is_cheaper() -> None:
    random = np.random.default_rng(3)
    for smoothness in (0.0, 0.6, 2.0):
        evidence = random.normal(size=(3, 4)).astype(np.float32)
        image = random.random((3, 4, 3)).astype(np.float32)
        found = energy(cut(evidence, image, smoothness), evidence, image, smoothness)
        least = min(
            energy(np.array(bits).reshape(3, 4), evidence, image, smoothness)
            for bits in itertools.product((False, True), repeat=12)
        )
        assert abs(found - least) < 0.02  # costs are rounded to thousandths


def test_without_smoothness_each_pixel_decides() -> None:
    evidence = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    image = np.zeros((5, 7, 1), np.float32)
    assert (cut(evidence, image, 0.0) == (evidence > 0)).all()
