"""The command `singleview evaluate`."""

from __future__ import annotations

import json
from typing import Annotated

import tyro

from sdfrender.errors import InputError
from sdfrender.options import AsJson, Flag
from singleview.settings.evaluation import EvaluateConfig


def command(
    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")],
    as_json: AsJson = False,
    markdown: Flag = False,
) -> None:
    """Measure networks and baselines on objects that they have not seen, in one table.

    IoU at R³: prediction and truth resampled trilinearly to R samples along each side of the box,
    inside is below 0; mean over the input views, then over objects, then over categories. Chamfer
    distance, normal consistency, and silhouette IoU on the other views come beside.

    Occupancy networks are measured at random points instead, and their meshes as in their paper,
    beside the nearest training object by input, the category's mean and the input itself.

    DeepSDF is measured on meshes (--meshes) as in its paper: on --split train with the codes that
    it learned, on others with codes that are found from samples of the distance.

    Example: singleview evaluate data/five runs/five --baselines

    Args:
        config: the options.
        as_json: Print JSON, with every object's numbers.
        markdown: Print a Markdown table.
    """
    from singleview.evaluate.evaluate import evaluate

    if as_json and markdown:
        raise InputError("--json, --markdown: need one of them, got both")
    result = evaluate(config)
    if as_json:
        print(json.dumps(result, indent=2))
        return
    from rich.console import Console

    from singleview.measures import tables

    if markdown:
        print(tables.markdown(result))
    else:
        console = Console()
        console.print(tables.terminal(result, console.width))
