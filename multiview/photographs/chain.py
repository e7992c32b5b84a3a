"""From a folder of photographs, or a video, to a scene that can be fitted: cameras, then masks.

Each stage writes into one scene's folder, tells what it found, and is skipped where its result is
already there.
"""

from __future__ import annotations

import logging
from pathlib import Path

from multiview.photographs.intake import PHOTOGRAPHS
from multiview.scenes import has_camera_file
from multiview.segmentation.mask_scene import SHEET, mask_scene
from multiview.segmentation.settings import MaskSettings
from sdfrender.errors import InputError

log = logging.getLogger("multiview")

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")


def is_photographs(path: Path) -> bool:
    """Whether a path is a folder of pictures without a camera file, or a video."""
    if path.is_file():
        return path.suffix.lower() in VIDEOS
    if not path.is_dir() or has_camera_file(path):
        return False
    folders = (path, path / "images")
    return any(
        file.suffix.lower() in PHOTOGRAPHS and not file.name.startswith(".")
        for folder in folders
        if folder.is_dir()
        for file in folder.iterdir()
    )


def scene_of_photographs(
    photos: Path,
    threads: int | None = None,
    quiet: bool = True,
    places: Path = Path("scenes"),
    called: str | None = None,
) -> Path:
    """Find cameras and masks, and return the folder of the scene, `scenes/NAME`.

    Args:
        photos: folder of photographs, with masks in `masks` if any are given; or a video.
        threads: for the cameras; all cores by default.
        quiet: no progress bars.
        places: the folder of scenes.
        called: the name of this one; by default that of the photographs' folder.

    Raises:
        InputError: cameras that are not to be believed.
    """
    from multiview.photographs.find import find_cameras
    from multiview.photographs.settings import CameraSettings

    name = photos.resolve()
    scene = places / (called or (name.stem if photos.is_file() else name.name))
    masks = photos / "masks"
    log.info("cameras: %s has none, looking for them; the scene is %s", photos, scene)
    told = find_cameras(
        CameraSettings(photos, scene, masks=masks if masks.is_dir() else None, threads=threads),
        quiet,
    )
    log.info("cameras: %d of %d photographs placed", len(told["placed"]), told["pictures"])
    try:
        found = mask_scene(MaskSettings(scene), quiet)
    except InputError as error:
        log.warning("masks: none found, the fit goes on without: %s", error)
    else:
        if "agreement" in found:
            log.info(
                "masks: %d found, %d given; look at %s and correct masks where they are wrong",
                found["written"],
                found["given"],
                scene / SHEET,
            )
    return scene
