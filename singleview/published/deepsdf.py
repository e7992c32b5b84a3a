"""A DeepSDF experiment (Park et al. 2019) as its authors' code leaves it on disk.

    DIR/specs.json                   what the network is
    DIR/ModelParameters/latest.pth   its weights
    DIR/LatentCodes/latest.pth       the codes of the shapes it learned, if there are any

Their shapes touch a ball, where ours have a longest side; `singleview.models.latent` tells how.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.files.find import existing
from sdfrender.files.formats.torch_files import need_tensors, read_torch
from sdfrender.files.tables import read_table
from sdfrender.files.tensors import expect, need_fit
from sdfrender.latent.field import FieldShape, LatentField
from singleview.published.names import renamed

WHAT = "the weights of a DeepSDF decoder"
WEIGHTS, CODES, SPECS = "ModelParameters", "LatentCodes", "specs.json"
RULES = [(r"lin(\d+)\.(weight_g|weight_v|weight|bias)", r"layers.\1.\2")]
UNKNOWN = ("xyz_in_all", "use_tanh")  # parts of their network that ours has not


def read_deepsdf(folder: Path, checkpoint: str = "latest") -> LatentField:
    """A published network with its codes, ready to use.

    Args:
        folder: of the experiment.
        checkpoint: name of the files with the weights and the codes, without `.pth`.

    Raises:
        InputError: missing, damaged, or another network than the paper's.
    """
    specs = read_table(folder / SPECS)
    with expect(folder / SPECS, "the specifications of a DeepSDF network"):
        network = dict(specs["NetworkSpecs"])
        code, widths = int(specs["CodeLength"]), [int(n) for n in network["dims"]]
        clamp = float(specs.get("ClampingDistance", 0.1))
    shape = shape_of(folder / SPECS, code, widths, network)
    file = folder / WEIGHTS / f"{checkpoint}.pth"
    found = read_torch(file, WHAT)
    theirs = need_tensors(file, found.get("model_state_dict", found), WHAT)
    weights = unnormed(renamed(file, theirs, RULES))
    codes = read_codes(folder / CODES / f"{checkpoint}.pth", code)
    names = names_of(folder, specs, len(codes))
    weights["codes"] = codes
    with expect(file, WHAT):
        need_fit(lambda: LatentField(shape, names), weights, parts=shape.layers)
        field = LatentField(shape, names)
        field.load_state_dict(weights)
    if not all(bool(x.isfinite().all()) for x in field.state_dict().values()):
        raise InputError(f"{file}: need finite weights, got NaN or infinity")
    field.about = {"clamp": clamp, "published": "deepsdf", "frame": "ball"}
    return field.eval().requires_grad_(False)


def shape_of(file: Path, code: int, widths: list[int], network: Mapping[str, Any]) -> FieldShape:
    """What to build.

    Raises:
        InputError: a network that ours cannot be; names the file and the entry.
    """
    middle = (len(widths) + 1) // 2
    rules = {
        "dims": (len(widths) >= 2 and len(set(widths)) == 1, "one width in all layers"),
        "latent_in": (list(network.get("latent_in", ())) == [middle], f"[{middle}]"),
        **{key: (not network.get(key, False), "false") for key in UNKNOWN},
    }
    for key, (holds, need) in rules.items():
        if not holds:
            raise InputError(f"{file}: {key}: need {need}, got {network.get(key)}")
    with expect(file, "the specifications of a DeepSDF network"):
        dropout = float(network.get("dropout_prob", 0.0))
        return FieldShape(code, widths[0], len(widths) + 1, 0, dropout, narrow=True)


def unnormed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights `[...]` whose rows' lengths are not kept apart from their directions any more."""
    plain = {k: x for k, x in weights.items() if not k.endswith(("weight_g", "weight_v"))}
    for name, v in weights.items():
        if name.endswith("weight_v"):
            g = weights[name.removesuffix("_v") + "_g"]
            plain[name.removesuffix("_v")] = v * (g / v.norm(dim=1, keepdim=True))
    return plain


def read_codes(file: Path, code: int) -> Tensor:
    """`[N, C]` codes of known shapes, of either form that was written; none where no file is.

    Raises:
        InputError: damaged, or codes of another length.
    """
    if not file.is_file():
        return torch.zeros(0, code)
    what = "the codes of a DeepSDF network"
    found = read_torch(file, what).get("latent_codes")
    if isinstance(found, Mapping):
        found = found.get("weight")
    if not isinstance(found, Tensor) or not len(found):
        raise InputError(f"{file}: need {what}, it holds none")
    codes = found.detach().reshape(len(found), -1)
    if codes.shape[1] != code:
        raise InputError(f"{file}: need codes of {code} numbers, got {codes.shape[1]}")
    return codes


def names_of(folder: Path, specs: Mapping[str, Any], count: int) -> list[str]:
    """Names of known shapes, from the list that the experiment names, else their numbers."""
    numbered = [f"shape/{i}" for i in range(count)]
    split = specs.get("TrainSplit")
    if not count or not isinstance(split, str):
        return numbered
    file = next((p for p in (existing(folder / split), existing(Path(split))) if p), None)
    if file is None or not file.is_file():
        return numbered
    listed = read_table(file)
    with expect(file, "a list of shapes by data set and class"):
        names = [
            f"{kind}/{name}"
            for classes in listed.values()
            for kind, members in classes.items()
            for name in members
        ]
        if len(set(names)) < len(names):
            raise ValueError("a name twice")
    return names if len(names) == count else numbered
