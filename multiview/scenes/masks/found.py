"""Masks that were found: which files are as they were written, and how far they are known.

`masks.json` tells by their hashes which files of `masks` and `mask_weights` the project wrote. Any
other mask is a person's: it is known everywhere, and nothing overwrites it. `box.json` is the box
that the found object lies in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multiview.scenes.scene import Description
from sdfrender.errors import InputError
from sdfrender.files.atomic import read_bytes

MASKS = "masks"
WEIGHTS = "mask_weights"
RECORD = "masks.json"
BOX = "box.json"


@dataclass(frozen=True)
class FoundRecord:
    """What `masks.json` of a scene's folder tells.

    Args:
        folder: of the scene.
        hashes: SHA-256 of each file that was written, by its path in the folder.
    """

    folder: Path
    hashes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> FoundRecord:
        """The record of a scene, empty where there is none.

        Raises:
            InputError: a damaged `masks.json`.
        """
        file = folder / RECORD
        if not file.is_file():
            return cls(folder)
        try:
            hashes = json.loads(read_bytes(file))["files"]
            return cls(folder, {str(name): str(code) for name, code in hashes.items()})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise InputError(
                f"{file}: need the record that `multiview mask` writes; if it is lost, delete it: "
                "all masks count as given then"
            ) from None

    def wrote(self, file: Path) -> bool:
        """Whether a file is as it was written."""
        try:
            name = file.relative_to(self.folder).as_posix()
        except ValueError:
            return False
        return name in self.hashes and file.is_file() and self.hashes[name] == sha256(file)

    def weights_of(self, mask: Path) -> Path | None:
        """Where a mask is known, or None for everywhere.

        Weights that were written with a mask that a person has corrected since say nothing more;
        weights of a person count.
        """
        try:
            name = mask.relative_to(self.folder / MASKS)
        except ValueError:
            return None
        weights = self.folder / WEIGHTS / name
        if not weights.is_file() or (self.wrote(weights) and not self.wrote(mask)):
            return None
        return weights


def with_weights(scene: Description) -> Description:
    """The scene with files of where its masks are known, where `multiview mask` wrote them."""
    record = FoundRecord.read(scene.folder)
    views = []
    for view in scene.views:
        weights = record.weights_of(view.mask) if view.mask is not None else None
        views.append(replace(view, mask_weights=weights))
    return replace(scene, views=views)


def sha256(file: Path) -> str:
    """The hash of a file's bytes, hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def read_box(folder: Path) -> Tensor | None:
    """`[2, 3]` float64 of `box.json`, in the scene's frame, or None if there is none.

    Raises:
        InputError: not two corners, or none above the other.
    """
    file = folder / BOX
    if not file.is_file():
        return None
    need = f'{file}: need {{"lower": [x, y, z], "upper": [x, y, z]}}, lower below upper'
    try:
        told = json.loads(read_bytes(file))
        box = np.array([told["lower"], told["upper"]], np.float64)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise InputError(need) from None
    if box.shape != (2, 3) or not np.isfinite(box).all() or not (box[1] > box[0]).all():
        raise InputError(f"{need}, got {box.tolist()}")
    return torch.from_numpy(box)
