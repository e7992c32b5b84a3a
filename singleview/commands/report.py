"""The command `singleview report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from sdfrender.errors import InputError
from singleview.settings.choices import Split


def command(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    split: Split | None = None,
    views: int = 2,
    objects: int | None = None,
) -> None:
    """Write a training's report.html: how it went, and what the network makes of unseen objects.

    One file without a network: input, prediction and reference of each object from the same sides,
    the worst first; how the scores are spread; the curves of the training; a mesh to turn. Scores
    are IoU at 64³, or at random points for occupancy networks. Of DeepSDF it shows shapes whose
    codes it finds, and the way between known ones. Where the dataset has gone it shows the
    training alone.

    Example: singleview report runs/five

    Args:
        run: The run folder.
        split: Objects to show: train, val or test. Default: test, or what there is.
        views: Pictures or clouds of each object that are judged; the first of them is shown.
        objects: How many to judge, evenly spread over the split. Default: all.
    """
    from singleview.report.page import write_report

    for name, value in (("views", views), ("objects", objects)):
        if value is not None and value < 1:
            raise InputError(f"--{name}: need at least 1, got {value}")
    print(write_report(run, split, views, objects))
