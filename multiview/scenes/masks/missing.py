"""Masks that a scene lacks, made from the colour of the background; and masks that cannot be right.

Every warning says which views it is about and what would help.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from multiview.scenes.masks.carving import Carving
from multiview.scenes.pixels import Pixels, read_photo
from multiview.scenes.scene import Description, View
from sdfrender.errors import InputError
from sdfrender.files.images import Image, srgb_to_linear
from sdfrender.masks.background import (
    Background,
    background_silhouette,
    disk_radius,
    find_background,
)
from sdfrender.masks.silhouettes import CLOSING_RADIUS, Mask
from sdfrender.view.cameras import Cameras

LEARN = 8  # views with masks that tell how the object compares with its background
OUTLINE = 2  # pixels to both sides, where masks are grey
LEAST = 30  # pixels within the object that tell
NAMED = 5  # views that a warning names
HOW = (
    "give an alpha channel, or masks/NAME.png with the object in white, or a mask threshold for a "
    "bright object before a dark background"
)


class NoMasks(InputError):
    """No view has a mask, and none can be made."""


def make_masks(
    scene: Description,
    views: Sequence[View],
    cameras: Cameras,
    pixels: Pixels,
    by_background: bool = True,
) -> tuple[dict[str, float], list[str]]:
    """Fill in the silhouettes of views that have none, in place.

    Args:
        scene: whose views these are.
        views: N views.
        cameras: of the N views, at the size of the pixels.
        pixels: of the N views.
        by_background: whether masks may be made from the colour of the background.

    Returns:
        The parameters of the recipe, and warnings.

    Raises:
        NoMasks: no view has a mask, and none can be made.
    """
    missing = [n for n, source in enumerate(pixels.sources) if source == "none"]
    if not missing:
        return {}, []
    known = [n for n, source in enumerate(pixels.sources) if source != "none"]
    carving = None
    if len(known) >= 2:
        carving = Carving.of(
            cameras[known], pixels.silhouettes[known], pixels.silhouette_weights[known],
            scene.bounds,
        )  # fmt: skip
    dark = carving is not None and _has_background_colour(
        [views[n] for n in known], carving, pixels.size
    )
    failed: dict[int, str] = {}
    tolerances = []
    for n in missing:
        if not by_background:
            failed[n] = "--silhouettes files makes none"
            continue
        photo, keep = read_photo(views[n], pixels.size)
        found = _made(photo, keep > 0.5, cameras[n], carving, dark)
        if isinstance(found, str):
            failed[n] = found
            continue
        silhouette, weights, tolerance = found
        color = srgb_to_linear(photo) if scene.color_space == "srgb" else photo
        planes = (color * silhouette[..., None], silhouette, weights * keep, keep)
        pixels.put(n, np.dstack(planes), "background")
        tolerances.append(tolerance)
    if len(failed) == len(views):
        reason = failed[0]
        raise NoMasks(
            f"{views[0].image}: need to know where the object is, and {reason}: {_how(views)}; or "
            "a box, for a fit without silhouettes (--bounds)"
        )
    parameters = {"background_tolerance": round(max(tolerances), 4)} if tolerances else {}
    return parameters, _missing_warnings(views, missing, failed)


def doubtful_masks(
    scene: Description, views: Sequence[View], cameras: Cameras, pixels: Pixels
) -> list[str]:
    """Warnings about masks that are implausible by themselves or beside the others.

    Raises:
        InputError: no mask tells object from background.
    """
    told = [n for n, source in enumerate(pixels.sources) if source != "none"]
    object_everywhere = [n for n in told if float(pixels.silhouettes[n].min()) > 0.999]
    cut = [n for n in told if n not in object_everywhere and _surrounds(pixels.silhouettes[n])]
    if len(object_everywhere) == len(told):
        raise InputError(
            f"{scene.file}: need to know where the object is, but every mask is white everywhere "
            f"and says that all is object: {_how(views)}"
        )
    if len(object_everywhere) + len(cut) == len(told):
        raise InputError(
            f"{scene.file}: need masks with the object in white, but every mask covers most of the "
            "four borders of its picture (is the background white?)"
        )
    warnings = []
    if object_everywhere:
        listed = _listed(views, object_everywhere)
        warnings.append(f"the mask is white everywhere in {listed} and tells nothing: {HOW}")
    if cut:
        listed = _listed(views, cut)
        warnings.append(
            f"the mask covers most of the four borders in {listed}: need the object in white, the "
            "background in black"
        )
    grey = [n for n in told if pixels.sources[n] == "file" and _is_grey(pixels.silhouettes[n])]
    if grey:
        warnings.append(
            f"the mask is grey within the object in {_listed(views, grey)}: need the object in "
            "white, the background in black (are these pictures, or labels?)"
        )
    carving = None
    if len(told) > 2:
        carving = Carving.of(
            cameras[told], pixels.silhouettes[told], pixels.silhouette_weights[told], scene.bounds
        )
    for i, agreement in (carving.contradictions() if carving else {}).items():
        warnings.append(
            f"the mask of view '{views[told[i]].name}' contradicts the others, {agreement:.0%} of "
            "it is where they allow the object: make it again (white = object), check its camera, "
            "or leave the view out with --train-views"
        )
    return warnings


def _made(
    photo: Image, seen: Mask, camera: Cameras, carving: Carving | None, dark: bool
) -> tuple[Image, Image, float] | str:
    """Silhouette and weights `[H, W]` of one picture and its tolerance, or why there are none.

    An object that has the background's colour in places leaves no trace there. Such pixels get
    weight 0: all that the other views allow, if their masks show such places; otherwise those that
    the other masks cannot do without.
    """
    if carving is None:
        background = find_background(photo, None, seen)
        possible = np.ones_like(seen)
    else:
        small = camera.resized(carving.cameras.width, carving.cameras.height)
        possible = _resized(carving.possible(small), photo.shape)
        background = _background(photo, possible, seen)
    if isinstance(background, str):
        return background
    found = background_silhouette(background, possible, seen)
    if isinstance(found, str):
        return found
    silhouette, known = found
    if carving is not None:
        doubtful = possible & (silhouette < 0.5)
        if not dark:
            carved = _resized((silhouette < 0.5) & seen, carving.masks.shape[1:])
            doubtful &= _resized(carving.contradicted(small, carved), photo.shape)
        silhouette, known = np.maximum(silhouette, doubtful), known * ~doubtful
    return silhouette, known, background.tolerance


def _has_background_colour(views: Sequence[View], carving: Carving, size: tuple[int, int]) -> bool:
    """Whether the known masks hold larger patches of the background's colour than are closed."""
    chosen = np.unique(np.linspace(0, len(views) - 1, LEARN).round().astype(int))
    for n in chosen.tolist():
        photo, keep = read_photo(views[n], size)
        possible = _resized(carving.possible(carving.cameras[n], without=n), photo.shape)
        background = _background(photo, possible, keep > 0.5)
        if isinstance(background, Background):
            patches = background.looks_like & _resized(carving.masks[n], photo.shape)
            if disk_radius(patches) > CLOSING_RADIUS:
                return True
    return False


