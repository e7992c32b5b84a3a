"""The level of a network's lattices with which its pictures agree best.

What a network cannot know it says between yes and no: its distances are small there, and hardly
like distances. Where the surface lies is then a matter of hundredths of a cell, and what is best
for the loss is not best for pictures. So the surface of a finished network is put where the
silhouettes of objects that were held out differ least from the true ones, by their pictures alone.
"""

from __future__ import annotations

import torch
from scipy.optimize import minimize_scalar

from sdfrender import Lattice, render
from singleview.data.dataset import Dataset, ObjectViews, spread_views
from singleview.training.validate import PICTURES, Network, lattices

REACH = 0.5  # levels are looked for up to so many cells from zero
TOLERANCE = 0.01  # cells


def difference_from(lattice: Lattice, views: ObjectViews, v: int) -> float:
    """Squared difference of a lattice's silhouette from that of view v, over its coverage."""
    true = views.silhouettes[v]
    seen = render(lattice, views.cameras[v]).silhouettes[0]
    return float(((seen - true) ** 2).mean() / true.mean().clamp(min=0.01))


@torch.no_grad()
def best_level(network: Network, dataset: Dataset, device: torch.device) -> float:
    """The level, world units, whose surfaces have the silhouettes of objects from other views.

    Least squared difference of coverage over the true coverage, mean over objects and views. Not
    differentiable.

    Args:
        network: images `[B, H, W, C]` to values `[B, R, R, R]`.
        dataset: of objects that the network did not learn from.
        device: of the network.
    """
    shown = spread_views(dataset.views, PICTURES)
    other = [(v + dataset.views // 3) % dataset.views for v in shown]
    items = [dataset[i] for i in range(len(dataset))]
    predicted = [lattices(network, x.views.images[shown].to(device)).cpu() for x in items]
    cell = float((dataset.bounds[1] - dataset.bounds[0]).max()) / (predicted[0].shape[-1] - 1)

    def difference(level: float) -> float:
        found = [
            difference_from(Lattice(value - cell * level, dataset.bounds), item.views, v)
            for item, values in zip(items, predicted, strict=True)
            for value, v in zip(values, other, strict=True)
        ]
        return sum(found) / len(found)

    found = minimize_scalar(
        difference, bounds=(-REACH, REACH), method="bounded", options={"xatol": TOLERANCE}
    )
    return cell * float(found.x)
