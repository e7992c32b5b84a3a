"""Settings of `multiview mask`: what the user chooses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from sdfrender.errors import InputError
from sdfrender.options import Flag


@dataclass(frozen=True)
class MaskSettings:
    """All settings of a search for masks; its fields are the options of `multiview mask`.

    Args:
        scene: The scene's folder, in any format that has cameras.
        image_size: Longest side, in pixels, of the pictures that are looked at. The masks are as
            large as the photographs.
        again: Find masks anew even if there are some for all photographs. Masks that you gave or
            corrected stay, and help to find the others.
    """

    scene: Positional[Path]
    image_size: int = 520
    again: Flag = False

    def __post_init__(self) -> None:
        if self.image_size < 64:
            raise InputError(f"--image-size: need at least 64 pixels, got {self.image_size}")
