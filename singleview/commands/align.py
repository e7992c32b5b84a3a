"""The command `singleview align`."""

from __future__ import annotations

import json
from typing import Annotated

import tyro

from sdfrender.options import AsJson
from singleview.settings.alignment import AlignConfig


def command(
    config: Annotated[AlignConfig, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Turn the meshes of a category to one pose: alignment.json, and a picture to check it.

    Each mesh is turned by the one of 24 rotations in which it overlaps most with the others, then
    by the last degrees. The frame is that of most files; y should be up in it: --turn table:x-90
    turns a category, --turn chair/101.ply:y180 one mesh. CATEGORY.png shows all from the same side,
    the least sure ones first. Rotations that stand in alignment.json stay, and the others are
    found to them: delete the lines of some and run it again.

    render-dataset, sample-points, evaluate, predict and interpolate read alignment.json.

    Example: singleview align meshes --categories chair

    Args:
        config: the options.
        as_json: Print the overlap of each mesh with its category as JSON.
    """
    from singleview.align.align import align, doubtful

    found = align(config)
    if as_json:
        print(json.dumps({one.source.name: one.overlap for one in found}, indent=2))
        return
    for one in doubtful(found):
        print(f"{one.source.name}: fits its category badly, look at it")
    print(f"wrote {config.out or config.meshes / 'alignment.json'}; look at the pictures beside it")
