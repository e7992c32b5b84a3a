"""A scene whose photographs are shared out over the processes of a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from multiview.scenes.exif import exposures_told
from multiview.scenes.masks.missing import doubtful_masks
from multiview.scenes.outside import outside
from multiview.scenes.pixels import (
    Pixels,
    Source,
    are_grey,
    have_one_channel,
    is_frame,
    read_pixels,
)
from multiview.scenes.scene import Array, Description, SharedScene, View
from sdfrender.cluster.ranks import Ranks
from sdfrender.errors import InputError
from sdfrender.view.cameras import Cameras

WHERE = "a fit on several processes (torchrun)"
INSTEAD = "or fit in one process"


def read_share(
    scene: Description,
    views: Sequence[View],
    cameras: Cameras,
    split: tuple[Sequence[int], Sequence[int]],
    threshold: float | None,
    offset: Array,
    ranks: Ranks,
    warnings: Sequence[str],
    least_views: int,
) -> SharedScene:
    """Read this process's share of the photographs; all processes call it together.

    Args:
        scene: as described.
        views: N views.
        cameras: of the N views, at the size to read.
        split: positions of the views to fit, and of those held out.
        threshold: fraction of full scale above which a pixel is object, or None.
        offset: `[3]` of the scene.
        ranks: the processes.
        warnings: what is doubtful so far.
        least_views: to fit.

    Raises:
        InputError: masks that have to be made, or maps; what `load_scene` refuses.
    """
    own = ranks.share(len(views))
    train, held_out = split
    if any(view.depth or view.normal for view in views):
        raise InputError(f"{scene.file}: {WHERE} takes no depth or normal maps: {INSTEAD}")
    if len(train) < least_views:
        raise InputError(f"{scene.file}: need {least_views} views to fit, got {len(train)}")
    mine = [views[n] for n in own]
    size = cameras.width, cameras.height
    pixels = read_pixels(scene, mine, size, threshold, grey=have_one_channel(views))
    _need_masks(scene, pixels, ranks)
    doubts = _doubts(scene, views, cameras, own, pixels, ranks)
    grey = ranks.all(are_grey(pixels.images))
    return SharedScene(
        name=scene.folder.resolve().name,
        names=tuple(view.name for view in views),
        images=pixels.images[..., :1].clone() if grey else pixels.images,
        silhouettes=pixels.silhouettes,
        silhouette_weights=pixels.silhouette_weights,
        image_weights=pixels.image_weights,
        cameras=cameras,
        train=tuple(train),
        held_out=tuple(held_out),
        bounds=scene.bounds,
        loose=scene.loose,
        points=scene.points,
        lighting=scene.lighting,
        color_space=scene.color_space,
        mesh=scene.mesh,
        masks=_counts(pixels, ranks),
        warnings=(*warnings, *outside(scene.folder, list(views)), *doubts),
        offset=offset,
        exposures=exposures_told(views),
        own=tuple(own),
        ranks=ranks,
        told=ranks.any(bool((pixels.silhouette_weights > 0).any())),
    )


def _need_masks(scene: Description, pixels: Pixels, ranks: Ranks) -> None:
    """Refuse photographs whose masks come from the others."""
    unknown = any(source not in ("file", "alpha") for source in pixels.sources)
    if ranks.any(unknown):
        raise InputError(
            f"{scene.file}: {WHERE} needs a mask file or an alpha channel for each view: "
            f"`multiview mask` makes them, {INSTEAD}"
        )
    framed = all(
        source == "alpha" and is_frame(silhouette)
        for source, silhouette in zip(pixels.sources, pixels.silhouettes, strict=True)
    )
    if ranks.all(framed):
        raise InputError(
            f"{scene.file}: {WHERE} needs alpha channels that say where the object is, these are "
            f"frames around the pictures: `multiview mask` makes masks, {INSTEAD}"
        )


def _counts(pixels: Pixels, ranks: Ranks) -> dict[str, float]:
    """How many views of all have their silhouette from where."""
    sources: tuple[Source, ...] = ("file", "alpha")
    here = Counter(pixels.sources)
    counts = ranks.sum(torch.tensor([here[source] for source in sources])).tolist()
    return {source: float(count) for source, count in zip(sources, counts, strict=True) if count}


def _doubts(
    scene: Description,
    views: Sequence[View],
    cameras: Cameras,
    own: list[int],
    pixels: Pixels,
    ranks: Ranks,
) -> list[str]:
    """What is doubtful about masks, beside those of the same process.

    Raises:
        InputError: no mask tells object from background.
    """
    wrong, found = "", []
    try:
        if own:
            found = doubtful_masks(scene, [views[n] for n in own], cameras[own], pixels)
    except InputError as error:
        wrong = str(error)
    if ranks.all(bool(wrong) or not own):
        raise InputError(ranks.texts(wrong)[0])
    told = "\n".join([wrong] if wrong else found)
    return [line for text in ranks.texts(told) for line in text.splitlines()]
