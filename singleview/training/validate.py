"""How good a network is in the course of its training, in numbers and in a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sdfrender import Lattice, render
from sdfrender.meshes.metrics import occupancy_iou, silhouette_iou
from singleview.augment.symmetry import agreeing
from singleview.data.dataset import Dataset, spread_views
from singleview.pictures.contact_sheet import write_picture

Network: TypeAlias = Callable[[Tensor], Tensor]  # images [B, H, W, C] to values [B, R, R, R]
CHUNK = 48  # pictures that go through the network together
SHOWN_OBJECTS, SHOWN_VIEWS = 8, 3  # in the picture of predictions
PICTURES = 6  # of each object that validation looks at


@torch.no_grad()
def lattices(network: Network, images: Tensor) -> Tensor:
    """Distances `[B, R, R, R]`, float32, of pictures `[B, H, W, C]`, linear over black.

    The mean of the prediction and of the mirrored prediction of the mirrored picture: that one is
    as good, and its errors are not the same. In which plane to mirror it, the two tell themselves.
    """
    parts = []
    for x in torch.split(images, CHUNK):
        straight, turned = network(x).float(), network(x.flip(2)).float()
        parts.append((straight + agreeing(straight, turned)) / 2)
    return torch.cat(parts)


def shown_and_asked(views: int) -> tuple[list[int], list[int]]:
    """`PICTURES` of each object that a network is shown, and one to compare with for each."""
    shown = spread_views(views, PICTURES)
    return shown, [(v + views // 3) % views for v in shown]


@torch.no_grad()
def predicted(network: Network, dataset: Dataset, device: torch.device) -> list[Tensor]:
    """What a network says of `PICTURES` of each object, `[PICTURES, R, R, R]` on the CPU."""
    shown, _ = shown_and_asked(dataset.views)
    items = (dataset[i] for i in range(len(dataset)))
    return [lattices(network, item.views.images[shown].to(device)).cpu() for item in items]


def validate(network: Network, dataset: Dataset, device: torch.device) -> dict[str, float]:
    """`scores` of what a network says."""
    return scores(predicted(network, dataset, device), dataset)


@torch.no_grad()
def scores(predictions: Sequence[Tensor], dataset: Dataset) -> dict[str, float]:
    """Mean scores over objects and `PICTURES` input views.

    Args:
        predictions: of each object, as `predicted` makes them.
        dataset: the objects.

    Returns:
        `iou_32` and `iou_64`, volumetric, if the true shapes are known, and `silhouette_iou` of a
        view that is not the input.
    """
    scores: dict[str, list[float]] = {}
    _, asked = shown_and_asked(dataset.views)
    for i, values in enumerate(predictions):
        item = dataset[i]
        if item.values is not None:
            for resolution in (32, 64):
                inside = resampled(values, resolution) < 0
                true = resampled(item.values[None], resolution) < 0
                scores.setdefault(f"iou_{resolution}", []).append(
                    float(occupancy_iou(inside, true).mean())
                )
        seen = torch.cat(
            [
                render(Lattice(v, dataset.bounds), item.views.cameras[n]).silhouettes
                for v, n in zip(values, asked, strict=True)
            ]
        )
        true = item.views.silhouettes[asked]
        scores.setdefault("silhouette_iou", []).append(silhouette_iou(seen, true))
    return {name: sum(of_objects) / len(of_objects) for name, of_objects in scores.items()}


def resampled(values: Tensor, resolution: int) -> Tensor:
    """Distances `[N, R, R, R]` at another resolution `[N, r, r, r]`, trilinearly; float32."""
    size = (resolution,) * 3
    grown = interpolate(values[:, None].float(), size=size, mode="trilinear", align_corners=True)
    return grown[:, 0]


@torch.no_grad()
def draw_predictions(path: Path, network: Network, dataset: Dataset, device: torch.device) -> None:
    """A picture with a row per object: input | predicted views | true views.

    Args:
        path: of the PNG file.
        network: images to values.
        dataset: of which the first few objects are shown.
        device: of the network.
    """
    count = min(SHOWN_OBJECTS, len(dataset))
    shown = [round(i * (len(dataset) - 1) / max(count - 1, 1)) for i in range(count)]
    views = [round(n * dataset.views / (SHOWN_VIEWS + 1)) for n in range(1, SHOWN_VIEWS + 1)]
    rows = []
    for i in shown:
        item = dataset[i]
        images = item.views.images
        values = lattices(network, images[:1].to(device)).cpu()
        cameras = item.views.cameras[views]
        out = render(Lattice(values[0], dataset.bounds), cameras, lighting=dataset.lighting)
        predicted = out.images.expand(-1, -1, -1, images.shape[-1])
        bar = torch.full_like(images[0, :, :2], 0.3)
        parts = [images[0], bar, *predicted, bar, *images[views]]
        rows.append(torch.cat(parts, 1))
    write_picture(path, torch.cat(rows))
