"""From photographs to a scene with cameras: the whole way."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

from multiview.photographs import trust
from multiview.photographs.extra import load_pycolmap
from multiview.photographs.intake import Picture, find_photographs, take_pictures
from multiview.photographs.mapping import Work
from multiview.photographs.page import Thumbnails, write_page
from multiview.photographs.settings import CameraSettings
from multiview.photographs.solve import solve
from multiview.photographs.staging import stage_masks, stage_pictures
from multiview.photographs.world import scale_model, turn_upright
from multiview.scenes.selection import natural_key
from sdfrender.errors import InputError
from sdfrender.files.atomic import write_json
from sdfrender.files.expect import expect
from sdfrender.files.locks import locked
from sdfrender.files.tables import Table, number, numbers, only_keys, read_table, shown

log = logging.getLogger("multiview")

MODEL = Path("sparse") / "0"
TOLD = "cameras.json"
PAGE = "cameras.html"
LEAST = 3  # photographs
TRIAL = "import sys, pycolmap; pycolmap.Reconstruction(sys.argv[1])"
SIMILAR = ("masks", "focal", "video_frames", "image_size", "seed")  # settings of a result


def find_cameras(settings: CameraSettings, quiet: bool = False) -> Table:
    """Find the cameras that took photographs, and write a scene.

    The scene's folder gets `images` (upright), `masks` if any are given, `sparse/0` (a COLMAP
    model), `cameras.json` and `cameras.html`. A result that is there, of the same photographs and
    settings, is taken as it is; only its scale is set anew if that is asked for.

    The camera frame is COLMAP's: OpenCV axes, pixel centres at +0.5. Of the world, +y is up, as the
    cameras were held, and the first camera looks from +z; its place and size are arbitrary
    (`--scale-bar` sets the size).

    Args:
        settings: what the user chose.
        quiet: show no bars.

    Returns:
        What `cameras.json` holds: `pictures`, `placed` and `unplaced` names, `cameras`, `points`,
        `reprojection_px`, `unit`, `up` ("y", null if not known), `warnings`, `refused` (null),
        `made_from`.

    Raises:
        InputError: no photographs, or cameras that are not to be believed; then `cameras.json`
            and `cameras.html` tell what was found, and there is no model. Or another process
            writes to the folder, or the result in it is damaged.
    """
    load_pycolmap()
    photos, masks = _inside(settings)
    with locked(settings.out):
        return _find(settings, photos, masks, quiet)


def _find(settings: CameraSettings, photos: Path, masks: Path | None, quiet: bool) -> Table:
    """The same, in a folder that no other process writes to."""
    out = settings.out
    made_from = _made_from(settings, photos, masks)
    told = None if settings.again else found_before(out, made_from)
    if told is not None:
        log.info("%s: the cameras were found before (--again finds them anew)", out)
        model = None if settings.scale_bar is None else read_model(out / MODEL)
        return _scaled(out, model, told, settings)
    if (out / MODEL).exists() and not (out / TOLD).exists():
        raise InputError(f"--out: need a folder without cameras of others, {out / MODEL} is there")
    pictures = take_pictures(photos, out / "images", settings.video_frames)
    if len(pictures) < LEAST:
        raise InputError(f"{photos}: need at least {LEAST} photographs, got {len(pictures)}")
    with TemporaryDirectory(prefix=".cameras-", dir=out) as folder:
        work = Work(Path(folder), settings, quiet)
        numbers = stage_pictures(work, pictures, out / "images")
        doubts = stage_masks(work, pictures, numbers, masks, out / "masks") if masks else []
        models, links, verdict = solve(work, pictures, numbers, ordered=photos.is_file())
    verdict.warnings[:0] = doubts
    model = models[0] if models else None
    told = _told(pictures, model, links, verdict, made_from)
    told["up"] = turn_upright(model) if model is not None else None
    _write(out, model, told)
    for warning in told["warnings"]:
        log.warning("%s", warning)
    if verdict.refusal is not None:
        raise InputError(f"{photos}: {verdict.refusal}. Look at {out / PAGE}")
    return _scaled(out, model, told, settings)


def read_model(folder: Path, limit: float = 300) -> Any:
    """A `pycolmap.Reconstruction` of a model that somebody may have damaged.

    Pycolmap ends its process, or never comes to an end, with some damaged models. So another
    process reads it first.

    Args:
        folder: of the model.
        limit: seconds that this may take.

    Raises:
        InputError: it cannot be read.
    """
    with expect(folder, "a model of COLMAP (--again finds the cameras anew)"):
        trial = [sys.executable, "-c", TRIAL, str(folder)]
        try:
            subprocess.run(trial, capture_output=True, timeout=limit, check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            raise ValueError(f"one that pycolmap does not read in {limit:g} s") from None
        return load_pycolmap().Reconstruction(folder)


def _scaled(out: Path, model: Any, told: Table, settings: CameraSettings) -> Table:
    """What is told once the model has the size that was asked for, if any was."""
    if settings.scale_bar is not None:
        told["unit"] = scale_model(model, out / "images", settings.scale_bar)
        _write(out, model, told)
    return told


def _inside(settings: CameraSettings) -> tuple[Path, Path | None]:
    """The folder of photographs, or the video, and that of masks.

    A folder that holds `images` is a scene without cameras: `masks` beside them are its masks.
    """
    photos, masks = settings.photos, settings.masks
    if (photos / "images").is_dir():
        if masks is None and (photos / "masks").is_dir():
            masks = photos / "masks"
            log.info("%s: taken as masks of the photographs in 'images'", masks)
        photos = photos / "images"
    if masks is not None and not masks.is_dir():
        raise InputError(f"--masks: need a folder, {masks} is none")
    return photos, masks


def _made_from(settings: CameraSettings, photos: Path, masks: Path | None) -> Table:
    """What tells whether a result is of these photographs and settings."""
    alone = photos.is_file()
    files = [photos] if alone else find_photographs(photos, settings.out / "images")
    stamps = [
        [
            file.relative_to(photos.parent).as_posix(),
            file.stat().st_size,
            file.stat().st_mtime_ns,
        ]
        for file in (*files, *(sorted(masks.rglob("*.png")) if masks else ()))
        if photos.parent in file.parents
    ]
    chosen = {name: getattr(settings, name) for name in SIMILAR}
    chosen["masks"] = str(masks.resolve()) if masks else None
    return {"settings": chosen, "files": stamps}


def found_before(out: Path, made_from: Table) -> Table | None:
    """What a former result tells, if it is there and of the same photographs and settings.

    Raises:
        InputError: it is not what `multiview cameras` writes.
    """
    if not ((out / TOLD).is_file() and (out / MODEL / "images.bin").is_file()):
        return None
    told = read_table(out / TOLD)
    if told.get("made_from") != made_from or told.get("refused"):
        return None
    with expect(out / TOLD, "what multiview cameras wrote (--again finds the cameras anew)"):
        try:
            _check_told(told)
        except InputError as error:
            raise ValueError(str(error)) from None
    return told


def _check_told(told: Table) -> None:
    """Check what is read of a former result: names of its own pictures, numbers and words."""
    for key in ("pictures", "points", "reprojection_px"):
        number(told, key, "what it tells")
    names = [*_listed(told, "placed", str), *_listed(told, "unplaced", str)]
    for name in names:
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise ValueError(f"a picture outside of the folder, {name!r}")
    _listed(told, "warnings", str)
    for camera in _listed(told, "cameras", dict):
        numbers(camera["size"], [(2,)], "the size of a camera")
        for key in ("pictures", "focal", "k"):
            number(camera, key, "a camera")
    only_keys(told["unit"], ("kind", "between", "length"), "unit")
    if told["unit"]["kind"] != "arbitrary":
        number(told["unit"], "length", "unit")
        _listed(told["unit"], "between", str)


def _listed(table: Table, key: str, kind: type) -> list[Any]:
    found = table[key]
    if not isinstance(found, list) or not all(isinstance(x, kind) for x in found):
        raise ValueError(f"{key!r} that is no list of {kind.__name__}: {shown(found)}")
    return found


def _told(
    pictures: Sequence[Picture],
    model: Any | None,
    links: trust.Links,
    verdict: trust.Verdict,
    made_from: Table,
) -> Table:
    """What `cameras.json` holds."""
    placed = trust.placed_names(model) if model is not None else set()
    names = [picture.name for picture in pictures]
    cameras = []
    if model is not None:
        used = Counter(image.camera_id for image in model.images.values() if image.has_pose)
        cameras = [
            {
                "pictures": used[identity],
                "size": [camera.width, camera.height],
                "focal": float(camera.params[0]),
                "principal_point": [float(x) for x in camera.params[1:3]],  # pixels
                "k": float(camera.params[3]),
            }
            for identity, camera in sorted(model.cameras.items())
            if used[identity]
        ]
    return {
        "pictures": len(names),
        "placed": [name for name in names if name in placed],
        "unplaced": [name for name in names if name not in placed],
        "cameras": cameras,
        "points": model.num_points3D() if model is not None else 0,
        "reprojection_px": model.compute_mean_reprojection_error() if model is not None else None,
        "pairs": {"verified": links.verified, "flat": links.flat, "still": links.still},
        "unit": {"kind": "arbitrary"},
        "warnings": verdict.warnings,
        "refused": verdict.refusal,
        "made_from": made_from,
    }


def _write(out: Path, model: Any | None, told: Table) -> None:
    """The scene's files: the model if it is believed, the page, and last what tells that all is."""
    names = sorted(told["placed"] + told["unplaced"], key=natural_key)
    thumbnails = Thumbnails(out / "images", names)
    if model is not None:
        thumbnails.color(model)
    if told["refused"] is not None:
        shutil.rmtree(out / MODEL, ignore_errors=True)
    elif model is not None:
        with TemporaryDirectory(prefix=".model-", dir=out) as folder:
            model.write(folder)
            (out / MODEL).mkdir(parents=True, exist_ok=True)
            for file in sorted(Path(folder).iterdir()):
                os.replace(file, out / MODEL / file.name)
    write_page(out / PAGE, model, told, thumbnails)
    write_json(out / TOLD, told)
