"""Inputs one by one: what is seen of each lies beside its result, a bad one stops no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from sdfrender.errors import InputError
from singleview.pictures.contact_sheet import write_picture
from singleview.pictures.input_pictures import NoObject, Picture, load_picture
from singleview.settings.prediction import PredictConfig

INPUT, MASK = "input.png", "mask.png"

T = TypeVar("T")

log = logging.getLogger("singleview")


def each_input(inputs: Sequence[tuple[Path, Callable[[], T]]]) -> list[T]:
    """What becomes of the inputs; an error is told, and the next one is begun.

    Args:
        inputs: the file of each, and what is to be done with it.

    Raises:
        InputError: none of them could be used.
    """
    done: list[T] = []
    errors: list[InputError] = []
    for _, work in inputs:
        try:
            done.append(work())
        except InputError as error:
            errors.append(error)
            if len(inputs) > 1:
                log.error("%s", error)
    if errors and not done:
        if len(inputs) == 1:
            raise errors[0]
        raise InputError(f"none of {len(inputs)} inputs gave a shape, for the reasons above")
    return done


def framed_picture(path: Path, folder: Path, config: PredictConfig) -> Picture:
    """The picture in `path`, framed; it and its mask are written to `folder` as well.

    Where no object is found, the mask is what was taken for one.

    Raises:
        InputError: no picture, or no object in it.
    """
    try:
        picture = load_picture(path, config.mask, config.linear)
    except NoObject as error:
        folder.mkdir(parents=True, exist_ok=True)
        write_picture(folder / MASK, torch.from_numpy(error.coverage)[..., None])
        raise
    folder.mkdir(parents=True, exist_ok=True)
    write_picture(folder / INPUT, picture.image)
    write_picture(folder / MASK, picture.coverage[..., None])
    return picture


def distinct(stems: Sequence[str]) -> list[str]:
    """Names for folders: those given, numbered where one is there already.

    Worked value: x, y, x: x, y, x-2.
    """
    names: list[str] = []
    for stem in stems:
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names
