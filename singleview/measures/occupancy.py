"""How good occupancy is: intersection over union on random points, thresholds, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sdfrender.meshes.metrics import occupancy_iou
from sdfrender.meshes.mise import Extraction, mise
from singleview.data.samples import PADDED_BOX
from singleview.measures.shape_pictures import draw_fields
from singleview.models.encoders import Code
from singleview.models.occupancy import OccupancyNetwork, logit

THRESHOLDS = tuple(round(0.05 * n, 2) for n in range(1, 20))  # τ that are tried: .05 to .95
CHUNK = 1 << 14  # points that go through a decoder together; bounds memory


@torch.no_grad()
def logits_at(model: OccupancyNetwork, code: Code, points: Tensor) -> Tensor:
    """Logits `[P]`, on the CPU, of one object at `points` `[P, 3]`."""
    device = code.vector.device
    parts = torch.split(points, CHUNK)
    return torch.cat([model.decoder(p.to(device)[None], code)[0].float().cpu() for p in parts])


def iou_at(logits: Tensor, inside: Tensor, threshold: float) -> float:
    """Intersection over union of predicted and true occupancy; 1 if both are empty.

    Args:
        logits: `[P]` of the network.
        inside: `[P]` bool, the truth at the same points.
        threshold: τ in (0, 1); occupied is what is above it.

    Worked value: half of the solid's points found and no others: 0.5.
    """
    return float(occupancy_iou(logits > logit(threshold), inside, axes=1))


def best_threshold(objects: Sequence[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """The threshold τ with the best mean IoU over objects, and that IoU.

    Args:
        objects: of each, logits `[P]` and true occupancy `[P]` bool.
    """
    scores = [
        sum(iou_at(logits, inside, t) for logits, inside in objects) / len(objects)
        for t in THRESHOLDS
    ]
    best = max(range(len(scores)), key=scores.__getitem__)
    return THRESHOLDS[best], scores[best]


def extract(
    model: OccupancyNetwork, code: Code, threshold: float, coarse: int = 32, levels: int = 2
) -> Extraction:
    """The surface of one object in the padded box, by MISE.

    Raises:
        InputError: no occupancy above the threshold.
    """
    return mise(model.field(code, threshold), PADDED_BOX, coarse, levels)


def draw_objects(path: Path, model: OccupancyNetwork, codes: Sequence[Code]) -> None:
    """A picture with a row of views for each of some objects; black where nothing is occupied."""
    draw_fields(path, [model.field(code, 0.5) for code in codes])
