"""How sure a mean over objects is: bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

DRAWS, SHARE = 4000, 0.95


def interval(
    objects: Mapping[str, Mapping[str, float]], groups: Sequence[Sequence[str]], measure: str
) -> tuple[float, float] | None:
    """The 95% bootstrap interval of a mean over groups of means over objects.

    Objects are drawn again within their group, with repetition (Efron's percentile interval).

    Args:
        objects: measures of each object.
        groups: names of the objects of each category.
        measure: which one; objects without it do not count.

    Returns:
        Low and high; None where no group has two objects with the measure.
    """
    rng = np.random.default_rng(0)
    values = [[objects[n][measure] for n in names if measure in objects[n]] for names in groups]
    known = [np.array(x) for x in values if x]
    if not any(len(x) > 1 for x in known):
        return None
    means = np.mean([rng.choice(x, (DRAWS, len(x))).mean(1) for x in known], 0)
    low, high = np.quantile(means, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def intervals(
    objects: Mapping[str, Mapping[str, float]],
    groups: Sequence[Sequence[str]],
    measures: Sequence[str],
) -> dict[str, tuple[float, float]]:
    """The intervals of all measures that have one; see `interval`."""
    found = {measure: interval(objects, groups, measure) for measure in measures}
    return {measure: pair for measure, pair in found.items() if pair is not None}
