"""The command `singleview train`."""

from __future__ import annotations

import json
import logging
import os
from typing import Annotated

import tyro

from sdfrender.commands.signals import interrupted_by_sigterm
from sdfrender.errors import InputError
from sdfrender.options import AsJson
from singleview.settings.training import TrainConfig

log = logging.getLogger("singleview")

QUICK_OBJECTS = 10  # in the report that a training ends with


def command(
    config: Annotated[TrainConfig, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Train a network that predicts a shape: from one image, from images alone, or from points.

    --model sdfdiff (the default) learns a lattice from an image, from images alone. --model
    occupancy learns occupancy at any point from an image, a point cloud, voxels or nothing
    (--input), from the samples that sample-points wrote. --model deepsdf learns the distance
    fields of a family of shapes, and a code for each, from what sample-points --sdf wrote.

    The run folder gets config.json, losses.csv, validation.csv, pictures of predictions as they get
    better, checkpoints/, metrics.json, and in the end model.safetensors. Ctrl-C and SIGTERM save
    what there is; --resume goes on. Several processes share a training under torchrun, with the
    same result: torchrun --nproc_per_node 2 -m singleview train ...

    Example: singleview train data/five --out runs/five

    singleview train data/five --out runs/clouds --model occupancy --input points --size small

    Args:
        config: the options.
        as_json: Print metrics.json to the terminal instead of a summary.
    """
    from singleview.train import train
    from singleview.training.distributed import ProcessLost

    try:
        with interrupted_by_sigterm():
            metrics = train(config)
    except ProcessLost as error:
        log.error("%s", error)
        raise SystemExit(1) from None
    if int(os.environ.get("RANK", "0")):
        return  # the first process speaks for all
    from singleview.report.page import write_report

    try:
        write_report(config.out, views=1, objects=QUICK_OBJECTS, refine=False)
    except InputError as error:  # the training is done all the same
        log.warning("no report: %s", error)
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    scores = ", ".join(f"{k} {x:.3f}" for k, x in metrics["validation"].items() if k != "step")
    print(f"{metrics['steps']} steps in {metrics['seconds']:.0f} s; validation: {scores or 'none'}")
    print(f"wrote {config.out}; look at {config.out / 'report.html'}")
    print(f"next: singleview evaluate {config.dataset} {config.out}")
