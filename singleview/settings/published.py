"""What `singleview import` is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sdfrender.options import check_options


@dataclass(frozen=True)
class ImportConfig:
    """What `singleview import` is told; its fields are the options.

    Args:
        kind: onet: Occupancy Networks. deepsdf: DeepSDF.
        source: their file (.pt) of an Occupancy Network; the folder of a DeepSDF experiment, with
            specs.json, ModelParameters and LatentCodes.
        out: folder to write model.safetensors to.
        threshold: of Occupancy Networks: where the surface is, in (0, 1). Their files do not tell
            it; 0.2 is what the authors use.
        checkpoint: of DeepSDF: which of the weights in the folder.
    """

    kind: Annotated[Literal["onet", "deepsdf"], tyro.conf.Positional]
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    threshold: float = 0.2
    checkpoint: str = "latest"

    def __post_init__(self) -> None:
        check_options(self, {"threshold": (0 < self.threshold < 1, "between 0 and 1")})
