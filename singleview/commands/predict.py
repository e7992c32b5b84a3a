"""The command `singleview predict`."""

from __future__ import annotations

from typing import Annotated

import tyro

from sdfrender.options import AsJson
from singleview.commands.tell import tell_written
from singleview.settings.prediction import PredictConfig


def command(
    config: Annotated[PredictConfig, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Predict a shape from each input: a picture of one object, or what the network was taught.

    In a picture, what is object is told by the alpha channel, a plain background, or --mask.
    DIR/NAME/ gets mesh.ply, lattice.safetensors, turntable.gif and sheet.png, the picture beside
    views of the shape, in the object's canonical frame: the box [-1, 1]³, y up.

    Occupancy networks also take point clouds or voxels and give meshes in the input's frame; one
    without an input makes up --count shapes, and some --between them. DeepSDF takes meshes, and
    gives the member of its family that is most like each; or names of shapes that it knows.

    Example: singleview predict mug.png --model runs/five --out predictions

    Args:
        config: the options.
        as_json: Print the folders written as JSON.
    """
    from singleview.predict.predict import predict

    tell_written([prediction.folder for prediction in predict(config)], as_json)
