"""The command `singleview render-dataset`."""

from __future__ import annotations

import json
from typing import Annotated

import tyro

from sdfrender.cluster.settings import SchedulerSettings
from sdfrender.options import AsJson
from singleview.settings.datasets import RenderDatasetConfig


def command(
    config: Annotated[RenderDatasetConfig, tyro.conf.arg(name="")],
    cluster: Annotated[SchedulerSettings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    as_json: AsJson = False,
) -> None:
    """Photograph meshes from all around: a dataset to train and evaluate on.

    Every object is turned upright (alignment.json), centred and scaled to a longest side of 1.5 in
    the box [-1, 1]³, y up, and ray traced. The folder gets a file per object with images, masks and
    true distances, dataset.json with cameras, light and split, and a picture of each category to
    look at. When it is interrupted, the same command goes on where it stopped.

    Example: singleview render-dataset meshes --out data/five --categories chair table

    Args:
        config: the options.
        cluster: where the work is done, if not here.
        as_json: Print the number of objects per split and category as JSON.
    """
    from singleview.data.meshes import by_category
    from singleview.from_meshes.render_dataset import render_dataset

    splits = render_dataset(config, cluster).splits
    counts = {
        category: {s: [splits[n] for n in names].count(s) for s in ("train", "val", "test")}
        for category, names in by_category(list(splits)).items()
    }
    if as_json:
        print(json.dumps(counts, indent=2))
        return
    for category, count in counts.items():
        print(f"{category}: " + ", ".join(f"{n} {split}" for split, n in count.items()))
    print(f"wrote {config.out}; look at its pictures")
