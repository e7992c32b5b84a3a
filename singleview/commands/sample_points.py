"""The command `singleview sample-points`."""

from __future__ import annotations

import json
from typing import Annotated

import tyro

from sdfrender.cluster.settings import SchedulerSettings
from sdfrender.options import AsJson
from singleview.settings.datasets import SamplePointsConfig


def command(
    config: Annotated[SamplePointsConfig, tyro.conf.arg(name="")],
    cluster: Annotated[SchedulerSettings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    as_json: AsJson = False,
) -> None:
    """Sample occupancy in and around meshes: what occupancy networks learn from.

    Every object is turned upright (alignment.json), centred and scaled to a longest side of 1.5, y
    up. The folder gets samples.json, with the split, and shards of points: uniform in the box
    around, near the surface, on the surface. It may be the folder of render-dataset. When it is
    interrupted, the same command goes on with the shard where it stopped.

    With --sdf it samples signed distances instead, which DeepSDF learns from.

    Example: singleview sample-points meshes --out data/five --categories chair table

    singleview sample-points meshes --out data/chairs --categories chair --sdf 250000 --split all

    Args:
        config: the options.
        cluster: where the work is done, if not here.
        as_json: Print the split of each object as JSON.
    """
    from singleview.from_meshes.sample_points import sample_points

    splits = sample_points(config, cluster=cluster)
    if as_json:
        print(json.dumps(splits, indent=2))
        return
    counts = {split: list(splits.values()).count(split) for split in ("train", "val", "test")}
    print(f"{len(splits)} objects: " + ", ".join(f"{n} {s}" for s, n in counts.items()))
    model = "occupancy" if config.sdf is None else "deepsdf"
    print(f"wrote {config.out}; next: singleview train {config.out} --model {model} --out RUN")
