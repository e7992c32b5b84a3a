"""Settings of `multiview cameras`: what the user chooses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from sdfrender.errors import InputError
from sdfrender.options import Flag, check_options
from sdfrender.system import processors


@dataclass(frozen=True)
class CameraSettings:
    """All settings of a search for cameras; its fields are the options of `multiview cameras`.

    Args:
        photos: A folder of photographs (JPEG, PNG, HEIC, AVIF), or a video.
        out: The scene's folder to write.
        masks: Folder of masks, NAME.png or NAME.jpg.png, white = object: features are taken inside
            them only. An object that turns before a background that stands still needs them.
        focal: Focal length in pixels of the upright pictures, where it is known. Default: what the
            pictures' EXIF tells, else 1.2 times the longer side; either is refined.
        scale_bar: Two things and the distance between them, in the unit that the scene is to have.
            Each is the number of a point (as cameras.html shows where it is clicked),
            PICTURE:X,Y+PICTURE:X,Y (the same point in two pictures, pixels from the top left), or
            tag:ID (the middle of an AprilTag, 36h11; the same tag twice: its black square's side).
            Default: the unit is arbitrary.
        video_frames: Pictures to take from a video, the sharpest of each of so many intervals.
        image_size: Longest side, in pixels, at which features are looked for.
        seed: Of all random choices.
        threads: Default: all cores.
        again: Find cameras anew, even if OUT has them already.
    """

    photos: Positional[Path]
    out: Path
    masks: Path | None = None
    focal: float | None = None
    scale_bar: tuple[str, str, float] | None = None
    video_frames: int = 60
    image_size: int = 1024
    seed: int = 0
    threads: int | None = None
    again: Flag = False

    def __post_init__(self) -> None:
        focal, threads = self.focal, self.threads
        check_options(
            self,
            {
                "focal": (focal is None or 0 < focal < math.inf, "a positive number of pixels"),
                "video_frames": (self.video_frames >= 4, "at least 4"),
                "image_size": (self.image_size >= 128, "at least 128 pixels"),
                "seed": (0 <= self.seed < 2**31, "a number from 0 to 2^31 − 1"),
                "threads": (threads is None or threads >= 1, "at least 1"),
            },
        )
        if self.scale_bar is not None and not 0 < self.scale_bar[2] < math.inf:
            raise InputError(f"--scale-bar: need a positive length, got {self.scale_bar[2]}")
        if self.out.resolve() == self.photos.resolve():
            raise InputError(f"--out: need another folder than that of the photographs, {self.out}")

    @property
    def num_threads(self) -> int:
        """By default all processors at hand."""
        return self.threads or processors()
