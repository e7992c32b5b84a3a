"""The command `singleview complete`."""

from __future__ import annotations

from typing import Annotated

import tyro

from sdfrender.options import AsJson
from singleview.commands.tell import tell_written
from singleview.settings.prediction import CompleteConfig


def command(
    config: Annotated[CompleteConfig, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Complete the shape of which a depth image shows one side.

    The code of a DeepSDF network is found that explains the depths, and the empty space before and
    beside them, by Levenberg-Marquardt. DIR/NAME/ gets mesh.ply and points.ply (what was seen) in
    the frame of the input, lattice.safetensors and code.json in the canonical frame, and sheet.png.

    DEPTH is OBJECT/depth/NNN.exr with OBJECT/cameras.npz, the layout of DVR, or an .npz with depths
    [H, W] (camera z), K [3, 3] (pixels, centres at +0.5) and c2w [4, 4] (OpenCV axes): in the
    network's canonical frame, or in another whose units per canonical unit and origin `scale` and
    `center` [3] state. Depths that are infinite say that nothing is there, 0 that nothing is known.

    Example: singleview complete chair.npz --model runs/chairs --out completed

    Args:
        config: the options.
        as_json: Print the folders written as JSON.
    """
    from singleview.predict.complete import complete_depths

    tell_written(complete_depths(config), as_json)
