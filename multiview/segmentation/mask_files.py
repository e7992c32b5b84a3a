"""The files of found masks: `masks`, `mask_weights`, `masks.json` and `box.json`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from multiview.scenes.distortion import Array, Lens
from multiview.scenes.masks.found import BOX, MASKS, RECORD, WEIGHTS, FoundRecord, sha256
from multiview.scenes.pixels import undistorted
from multiview.scenes.scene import Description, View
from multiview.segmentation.find_masks import FoundMasks
from multiview.segmentation.photograph import Mask
from sdfrender.errors import InputError
from sdfrender.files.atomic import atomic_write, write_json
from sdfrender.files.images import area_average
from sdfrender.masks.silhouettes import read_mask


def given_masks(scene: Description, views: Sequence[View], longest: int) -> dict[int, Mask]:
    """The masks that a person gave or corrected, `[H, W]` by the view's position."""
    record = FoundRecord.read(scene.folder)
    given = {}
    for n, view in enumerate(views):
        if view.mask is None or record.wrote(view.mask):
            continue
        scale = min(1.0, longest / max(view.size))
        width, height = (max(1, round(side * scale)) for side in view.size)
        planes = undistorted(read_mask(view.mask, view.size)[..., None], view, (width, height))
        given[n] = area_average(planes, width, height)[..., 0] > 0.5
    return given


def write_masks(
    scene: Description, views: Sequence[View], found: FoundMasks, told: dict[str, Any]
) -> list[str]:
    """Write what was found beside the scene's photographs; masks of a person stay.

    Args:
        scene: whose folder is written to.
        views: N views.
        found: their masks.
        told: what `masks.json` tells beside the files.

    Returns:
        The names of the views whose masks were written.
    """
    record = FoundRecord.read(scene.folder)
    hashes = dict(record.hashes)
    written = []
    for view, mask, known in zip(views, found.masks, found.known, strict=True):
        if view.mask is not None and not record.wrote(view.mask):
            continue
        name = mask_name(scene, view)
        for folder, plane in ((MASKS, mask), (WEIGHTS, known)):
            file = scene.folder / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(file) as partial:
                Pillow.fromarray(as_taken(plane, view)).save(partial)
            hashes[file.relative_to(scene.folder).as_posix()] = sha256(file)
        written.append(view.name)
    lower, upper = found.bounds.tolist()
    write_json(scene.folder / RECORD, {**told, "files": hashes})
    write_json(scene.folder / BOX, {"lower": lower, "upper": upper})
    return written


def mask_name(scene: Description, view: View) -> Path:
    """`NAME.png` of a view's mask, as the readers look for it: by the picture's name.

    Raises:
        InputError: a name that leads out of the folder of masks.
    """
    if view.mask is not None:
        return view.mask.relative_to(scene.folder / MASKS)
    try:
        name = PurePosixPath(view.image.relative_to(scene.folder / "images").as_posix())
    except ValueError:
        name = PurePosixPath(view.name + ".x")
    if name.is_absolute() or ".." in name.parts:
        raise InputError(
            f"{view.image}: need pictures in the scene's folder, beside which masks are written; "
            f"this one's would be {scene.folder / MASKS / name.with_suffix('.png')}"
        )
    return Path(name.with_suffix(".png"))


def as_taken(plane: Mask, view: View) -> NDArray[np.uint8]:
    """A mask `[H, W]` as the view's own picture shows it, lens and size: 0 or 255."""
    width, height = view.size
    u, v = _straight(view.lens, tuple(view.K.ravel().tolist()), width, height)
    rows, columns = v * plane.shape[0] / height - 0.5, u * plane.shape[1] / width - 0.5
    soft = ndimage.map_coordinates(
        plane.astype(np.float32), (rows, columns), order=1, mode="nearest"
    )
    return np.where(soft > 0.5, 255, 0).astype(np.uint8)


@lru_cache(maxsize=2)
def _straight(
    lens: Lens | None, K: tuple[float, ...], width: int, height: int
) -> tuple[Array, Array]:
    """Column and row `[H, W]` of a picture's pixels in that of a pinhole of the same intrinsics."""
    v, u = (np.mgrid[:height, :width] + 0.5).astype(np.float64)
    if lens is None:
        return u, v
    fx, _, cx, _, fy, cy, *_ = K
    x, y = lens.straighten((u - cx) / fx, (v - cy) / fy)
    return fx * x + cx, fy * y + cy
