"""Which objects a run's report shows, and by what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdfrender.latent.field import LatentField
from singleview.data.distances import open_distances
from singleview.data.open import open_dataset, open_samples
from singleview.data.samples import HALF_PADDED_BOX
from singleview.models import OccupancyNetwork
from singleview.models.observations import Observer, same_objects
from singleview.predict.occupancy import OccupancyPredictor
from singleview.predict.predict import load_predictor
from singleview.report.family import Family
from singleview.report.gallery import Gallery, Pictures, Points
from singleview.settings.choices import Split
from singleview.training.checkpoint import load_model


def open_gallery(
    run: Path, settings: dict[str, Any], split: Split | None, views: int, refine: bool = True
) -> Gallery:
    """The objects that a run's report shows.

    Args:
        run: the run's folder, with weights.
        settings: those of its `config.json`.
        split: of the objects. Default: test if there is one, else val, else train.
        views: observations of each object that are judged.
        refine: see `load_predictor`.

    Raises:
        InputError: no weights, or objects that cannot be read or judged.
    """
    folder = Path(settings["dataset"])
    if settings.get("model") == "deepsdf":
        distances = open_distances(folder, "disk")
        split = _split(distances.splits, split)
        return Family(LatentField.load(run), distances.split(split), split)
    model, about = load_model(run)
    if isinstance(model, OccupancyNetwork):
        return _points(OccupancyPredictor.of(model, about, run), about, folder, split, views)
    dataset = open_dataset(folder, settings.get("image_size"))
    split = _split(dataset.splits, split)
    return Pictures(load_predictor(run, refine), dataset.split(split), split, views)


def _points(
    predictor: OccupancyPredictor,
    about: dict[str, Any],
    folder: Path,
    split: Split | None,
    views: int,
) -> Points:
    kind = predictor.model.shape.input
    samples, pictures = open_samples(folder, "disk"), None  # few are looked at
    if kind == "image":
        pictures, samples = same_objects(open_dataset(folder), samples)
    split = "train" if kind == "index" else _split(samples.splits, split)
    observer = Observer(
        kind,
        samples.split(split),
        None if pictures is None else pictures.split(split),
        predictor.cloud,
        float(about["observations"]["noise"]),
        predictor.voxels,
        float(about["observations"].get("half", HALF_PADDED_BOX)),
    )
    return Points(predictor, observer, split, views)


def _split(splits: Sequence[Split], wanted: Split | None) -> Split:
    if wanted is not None:
        return wanted
    order: tuple[Split, ...] = ("test", "val", "train")
    return next(split for split in order if split in splits)
