"""The command `singleview predict`."""

from __future__ import annotations

from typing import Annotated

import tyro

from sdfrender.errors import InputError
from sdfrender.options import AsJson
from singleview.commands.tell import tell_written
from singleview.settings.prediction import PredictConfig


def command(
    config: Annotated[PredictConfig, tyro.conf.arg(name="")], as_json: AsJson = False
) -> None:
    """Predict a shape from each input: a picture of one object, or what the network was taught.

    In a picture, what is object is told by the alpha channel, by --mask, or by how it differs from
    the picture's rim; shadows on the ground are not object. DIR/NAME/ gets mesh.ply,
    lattice.safetensors, turntable.gif and sheet.png, the picture beside views of the shape, in the
    object's canonical frame: the box [-1, 1]³, y up. input.png and mask.png are what the network
    saw. An input that cannot be used is told, and the others are predicted.

    Occupancy networks also take point clouds or voxels and give meshes in the input's frame; one
    without an input makes up --count shapes, and some --between them. DeepSDF takes meshes, and
    gives the member of its family that is most like each; or names of shapes that it knows.

    Example: singleview predict mug.png --model runs/five --out predictions

    Args:
        config: the options.
        as_json: Print the folders written as JSON.
    """
    from singleview.predict.predict import predict

    done = predict(config)
    tell_written([prediction.folder for prediction in done], as_json)
    if len(done) < len(config.images):
        raise InputError(
            f"{len(config.images) - len(done)} of {len(config.images)} inputs gave no shape, for "
            "the reasons above"
        )
