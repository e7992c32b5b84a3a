"""Which pairs of pictures are matched."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from multiview.photographs.extra import load_pycolmap
from multiview.photographs.mapping import Work

ALL = 150  # pictures, up to which every pair is matched
OVERLAP = 10  # pictures of a video after each one that it is matched with, then 2, 4, 8 … farther
ALIKE = 30  # pictures that each is matched with, where there are too many for all pairs
WORDS = 256  # of the vocabulary that pictures are compared by
LENGTH = 128  # of a descriptor
SAMPLES = 50_000  # features that it is made from

Pairs = list[tuple[str, str]]


def choose_pairs(work: Work, names: Sequence[str], ordered: bool) -> Pairs:
    """The pairs to match.

    Args:
        work: with features.
        names: of the pictures, in their order.
        ordered: neighbours in that order overlap, as in a video.
    """
    if ordered:
        return in_order(names)
    if len(names) <= ALL:
        return list(itertools.combinations(names, 2))
    return alike(names, histograms(work, names))


def in_order(names: Sequence[str]) -> Pairs:
    """Each with the next few, and with ever farther ones, for loops and slow motion."""
    steps = {*range(1, OVERLAP + 1)}
    steps |= {OVERLAP * 2**k for k in range(1, 20)}
    pairs = [
        (name, names[n + step])
        for n, name in enumerate(names)
        for step in sorted(steps)
        if n + step < len(names)
    ]
    ends = itertools.product(names[:OVERLAP], names[-OVERLAP:])  # where a walk around ends
    return sorted({*pairs, *(pair for pair in ends if pair[0] < pair[1])})


def alike(names: Sequence[str], words: NDArray[np.float64]) -> Pairs:
    """Each with those whose histograms `[N, W]` of words are the most alike, and its neighbours."""
    likeness = words @ words.T
    np.fill_diagonal(likeness, -np.inf)
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :ALIKE]
    pairs = {(min(i, int(j)), max(i, int(j))) for i in range(len(names)) for j in nearest[i]}
    pairs |= {(i, i + 1) for i in range(len(names) - 1)}
    return [(names[i], names[j]) for i, j in sorted(pairs)]


def histograms(work: Work, names: Sequence[str]) -> NDArray[np.float64]:
    """`[N, W]` unit vectors: how often a picture has each visual word, weighted by its rarity.

    Sivic and Zisserman, "Video Google" (ICCV 2003).
    """
    from scipy.cluster.vq import kmeans2, vq

    rng = np.random.default_rng(work.settings.seed)
    with load_pycolmap().Database.open(work.database) as database:
        ids = {image.name: image.image_id for image in database.read_all_images()}
        features = [
            np.asarray(database.read_descriptors(ids[name]).data, np.float32).reshape(-1, LENGTH)
            for name in names
        ]
    each = max(1, SAMPLES // len(names))
    some = [f[rng.choice(len(f), min(each, len(f)), replace=False)] for f in features if len(f)]
    sample = np.concatenate(some)
    words, _ = kmeans2(sample, min(WORDS, len(sample)), minit="points", seed=rng, missing="warn")
    counts = np.stack(
        [
            np.bincount(vq(f, words)[0] if len(f) else [], minlength=len(words)).astype(float)
            for f in features
        ]
    )
    rarity = np.log(len(names) / np.maximum(1, (counts > 0).sum(0)))
    weighted = np.sqrt(counts) * np.maximum(rarity, 0.05)
    lengths = np.linalg.norm(weighted, axis=1, keepdims=True)
    normalised: NDArray[np.float64] = weighted / np.where(lengths > 0, lengths, 1)
    return normalised