def _background(photo: Image, possible: Mask, seen: Mask) -> Background | str:
    """As seen where no object can be if there is such a place, else along the rim."""
    found = find_background(photo, ~possible, seen)
    return find_background(photo, None, seen) if isinstance(found, str) else found


def _resized(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """A mask at another size `[H, W]`, by the nearest pixel."""
    rows, columns = (
        ((np.arange(wanted) + 0.5) * own / wanted).astype(int)
        for wanted, own in zip(shape[:2], mask.shape, strict=True)
    )
    resized: Mask = mask[np.ix_(rows, columns)]
    return resized


def _surrounds(silhouette: Tensor) -> bool:
    """Whether a silhouette `[H, W]` reaches all four borders and covers more than half of them."""
    edges = (silhouette[0], silhouette[-1], silhouette[:, 0], silhouette[:, -1])
    reached = [edge > 0.5 for edge in edges]
    return all(bool(r.any()) for r in reached) and float(torch.cat(reached).float().mean()) > 0.5


def _is_grey(silhouette: Tensor) -> bool:
    """Whether a mask `[H, W]` is not white in a good part of what is not black, off its outline."""
    lit = (silhouette > 0.1).float()
    inner = -max_pool2d(-lit[None, None], 2 * OUTLINE + 1, 1, OUTLINE)[0, 0] > 0.5
    return int(inner.sum()) >= LEAST and float((silhouette[inner] < 0.9).float().mean()) > 0.2


def _missing_warnings(
    views: Sequence[View], missing: Sequence[int], failed: dict[int, str]
) -> list[str]:
    warnings = []
    made = [n for n in missing if n not in failed]
    if made and len(made) < len(views):
        warnings.append(
            f"no mask for {_listed(views, made)}: made from what differs from the background's "
            f"colour; to be sure, {HOW}"
        )
    for n, reason in failed.items():
        warnings.append(
            f"no mask for view '{views[n].name}', and none could be made ({reason}): the view is "
            f"left out; {HOW}"
        )
    return warnings


def _listed(views: Sequence[View], ids: Sequence[int]) -> str:
    names = ", ".join(f"'{views[n].name}'" for n in ids[:NAMED])
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{len(ids)} of {len(views)} views ({names}{more})"


def _how(views: Sequence[View]) -> str:
    ignored = any(view.ignore for view in views)
    return f"{HOW}{' (mask_path only says which pixels to ignore)' if ignored else ''}"
