"""The command `multiview mask`."""

from __future__ import annotations

import json
from typing import Annotated

import tyro

from multiview.segmentation.settings import MaskSettings
from sdfrender.commands.messages import bars_hidden
from sdfrender.options import AsJson


def command(
    settings: Annotated[MaskSettings, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Find where the object is in photographs with cameras, and write masks to fit by.

    It is what the cameras look at: what rises from the surface that it stands on. It is looked
    for among the points of a COLMAP model (sparse/0, as `multiview cameras` writes it); in a scene
    without points, among those that neighbouring photographs agree on. SCENE gets masks/NAME.png
    (white = object), mask_weights/NAME.png (black = not known), box.json and masks.html, which
    shows all masks over their photographs. Correct masks as you like: those that you gave or
    changed are never overwritten, and with --again they help to find the others.

    Example: multiview mask scenes/mug

    Args:
        settings: The options.
        as_json: Print the figures of masks.json instead of a summary.
    """
    from multiview.segmentation.mask_scene import SHEET, mask_scene

    told = mask_scene(settings, bars_hidden())
    if as_json:
        print(json.dumps(told, indent=2))
        return
    if "agreement" not in told:
        print(f"all {told['views']} photographs have masks, {told['found_before']} of them found")
        return
    print(
        f"{told['written']} of {told['views']} masks written, {told['given']} given, "
        f"agreement {told['agreement']:.0%}, not known {told['unknown_share']:.0%} of the object"
    )
    print(f"look at {settings.scene / SHEET}")
