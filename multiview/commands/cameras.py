"""The command `multiview cameras`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import tyro

from multiview.photographs.settings import CameraSettings
from sdfrender.commands.messages import bars_hidden
from sdfrender.options import AsJson


def command(
    settings: Annotated[CameraSettings, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Find the cameras of photographs or a video, and write a scene to fit.

    OUT gets images/ (upright), sparse/0 (a COLMAP model), masks/ if any are given, cameras.json and
    cameras.html, which shows cameras, points and photographs. A model that is not to be believed is
    refused, with what to do. In the world y is up, as the cameras were held. Its size is arbitrary
    without --scale-bar. A result that is there already is kept. Needs the extra `photos`.

    Example: multiview cameras photos/mug --out scenes/mug

    multiview cameras walk.mp4 --out scenes/walk --video-frames 80

    Args:
        settings: The options.
        as_json: Print cameras.json instead of a summary.
    """
    from multiview.photographs.find import PAGE, find_cameras

    told = find_cameras(settings, bars_hidden())
    if as_json:
        print(json.dumps(told, indent=2))
        return
    print(summary(told))
    print(f"look at {settings.out / PAGE}")


def summary(told: dict[str, Any]) -> str:
    """What was found, in a line.

    Args:
        told: the contents of `cameras.json`.
    """
    arbitrary = told["unit"]["kind"] == "arbitrary"
    size = "unit arbitrary" if arbitrary else "size by the scale bar"
    up = f"{told['up']} is up" if told.get("up") else "which way is up is not known"
    return (
        f"{len(told['placed'])} of {told['pictures']} pictures placed, {told['points']} points, "
        f"{told['reprojection_px']:.2f} pixels reprojection error, {size}, {up}"
    )
