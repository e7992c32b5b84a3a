"""The level of a network's lattices with which its pictures agree best.

What a network cannot know it says between yes and no: its distances are small there, and hardly
like distances. Where the surface lies is then a matter of hundredths of a cell, and what is best
for the loss is not best for pictures. So the surface of a finished network is put where the
silhouettes of objects that were held out differ least from the true ones, by their pictures alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from sdfrender import Lattice, render
from singleview.data.dataset import Dataset, ObjectViews
from singleview.training.validate import shown_and_asked

REACH = 0.5  # levels are looked for up to so many cells from zero
TOLERANCE = 0.01  # cells


def difference_from(lattice: Lattice, views: ObjectViews, v: int) -> float:
    """Squared difference of a lattice's silhouette from that of view v, over its coverage."""
    true = views.silhouettes[v]
    seen = render(lattice, views.cameras[v]).silhouettes[0]
    return float(((seen - true) ** 2).mean() / true.mean().clamp(min=0.01))


@torch.no_grad()
def best_level(predictions: Sequence[Tensor], dataset: Dataset) -> float:
    """The level, world units, whose surfaces have the silhouettes of objects from other views.

    Least squared difference of coverage over the true coverage, mean over objects and views. Not
    differentiable.

    Args:
        predictions: of each object, as `validate.predicted` makes them.
        dataset: of objects that the network did not learn from.
    """
    _, asked = shown_and_asked(dataset.views)
    views = [dataset[i].views for i in range(len(dataset))]
    cell = float((dataset.bounds[1] - dataset.bounds[0]).max()) / (predictions[0].shape[-1] - 1)

    def difference(level: float) -> float:
        found = [
            difference_from(Lattice(value - cell * level, dataset.bounds), of_object, v)
            for of_object, values in zip(views, predictions, strict=True)
            for value, v in zip(values, asked, strict=True)
        ]
        return sum(found) / len(found)

    found = minimize_scalar(
        difference, bounds=(-REACH, REACH), method="bounded", options={"xatol": TOLERANCE}
    )
    return cell * float(found.x)
