"""Masks of what the photographs of a sparse model look at, and where they are not known.

Rounds of what Campbell et al. 2010 do: colours of object and background, a cut of each picture, a
shape by votes that tells the next round where to look; until the cuts stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.morphology import convex_hull_image
from tqdm import tqdm

from multiview.scenes.readers.points import SparsePoints
from multiview.segmentation.evidence import Evidence, weigh
from multiview.segmentation.object_box import (
    NEAR,
    Fixation,
    ObjectBox,
    Plane,
    find_box,
    find_fixation,
    find_plane,
    good_points,
)
from multiview.segmentation.photograph import Array, Floats, Mask, Photograph
from multiview.segmentation.support import look_of
from multiview.segmentation.votes import SEEN_BY, Cells
from sdfrender.errors import InputError
from sdfrender.masks.cut import cut

ROUNDS = 4  # at most
SETTLED = 0.03  # of the masks' pixels change in the last round
SMOOTHNESS = 2.0  # log-odds
TRUST = 2.0  # log-odds that the shape of the round before gives inside of its outline
MARGIN = 4  # cells beyond its outline; there is no object farther away
AGREE = 0.9  # of the cuts that show a cell have it, of the object
PERHAPS = 0.7  # of the cuts, of what may be object
LOW = 2  # cells above the plane, below which nothing is taken to hide it
CLEAR = 6  # pixels about what may be object that background is not learned from
LEAST_AGREEMENT = 0.5  # of cuts and shape, below which nothing was found
NEVER = -20.0  # log-odds
UNDECIDED = math.log(2)  # log-odds below which a neighbourhood of pixels does not say what it is
BLUR = 3  # pixels, of that neighbourhood
CROSS = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True, eq=False)
class FoundMasks:
    """The object in N photographs.

    Args:
        masks: `[H, W]` each, where it is.
        known: `[H, W]` each, where that is known.
        bounds: `[2, 3]` box of its shape along the world's axes, world units.
        plane: what it stands on, if there is such a plane.
        agreement: mean IoU of masks and pictures of the shape.
        rounds: until it settled.
    """

    masks: list[Mask]
    known: list[Mask]
    bounds: Array
    plane: Plane | None
    agreement: float
    rounds: int
    warnings: tuple[str, ...] = ()


def find_masks(
    photographs: list[Photograph],
    sparse: SparsePoints,
    given: Mapping[int, Mask] | None = None,
    quiet: bool = True,
) -> FoundMasks:
    """Find the object that N photographs look at.

    Args:
        photographs: N of them.
        sparse: points that they show.
        given: masks `[H, W]` that are known, by the photograph's position.
        quiet: no progress bar.

    Raises:
        InputError: no object is found; the message says what to do.
    """
    given = given or {}
    fixation = find_fixation(photographs)
    points = good_points(sparse)
    near = np.linalg.norm(points - fixation.point, axis=-1) < NEAR * fixation.distance
    plane = find_plane(points[near], photographs, fixation)
    box = find_box(sparse, photographs, fixation, plane)
    warnings = []
    if plane is None:
        warnings.append(
            "no plane that the object stands on was found: parts of what it touches may be in the "
            "masks; look at them, and correct a few"
        )
    first = [given.get(n, _hull_of_points(photo, box)) for n, photo in enumerate(photographs)]
    cells = Cells.of(box)
    inside = perhaps = np.ones(len(cells.centers), bool)
    cuts: list[Mask] = []
    bar = tqdm(range(ROUNDS), desc="masks", unit="round", disable=quiet)
    for turn in bar:
        shapes = [cells.picture(photo, inside) for photo in photographs]
        trust = (
            [_trust(shape, cells, photo) for shape, photo in zip(shapes, photographs, strict=True)]
            if turn
            else [np.where(shape, 0.0, NEVER) for shape in shapes]
        )
        own = [ndimage.binary_erosion(shape, CROSS, iterations=2) for shape in shapes]
        for n, mask in given.items():
            own[n] = mask
        evidence = _evidence(
            photographs, plane, fixation, cells, inside, perhaps, own if turn else first
        )
        before, cuts = cuts, _cuts(photographs, evidence, trust)
        for n, mask in given.items():
            cuts[n] = mask
        inside, perhaps = _vote(photographs, cells, cuts)
        if not inside.any():
            raise _nothing("no part of space is in enough of the cuts")
        changed = _changed(before, cuts)
        bar.set_postfix(changed=f"{changed:.0%}")
        if changed < SETTLED:
            break
    shapes = [cells.picture(photo, inside) for photo in photographs]
    agreement = float(np.mean([_iou(a, b) for a, b in zip(cuts, shapes, strict=True)]))
    if agreement < LEAST_AGREEMENT:
        raise _nothing(f"cuts and the shape of them all agree to {agreement:.0%} only")
    # What only the shape speaks for, by its outline or by colours that it alone has, is not known.
    alone = evidence.learned_again(_confirmed(evidence, own) or first)
    unhelped = _cuts(photographs, alone, [np.where(t > NEVER, 0.0, NEVER) for t in trust])
    width = _cell_pixels(cells, photographs, fixation)
    known = []
    for n, (mask, shape, other) in enumerate(zip(cuts, shapes, unhelped, strict=True)):
        doubts = (mask ^ shape, mask ^ other, _undecided(mask, alone.total(n)))
        known.append(~np.any([_thick(doubt, width) for doubt in doubts], axis=0))
    for n in given:
        known[n] = np.ones_like(known[n])
    corners = cells.centers[inside]
    bounds = np.stack((corners.min(0), corners.max(0))) + cells.spacing * np.array([[-2], [2]])
    return FoundMasks(cuts, known, bounds, plane, agreement, turn + 1, tuple(warnings))


def _evidence(
    photographs: list[Photograph],
    plane: Plane | None,
    fixation: Fixation,
    cells: Cells,
    inside: Mask,
    perhaps: Mask,
    own: list[Mask],
) -> Evidence:
    """What each pixel says, learned from the object's `own` and from all that is not `perhaps`.

    What lies flat on the plane, as a shadow does, hides nothing of it: cells next to it do not keep
    its look from being learned there.
    """
    support = None
    if plane is not None:
        rising = inside & (plane.heights(cells.centers) > LOW * cells.spacing)
        hidden = [_grown(cells.picture(photo, rising), 2) for photo in photographs]
        support = look_of(plane, photographs, fixation, hidden)
    outside = [photo.seen & ~_grown(cells.picture(photo, perhaps), CLEAR) for photo in photographs]
    return weigh(photographs, support, own, outside)


def _confirmed(evidence: Evidence, own: list[Mask]) -> list[Mask] | None:
    """The object's pixels before a surface that looks otherwise, or None if they are few."""
    found = [mask & (odds > 1) for mask, odds in zip(own, evidence.support, strict=True)]
    enough = sum(mask.sum() for mask in found) > 0.1 * sum(mask.sum() for mask in own)
    return found if enough else None


