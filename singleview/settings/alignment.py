"""What `singleview align` is told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sdfrender.options import Flag, check_options

TURN = re.compile(r"(.+):([xyz])(-?\d+(?:\.\d+)?)")  # chair/101.ply:y90


@dataclass(frozen=True)
class AlignConfig:
    """Settings of an alignment; its fields are the options of `singleview align`.

    Args:
        meshes: folder of category folders of meshes (.obj .ply .glb .stl .off), or of meshes.
        categories: category folders to take. Default: all.
        out: file to write. Default: alignment.json in MESHES. Rotations that it holds stay as they
            are, and the other meshes are turned to them.
        again: find all rotations anew.
        turn: corrections by hand, as in chair/101.ply:y90 or table:x-90: a mesh, or all of a
            category, by so many degrees about an axis of the aligned frame (y is up).
        resolution: voxels along each side that meshes are compared on.
    """

    meshes: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MESHES")]
    categories: tuple[str, ...] = ()
    out: Path | None = None
    again: Flag = False
    turn: tuple[str, ...] = ()
    resolution: int = 24

    def __post_init__(self) -> None:
        wrong = [text for text in self.turn if not TURN.fullmatch(text)]
        rules = {
            "resolution": (8 <= self.resolution <= 64, "from 8 to 64"),
            "turn": (not wrong, "PATH:AXISDEGREES, as in chair/101.ply:y90"),
        }
        check_options(self, rules)
