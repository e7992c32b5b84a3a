"""Trainings of a few steps on the tiny dataset."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from singleview_tiny import tiny_dataset

from singleview.config import TrainConfig
from singleview.data.dataset import Dataset
from singleview.data.layouts.folder import Manifest, object_file, write_manifest, write_object
from singleview.train import train


def write_dataset(folder: Path, dataset: Dataset | None = None) -> Path:
    """A dataset on disk."""
    dataset = dataset or tiny_dataset()
    cameras, lighting = dataset.shared_cameras, dataset.lighting
    assert cameras is not None
    assert lighting is not None
    for i, name in enumerate(dataset.names):
        item = dataset[i]
        file = object_file(folder, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        assert item.values is not None
        write_object(file, item.views.images, item.views.silhouettes, item.values)
    splits = dict(zip(dataset.names, dataset.splits, strict=True))
    write_manifest(folder, Manifest(splits, cameras, lighting, {}))
    return folder


def tiny_config(dataset: Path, out: Path, **changes: Any) -> TrainConfig:
    """A training of a few steps without made-up objects."""
    settings: dict[str, Any] = {
        "steps": 6,
        "batch": 4,
        "resolution": 12,
        "augment": "flip",
        "evaluate_every": 3,
        **changes,
    }
    return TrainConfig(dataset, out, **settings)


def train_tiny(dataset: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """`train` with `tiny_config`."""
    return train(tiny_config(dataset, out, **changes), quiet=True)


def read_rows(file: Path, without: tuple[str, ...] = ("seconds",)) -> list[dict[str, str]]:
    """The rows of a log, without what differs from run to run."""
    with file.open(newline="") as opened:
        return [{k: v for k, v in r.items() if k not in without} for r in csv.DictReader(opened)]
