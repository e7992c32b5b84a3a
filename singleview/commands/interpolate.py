"""The command `singleview interpolate`."""

from __future__ import annotations

from typing import Annotated

import tyro

from sdfrender.options import AsJson
from singleview.commands.tell import tell_written
from singleview.settings.prediction import InterpolateConfig


def command(
    config: Annotated[InterpolateConfig, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Draw a strip of shapes on the way from one to another.

    A DeepSDF network is drawn itself, by sphere tracing, for codes on the line from A's to B's.

    Example: singleview interpolate chair/101 chair/105 --model runs/chairs --out strip.png

    Args:
        config: the options.
        as_json: Print the files written as JSON.
    """
    from singleview.predict.interpolate import interpolate

    tell_written(interpolate(config), as_json)
