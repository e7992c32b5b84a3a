"""From a scene with cameras to a scene with masks: the whole way."""

from __future__ import annotations

import logging
from typing import Any

from multiview.scenes import describe_scene
from multiview.scenes.masks.found import FoundRecord
from multiview.scenes.readers.points import SparsePoints, points_file, read_sparse_points
from multiview.scenes.scene import Description, View
from multiview.scenes.selection import natural_key
from multiview.segmentation.contact_sheet import write_sheet
from multiview.segmentation.find_masks import find_masks
from multiview.segmentation.mask_files import given_masks, mask_name, write_masks
from multiview.segmentation.object_box import find_fixation
from multiview.segmentation.photograph import Photograph, read_photographs
from multiview.segmentation.settings import MaskSettings
from multiview.segmentation.stereo_points import stereo_points
from sdfrender.files.locks import locked

log = logging.getLogger("multiview")

SHEET = "masks.html"
DOUBTFUL = 0.75  # agreement of masks and shape, below which a warning is given


def mask_scene(settings: MaskSettings, quiet: bool = True) -> dict[str, Any]:
    """Find masks of a scene's photographs and write them beside it.

    Writes `masks`, `mask_weights`, `masks.json`, `box.json` and `masks.html` into the scene's
    folder. Masks that a person gave or corrected are kept and taken for the truth.

    Args:
        settings: what the user chose.
        quiet: no progress bar.

    Returns:
        What `masks.json` tells, without its files.

    Raises:
        InputError: no object is found; nothing is written then. Or another process writes to
            the scene's folder.
    """
    scene = describe_scene(settings.scene)
    views = sorted(scene.views, key=lambda view: natural_key(view.name))
    if not settings.again and all(view.mask is not None for view in views):
        log.info("masks: all %d photographs have some (--again finds them anew)", len(views))
        record = FoundRecord.read(scene.folder)
        ours = sum(record.wrote(view.mask) for view in views if view.mask is not None)
        return {"views": len(views), "written": 0, "found_before": ours}
    with locked(scene.folder):
        return _found(scene, views, settings, quiet)


def _found(
    scene: Description, views: list[View], settings: MaskSettings, quiet: bool
) -> dict[str, Any]:
    """The same, in a folder that no other process writes to."""
    for view in views:
        if view.mask is None:
            mask_name(scene, view)  # for its errors
    given = given_masks(scene, views, settings.image_size)
    photographs = read_photographs(views, settings.image_size)
    sparse = _points(scene, photographs, settings)
    found = find_masks(photographs, sparse, given, quiet)
    unknown = sum(float((~k).sum()) for k in found.known) / max(
        1.0, sum(float(m.sum()) for m in found.masks)
    )
    warnings = list(found.warnings)
    if found.agreement < DOUBTFUL:
        warnings.append(
            f"masks and the shape of them all agree to {found.agreement:.0%} only: look at "
            f"{SHEET}, correct masks of a few views and run it again with --again"
        )
    told = {
        "views": len(views),
        "given": len(given),
        "agreement": round(found.agreement, 4),
        "unknown_share": round(unknown, 4),
        "rounds": found.rounds,
        "stands_on_a_plane": found.plane is not None,
        "warnings": warnings,
    }
    written = write_masks(scene, views, found, told)
    write_sheet(scene.folder / SHEET, photographs, found, set(given))
    for warning in warnings:
        log.warning("%s", warning)
    return {**told, "written": len(written)}


def _points(
    scene: Description, photographs: list[Photograph], settings: MaskSettings
) -> SparsePoints:
    """The points beside the cameras; where there are none, those that photographs agree on.

    Raises:
        InputError: there are none.
    """
    file = points_file(scene.file)
    if file is not None:
        sparse = read_sparse_points(file)
        if len(sparse.positions):
            return sparse
    return stereo_points(settings.scene, find_fixation(photographs), settings.image_size)
