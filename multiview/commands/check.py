"""The command `multiview check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from sdfrender.options import AsJson

SceneFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="scene")]


def command(scene: SceneFolder, /, picture: Path | None = None, as_json: AsJson = False) -> None:
    """Say what is in a scene, and what is likely wrong with it.

    Reads pictures, masks and cameras, tells sizes, coverage, how far the hull of all masks fills
    them, and what a fit takes. Where they do not fit together it tries what people get wrong (axes,
    poses, intrinsics, pictures, masks) until they do, and says what to do.

    Example: multiview check photos/dino --picture check.png

    Args:
        scene: The scene's folder, or its camera file.
        picture: Also write a picture of all views and their masks.
        as_json: Print JSON instead of text.
    """
    from multiview.check.inspect import inspect
    from multiview.check.page import text, write_picture

    found = inspect(scene)
    if picture is not None and found.names:
        write_picture(picture, found)
    print(json.dumps(found.told, indent=2) if as_json else text(found))
