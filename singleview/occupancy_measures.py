"""How good occupancy is: intersection over union on random points, thresholds, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sdfrender import Cameras, Directional, Headlight, InputError, Lighting, render
from sdfrender.extraction import Extraction, mise
from sdfrender.files import atomic_write
from sdfrender.pngs import write_png
from singleview.data.contact_sheet import encode_srgb
from singleview.data.samples import BOX
from singleview.models.encoders import Code
from singleview.models.occupancy import OccupancyNetwork, logit

THRESHOLDS = tuple(round(0.05 * n, 2) for n in range(1, 20))
CHUNK = 1 << 14
LIGHT = Lighting(headlight=Headlight(0.7), directional=(Directional((0.3, 0.8, 0.5), 0.3),))
SHOWN, SHOWN_VIEWS, SHOWN_SIZE = 3, 4, 96


@torch.no_grad()
def logits_at(model: OccupancyNetwork, code: Code, points: Tensor) -> Tensor:
    """Logits `[P]`, on the CPU, of one object at `points` `[P, 3]`."""
    device = code.vector.device
    parts = torch.split(points, CHUNK)
    return torch.cat([model.decoder(p.to(device)[None], code)[0].float().cpu() for p in parts])


def iou_at(logits: Tensor, inside: Tensor, threshold: float) -> float:
    """Intersection over union of predicted and true occupancy, both `[P]`; 1 if both are empty.

    Worked value: half of the solid's points found and no others: 0.5.
    """
    found = logits > logit(threshold)
    either = int((found | inside).sum())
    return int((found & inside).sum()) / either if either else 1.0


def best_threshold(objects: Sequence[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """The threshold τ with the best mean IoU over objects, and that IoU.

    Args:
        objects: logits and occupancy of each.
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
    return mise(model.field(code, threshold), BOX, coarse, levels)


@torch.no_grad()
def draw_objects(path: Path, model: OccupancyNetwork, codes: Sequence[Code]) -> None:
    """A picture with a row of views for each of some objects; black where nothing is occupied."""
    step = max(1, len(codes) // SHOWN)
    cameras = Cameras.orbit(SHOWN_VIEWS, width=SHOWN_SIZE)
    rows = []
    for code in codes[::step][:SHOWN]:
        try:
            lattice = extract(model, code, 0.5, coarse=24, levels=1).lattice.redistance()
        except InputError:
            rows.append(torch.zeros(SHOWN_SIZE, SHOWN_SIZE * SHOWN_VIEWS, 1))
            continue
        images = render(lattice, cameras, lighting=LIGHT).images
        rows.append(torch.cat(list(images[..., :1]), 1))
    picture = (torch.cat(rows).clamp(0, 1) * 255).round().byte().numpy()
    with atomic_write(path) as partial:
        write_png(partial, encode_srgb(picture))
