"""Weights of Occupancy Networks (Mescheder et al. 2019) as their authors published them.

A file holds `{"model": state dict, …}`. What kind of observation the network takes follows from the
names of its encoder. Convolutions of size 1 over points are linear layers here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.formats.torch_files import need_tensors, read_torch
from sdfrender.files.tensors import expect, need_fit
from singleview.data.samples import HALF_CUBE, HALF_PADDED_BOX
from singleview.models.occupancy import OccupancyNetwork, OccupancyShape
from singleview.published.names import renamed
from singleview.settings.choices import Input

WHAT = "the weights of an Occupancy Network"
KINDS: dict[str, Input] = {  # by a tensor that only this kind has
    "encoder.features.conv1.weight": "image",
    "encoder.fc_pos.weight": "points",
    "encoder.conv_in.weight": "voxels",
    "encoder_latent.fc_pos.weight": "none",
}
ENCODERS = {
    "image": [
        (r"encoder\.features\.(.*)", r"encoder.\1"),
        (r"encoder\.fc\.(.*)", r"encoder.last.\1"),
    ],
    "points": [
        (r"encoder\.fc_pos\.(.*)", r"encoder.pointnet.first.\1"),
        (r"encoder\.block_(\d)\.fc_0\.(.*)", r"encoder.pointnet.blocks.\1.first.\2"),
        (r"encoder\.block_(\d)\.fc_1\.(.*)", r"encoder.pointnet.blocks.\1.second.\2"),
        (r"encoder\.block_(\d)\.shortcut\.(.*)", r"encoder.pointnet.blocks.\1.shortcut.\2"),
        (r"encoder\.fc_c\.(.*)", r"encoder.pointnet.last.\1"),
    ],
    "voxels": [
        (r"encoder\.conv_in\.(.*)", r"encoder.first.\1"),
        (r"encoder\.conv_(\d)\.(.*)", r"encoder.down.\1.\2"),
        (r"encoder\.fc\.(.*)", r"encoder.last.\1"),
    ],
    "none": [
        (r"encoder_latent\.fc_pos\.(.*)", r"encoder.of_points.\1"),
        (r"encoder_latent\.fc_0\.(.*)", r"encoder.of_inside.\1"),
        (r"encoder_latent\.fc_1\.(.*)", r"encoder.layers.0.\1"),
        (r"encoder_latent\.fc_2\.(.*)", r"encoder.layers.1.\1"),
        (r"encoder_latent\.fc_3\.(.*)", r"encoder.layers.2.\1"),
        (r"encoder_latent\.fc_mean\.(.*)", r"encoder.mean.\1"),
        (r"encoder_latent\.fc_logstd\.(.*)", r"encoder.log_std.\1"),
    ],
}
BLOCK = r"decoder\.block(\d)\."
ENDS = [
    (r"decoder\.fc_p\.(.*)", r"decoder.first.\1"),
    (r"decoder\.fc_out\.(.*)", r"decoder.last.\1"),
]
CONDITIONAL = [  # the older files have linear layers where the newer have convolutions
    (BLOCK + r"bn_(\d)\.(?:conv|fc)_gamma\.(.*)", r"decoder.blocks.\1.norms.\2.scale.\3"),
    (BLOCK + r"bn_(\d)\.(?:conv|fc)_beta\.(.*)", r"decoder.blocks.\1.norms.\2.shift.\3"),
    (BLOCK + r"bn_(\d)\.bn\.(.*)", r"decoder.blocks.\1.norms.\2.norm.\3"),
    (BLOCK + r"fc_(\d)\.(.*)", r"decoder.blocks.\1.layers.\2.\3"),
    (r"decoder\.bn\.(?:conv|fc)_gamma\.(.*)", r"decoder.norm.scale.\1"),
    (r"decoder\.bn\.(?:conv|fc)_beta\.(.*)", r"decoder.norm.shift.\1"),
    (r"decoder\.bn\.bn\.(.*)", r"decoder.norm.norm.\1"),
]  # fmt: skip
PLAIN = [
    (r"decoder\.fc_[cz]\.(.*)", r"decoder.of_code.\1"),
    (BLOCK + r"fc_0\.(.*)", r"decoder.blocks.\1.first.\2"),
    (BLOCK + r"fc_1\.(.*)", r"decoder.blocks.\1.second.\2"),
]


def read_onet(path: Path, threshold: float) -> tuple[OccupancyNetwork, dict[str, Any]]:
    """A published network, ready to predict, and what is told beside its weights.

    Args:
        path: the authors' file.
        threshold: τ in (0, 1), which their files do not hold.

    Raises:
        InputError: missing, damaged, or weights of another network.
    """
    found = read_torch(path, WHAT)
    theirs = need_tensors(path, found.get("model", found), WHAT)
    kind = next((kind for name, kind in KINDS.items() if name in theirs), None)
    if kind is None:
        names = ", ".join(repr(x) for x in list(theirs)[:3]) or "nothing"
        raise InputError(f"{path}: need {WHAT}, its encoder is not known: it holds {names}")
    conditional = "decoder.bn.bn.running_mean" in theirs
    rules = [*ENCODERS[kind], *ENDS, *(CONDITIONAL if conditional else PLAIN)]
    weights = {name: _linear(x) for name, x in renamed(path, theirs, rules).items()}
    with expect(path, WHAT):
        shape = shape_of(kind, conditional, weights)
        need_fit(lambda: OccupancyNetwork(shape), weights, parts=shape.blocks)
        model = OccupancyNetwork(shape)
        model.load_state_dict(weights)
    if not all(bool(x.isfinite().all()) for x in model.state_dict().values()):
        raise InputError(f"{path}: need finite weights, got NaN or infinity")
    half = HALF_CUBE if kind == "voxels" else HALF_PADDED_BOX
    seen = {"cloud": 300, "noise": 0.005, "voxels": 32, "half": half}
    return model.eval(), {"threshold": threshold, "observations": seen, "published": "onet"}


def shape_of(kind: Input, conditional: bool, weights: Mapping[str, Tensor]) -> OccupancyShape:
    """What network has weights `[...]` under our names."""
    hidden = len(weights["decoder.first.weight"])
    into = "decoder.norm.scale.weight" if conditional else "decoder.of_code.weight"
    encoder = {
        "image": "encoder.conv1.weight",
        "points": "encoder.pointnet.last.weight",
        "voxels": "encoder.first.weight",
        "none": "encoder.of_points.weight",
    }[kind]
    width = weights[encoder].shape[1 if kind == "points" else 0]
    numbers = {int(name.split(".")[2]) for name in weights if name.startswith("decoder.blocks.")}
    return OccupancyShape(
        kind,
        hidden=hidden,
        blocks=len(numbers),
        code=weights[into].shape[1],
        encoder=width,
        conditioning="batch-norm" if conditional else "input",
        released=True,
    )


def _linear(x: Tensor) -> Tensor:
    """A convolution of size 1 `[O, I, 1]` as a linear layer `[O, I]`; others as they are."""
    return x[..., 0] if x.ndim == 3 and x.shape[-1] == 1 else x
