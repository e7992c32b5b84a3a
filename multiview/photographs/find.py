"""From photographs to a scene with cameras: the whole way."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image as Pillow

from multiview.photographs import mapping, trust
from multiview.photographs.extra import load_pycolmap
from multiview.photographs.intake import Picture, find_photographs, take_pictures
from multiview.photographs.mapping import Group, Work
from multiview.photographs.page import Thumbnails, write_page
from multiview.photographs.pairs import choose_pairs
from multiview.photographs.scale import scale_model
from multiview.photographs.settings import CameraSettings
from multiview.scenes.masks.find import masks_in
from sdfrender.errors import InputError
from sdfrender.files.atomic import write_json
from sdfrender.files.images import image_mode, read_image
from sdfrender.files.tables import read_table

log = logging.getLogger("multiview")

MODEL = Path("sparse") / "0"
TOLD = "cameras.json"
PAGE = "cameras.html"
LEAST = 3  # photographs
SIMILAR = ("masks", "focal", "video_frames", "image_size", "seed")  # settings of a result


def find_cameras(settings: CameraSettings, quiet: bool = False) -> dict[str, Any]:
    """Find the cameras that took photographs, and write a scene.

    The scene's folder gets `images` (upright), `masks` if any are given, `sparse/0` (a COLMAP
    model), `cameras.json` and `cameras.html`. A result that is there, of the same photographs and
    settings, is taken as it is; only its scale is set anew if that is asked for.

    The camera frame is COLMAP's: OpenCV axes, pixel centres at +0.5. The world's place, turn and
    size are arbitrary; `--scale-bar` sets the size.

    Args:
        settings: what the user chose.
        quiet: show no bars.

    Returns:
        What `cameras.json` holds: `pictures`, `placed` and `unplaced` names, `cameras`, `points`,
        `reprojection_px`, `unit`, `warnings`, `refused` (null), `made_from`.

    Raises:
        InputError: no photographs, or cameras that are not to be believed; then `cameras.json`
            and `cameras.html` tell what was found, and there is no model.
    """
    pycolmap = load_pycolmap()
    out = settings.out
    photos, masks = _inside(settings)
    made_from = _made_from(settings, photos, masks)
    told = _found_before(out, made_from)
    if told is not None and not settings.again:
        log.info("%s: the cameras were found before (--again finds them anew)", out)
        model = pycolmap.Reconstruction(out / MODEL)
        if settings.scale_bar is None:
            return told
        told["unit"] = scale_model(model, out / "images", settings.scale_bar)
        _write(out, model, told, Thumbnails(out / "images", told["placed"] + told["unplaced"]))
        return told
    if told is None and (out / MODEL).exists() and not (out / TOLD).exists():
        raise InputError(f"--out: need a folder without cameras of others, {out / MODEL} is there")
    out.mkdir(parents=True, exist_ok=True)
    pictures = take_pictures(photos, out / "images", settings.video_frames)
    if len(pictures) < LEAST:
        raise InputError(f"{photos}: need at least {LEAST} photographs, got {len(pictures)}")
    with TemporaryDirectory(prefix=".cameras-", dir=out) as folder:
        work = Work(Path(folder), settings, quiet)
        numbers = _stage(work, pictures, out / "images")
        warnings = _stage_masks(work, pictures, numbers, masks, out / "masks") if masks else []
        models, links, verdict = _solve(work, pictures, numbers, photos.is_file())
    verdict.warnings[:0] = warnings
    model = models[0] if models else None
    told = _told(pictures, model, links, verdict, made_from)
    thumbnails = Thumbnails(out / "images", [picture.name for picture in pictures])
    if model is not None and verdict.refusal is None and settings.scale_bar is not None:
        told["unit"] = scale_model(model, out / "images", settings.scale_bar)
    _write(out, model, told, thumbnails)
    for warning in told["warnings"]:
        log.warning("%s", warning)
    if verdict.refusal is not None:
        raise InputError(f"{photos}: {verdict.refusal}. Look at {out / PAGE}")
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


def _made_from(settings: CameraSettings, photos: Path, masks: Path | None) -> dict[str, Any]:
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


def _found_before(out: Path, made_from: dict[str, Any]) -> dict[str, Any] | None:
    """What a former result tells, if it is there and of the same photographs and settings."""
    if not ((out / TOLD).is_file() and (out / MODEL / "images.bin").is_file()):
        return None
    told = read_table(out / TOLD)
    return told if told.get("made_from") == made_from and not told.get("refused") else None


def _stage(work: Work, pictures: Sequence[Picture], images: Path) -> dict[str, str]:
    """Put the pictures into the folder of work; the name there of each name."""
    work.images.mkdir()
    numbers = {}
    for n, picture in enumerate(pictures):
        suffix = Path(picture.name).suffix.lower()
        numbers[picture.name] = f"{n:06d}{suffix}"
        os.symlink((images / picture.name).resolve(), work.images / numbers[picture.name])
    return numbers


def _stage_masks(
    work: Work, pictures: Sequence[Picture], numbers: Mapping[str, str], masks: Path, out: Path
) -> list[str]:
    """Masks to where the scene has them, black and white to the folder of work; warnings."""
    work.masks.mkdir()
    lacking = []
    found = masks_in(masks, [picture.name for picture in pictures])
    for picture in pictures:
        stem = str(Path(picture.name).with_suffix(""))
        mask = found.get(picture.name)
        if mask is None:
            lacking.append(picture.name)
            continue
        size = image_mode(mask)[1]
        if size != picture.size:
            need, got = ("×".join(map(str, s)) for s in (picture.size, size))
            raise InputError(
                f"{mask}: need a mask of the size of its upright picture, {need}, got {got}"
            )
        with Pillow.open(mask) as opened:
            white = np.asarray(opened.convert("L")) > 127
        if not white.any():
            raise InputError(f"{mask}: need a mask with the object in white, it is black")
        Pillow.fromarray(white).save(work.masks / f"{numbers[picture.name]}.png")
        target = out / f"{stem}.png"
        if target.resolve() != mask.resolve():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(mask, target)
    if len(lacking) == len(pictures):
        raise InputError(f"{masks}: need masks NAME.png of the photographs, there is none")
    if not lacking:
        return []
    return [
        f"no mask for {len(lacking)} of {len(pictures)} pictures ({trust.listed(lacking)}): "
        "features were taken from all of them"
    ]


def _solve(
    work: Work, pictures: Sequence[Picture], numbers: Mapping[str, str], ordered: bool
) -> tuple[list[Any], trust.Links, trust.Verdict]:
    """Models of the cameras, the best first, how the pictures hang together, and a verdict."""
    names = [numbers[picture.name] for picture in pictures]
    counts = mapping.find_features(work, _groups(work, pictures, numbers))
    for name, count in counts.items():
        if count == 0:
            read_image((work.images / name).resolve())  # says so if it is damaged
    pairs = choose_pairs(work, names, ordered)
    mapping.match(work, pairs)
    seed = work.settings.seed
    models = mapping.map_cameras(work, seed)
    links = trust.read_links(work, names)
    masked = work.masks.is_dir()
    if models and not links.still > trust.STILL_PAIRS:
        rest = set(names) - trust.placed_names(models[0])
        cut = {name for name, count in counts.items() if count > mapping.FEATURES}
        again = [pair for pair in pairs if rest.intersection(pair) and cut.intersection(pair)]
        if again:
            mapping.match_again(work, again)
            models = max(models, mapping.map_cameras(work, seed), key=_placed)
            links = trust.read_links(work, names)
    back = {number: name for name, number in numbers.items()}
    for model in models:
        _rename(model, back)
    links = replace(
        links,
        names=[picture.name for picture in pictures],
        inliers={(back[a], back[b]): n for (a, b), n in links.inliers.items()},
    )
    verdict = trust.judge(models, links, masked)
    if models and verdict.refusal is None and trust.worth_another(models, links):
        straight = models[0].num_reg_images() < trust.TINY
        others = mapping.map_cameras(work, seed + 1, short_tracks=True, straight=straight)
        for other in others:
            _rename(other, back)
        trust.judge_again(models[0], others[0] if others else None, verdict)
    return models, links, verdict


def _placed(models: Sequence[Any]) -> int:
    """Pictures in the first of some models."""
    return models[0].num_reg_images() if models else 0


def _groups(work: Work, pictures: Sequence[Picture], numbers: Mapping[str, str]) -> list[Group]:
    """The pictures by the camera that took them."""
    groups: dict[tuple[Any, ...], list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(picture.camera, []).append(picture)
    return [
        Group(
            [numbers[picture.name] for picture in group],
            group[0].size,
            work.settings.focal or group[0].focal,
        )
        for group in groups.values()
    ]


def _rename(model: Any, names: Mapping[str, str]) -> None:
    """Give pictures of a model their own names back."""
    for image in model.images.values():
        image.name = names[image.name]


def _told(
    pictures: Sequence[Picture],
    model: Any | None,
    links: trust.Links,
    verdict: trust.Verdict,
    made_from: dict[str, Any],
) -> dict[str, Any]:
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


def _write(out: Path, model: Any | None, told: dict[str, Any], thumbnails: Thumbnails) -> None:
    """The scene's files: the model if it is believed, the page, and last what tells that all is."""
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
