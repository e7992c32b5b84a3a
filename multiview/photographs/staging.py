"""Pictures and masks in the folder of work, where the library finds them under numbers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image as Pillow

from multiview.photographs.intake import Picture, link_file
from multiview.photographs.mapping import Work
from multiview.photographs.trust import listed
from multiview.scenes.masks.find import masks_in
from sdfrender.errors import InputError
from sdfrender.masks.silhouettes import read_mask


def stage_pictures(work: Work, pictures: Sequence[Picture], images: Path) -> dict[str, str]:
    """Put the pictures into the folder of work; the name there of each name."""
    work.images.mkdir()
    numbers = {}
    for n, picture in enumerate(pictures):
        suffix = Path(picture.name).suffix.lower()
        numbers[picture.name] = f"{n:06d}{suffix}"
        link_file(images / picture.name, work.images / numbers[picture.name])
    return numbers


def stage_masks(
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
        white = read_mask(mask, picture.size) > 0.5
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
        f"no mask for {len(lacking)} of {len(pictures)} pictures ({listed(lacking)}): "
        "features were taken from all of them"
    ]