def _grown(mask: Mask, pixels: int) -> Mask:
    found: Mask = ndimage.binary_dilation(mask, CROSS, iterations=pixels)
    return found


def _hull_of_points(photo: Photograph, box: ObjectBox) -> Mask:
    row, column, framed = photo.pixels_of(box.points)
    drawn = np.zeros(photo.shape, bool)
    drawn[row[framed], column[framed]] = True
    if np.count_nonzero(drawn) < 3:
        return drawn
    found: Mask = convex_hull_image(drawn)  # type: ignore[no-untyped-call]
    return found


def _trust(shape: Mask, cells: Cells, photo: Photograph) -> Array:
    """`[H, W]` log-odds by the place: inside the shape's outline, outside, far outside."""
    if not shape.any():
        return np.full(photo.shape, NEVER)
    depths = photo.project(cells.centers)[1]
    side = max(1.0, cells.spacing * photo.K[0, 0] / max(float(np.median(depths)), 1e-9))
    deep = ndimage.distance_transform_edt(shape) - ndimage.distance_transform_edt(~shape)
    deep = deep / side
    found: Array = np.where(deep < -MARGIN, NEVER, TRUST * (deep / 1.5).clip(-1, 1))
    return found


def _cuts(photographs: list[Photograph], evidence: Evidence, trust: list[Array]) -> list[Mask]:
    """A cut of each picture, in the frame about what may be object."""
    cuts = []
    for n, photo in enumerate(photographs):
        mask = np.zeros(photo.shape, bool)
        possible = trust[n] > NEVER
        if possible.any():
            around = ndimage.binary_dilation(possible, iterations=2).astype(int)
            frame = ndimage.find_objects(around)[0]
            odds = (evidence.total(n) + trust[n])[frame].astype(np.float32)
            mask[frame] = cut(odds, photo.image[frame], SMOOTHNESS)
        cuts.append(mask)
    return cuts


def _vote(photographs: list[Photograph], cells: Cells, cuts: list[Mask]) -> tuple[Mask, Mask]:
    """`[P]` the cells that are object, and those that may be."""
    planes: list[Floats] = [mask.astype(np.float32) for mask in cuts]
    votes, seen = cells.sums(photographs, planes)
    spoken = seen >= max(2, SEEN_BY * len(photographs))
    share = votes / np.maximum(seen, 1)
    return spoken & (share >= AGREE), spoken & (share >= PERHAPS)


def _cell_pixels(cells: Cells, photographs: list[Photograph], fixation: Fixation) -> int:
    """Side of a cell in a picture, and a pixel more."""
    focal = float(np.median([photo.K[0, 0] for photo in photographs]))
    return 2 + int(np.ceil(cells.spacing * focal / fixation.distance))


def _thick(differ: Mask, width: int) -> Mask:
    """The parts of a difference that are wider than an outline's uncertainty."""
    found: Mask = ndimage.binary_opening(differ, np.ones((width, width)))
    return found


def _undecided(mask: Mask, odds: Floats) -> Mask:
    """Where pixels about an object say neither that they are object nor that they are not."""
    near = _grown(mask, 2 * BLUR)
    found: Mask = near & (np.abs(ndimage.gaussian_filter(odds, BLUR)) < UNDECIDED)
    return found


def _changed(before: list[Mask], after: list[Mask]) -> float:
    if not before:
        return 1.0
    changed = sum(float((a ^ b).sum()) for a, b in zip(before, after, strict=True))
    return changed / max(1.0, sum(float(mask.sum()) for mask in after))


def _iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum()) / max(1.0, float((a | b).sum()))


def _nothing(reason: str) -> InputError:
    return InputError(
        f"masks: need an object that the photographs look at, and {reason}: take photographs all "
        "around it that show all of it, or paint masks/NAME.png (white = object) of a few views"
    )
