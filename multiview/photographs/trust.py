"""Whether to believe what was found: what refuses a model of cameras, and what warns of it.

A small reprojection error certifies nothing: wrong models had .2 to .4 pixels. What told them from
right ones is here: how many pictures were placed, how they hang together, whether the background
moved, whether the lens could exist, and whether another run finds the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multiview.photographs.mapping import Work

Array = NDArray[np.float64]

LEAST_INLIERS = 15  # matches that fit one two-view geometry, of a pair that is verified
FEW = 0.8  # share of pictures placed, below which that is told
TOO_FEW = 0.5  # and below which nothing is believed
# A turntable before a still background, held by hand: .95 of all pairs within .0025. Four scenes
# around which a camera moved: at most .04 of them.
STILL = 0.0025  # of the longer side: matches that one shift, turn and zoom explains so well
STILL_PAIRS = 0.5  # share of all pairs most of whose matches are such
TRIMMED = 5  # rounds of a fit to its nearer matches
FOCALS = (0.35, 6.0)  # over the longer side: lenses that exist
BENT = 0.2  # |k| of a lens that few have
VERY_BENT = 1.0  # and of one that none has
WEAK = 0.4  # share of verified pairs, below which a second run is worth its time
SMALL = 12  # pictures placed, below which it is worth it too
APART = 0.1  # of the median distance to the nearest camera, that two runs may differ by
TURNED = 2.0  # degrees, the same of directions
OTHER_FOCAL = 0.05  # of the focal length, that they may differ by
TINY = 6  # pictures placed, below which distortion and focal length hide each other
NAMED = 5  # pictures that a sentence names


@dataclass(frozen=True)
class Links:
    """How pictures hang together, before any model of them.

    Args:
        names: of the pictures.
        inliers: matches of each verified pair of names that fit one two-view geometry.
        flat: share of verified pairs that one plane or a turn of the camera explains.
        still: share of all pairs most of whose matches one shift, turn and zoom explains.
    """

    names: Sequence[str]
    inliers: dict[tuple[str, str], int]
    flat: float
    still: float

    @property
    def verified(self) -> float:
        """Share of all pairs that were verified."""
        return len(self.inliers) / max(1, len(self.names) * (len(self.names) - 1) // 2)

    @property
    def stand_still(self) -> bool:
        """Whether most pairs of pictures show something that did not move before the camera."""
        return self.still > STILL_PAIRS


@dataclass
class Verdict:
    """What to say of a model.

    Args:
        refusal: why it is not believed, if it is not.
        warnings: what is doubtful, a sentence each.
    """

    refusal: str | None = None
    warnings: list[str] = field(default_factory=list)

    def refuse(self, reason: str) -> None:
        """The first reason is the one that is told."""
        self.refusal = self.refusal or reason


def read_links(work: Work, names: Sequence[str]) -> Links:
    """Read the verified pairs of a database of features and matches."""
    from multiview.photographs.extra import load_pycolmap

    pycolmap = load_pycolmap()
    kinds = pycolmap.TwoViewGeometryConfiguration
    turning = (kinds.PLANAR, kinds.PANORAMIC, kinds.PLANAR_OR_PANORAMIC, kinds.WATERMARK)
    inliers, flat, still = {}, 0, 0
    with pycolmap.Database.open(work.database) as database:
        images = {image.image_id: image for image in database.read_all_images()}
        longer = {c.camera_id: max(c.width, c.height) for c in database.read_all_cameras()}
        points = {identity: database.read_keypoints(identity)[:, :2] for identity in images}
        for pair, geometry in zip(*database.read_two_view_geometries(), strict=True):
            if len(geometry.inlier_matches) < LEAST_INLIERS:
                continue
            one, other = pycolmap.pair_id_to_image_pair(pair)
            matches = np.asarray(geometry.inlier_matches)
            inliers[images[one].name, images[other].name] = len(matches)
            flat += geometry.config in turning
            places = points[one][matches[:, 0]], points[other][matches[:, 1]]
            still += moved_apart(*places) < STILL * longer[images[one].camera_id]
    pairs = max(1, len(names) * (len(names) - 1) // 2)
    return Links(names, inliers, flat / max(1, len(inliers)), still / pairs)


def moved_apart(places: Array, others: Array) -> float:
    """How far most matches are from where one shift, turn and zoom of the picture puts them.

    Nothing where the camera turned in its place, or where it and what is seen stood still. Of what
    lies at several depths a camera that moves sees more.

    Args:
        places: `[M, 2]` pixels in one picture.
        others: `[M, 2]` of the same in another.

    Returns:
        The median distance, pixels.
    """
    one, other = places @ (1, 1j), others @ (1, 1j)
    kept = np.ones(len(one), bool)
    for _ in range(TRIMMED):
        columns = np.column_stack((one[kept], np.ones(kept.sum())))
        zoom, shift = np.linalg.lstsq(columns, other[kept], rcond=None)[0]
        apart = np.abs(zoom * one + shift - other)
        kept = apart <= 1.5 * np.median(apart)
    return float(np.median(apart))


def judge(models: Sequence[Any], links: Links, masked: bool) -> Verdict:
    """Judge models, the one with the most cameras first, by all but a second run.

    Args:
        models: by `mapping.map_cameras`, with the names of `links`.
        links: between all pictures.
        masked: features were taken inside masks only.
    """
    verdict = Verdict()
    if links.stand_still and not masked:
        verdict.refuse(
            f"the background stands still: in {links.still:.0%} of all pairs of pictures most of "
            "what is seen is only shifted as a whole (an object on a turntable before a still "
            "background, a camera that stayed in its place, or a flat thing). Of an object that "
            "turns, give masks (--masks), or take photographs before a plain background; else walk "
            "around it"
        )
    if not models:
        verdict.refuse(
            f"no two of the {len(links.names)} pictures fit together: need photographs that "
            "overlap, of something with texture, from places that differ by 5 to 20 degrees"
        )
        return verdict
    _judge_placed(models, links, masked, verdict)
    for camera in models[0].cameras.values():
        _judge_lens(camera, masked, verdict)
    return verdict


def _judge_placed(models: Sequence[Any], links: Links, masked: bool, verdict: Verdict) -> None:
    """How many pictures have a place, and what keeps the others apart."""
    groups = [placed_names(model) for model in models]
    placed, count = groups[0], len(links.names)
    rest = [name for name in links.names if name not in placed]
    if not rest:
        return
    told = f"{len(placed)} of {count} pictures placed; unplaced: {listed(rest)}"
    others = [group - placed for group in groups[1:] if len(group - placed) >= 3]
    if others:
        one, other = _gap(links.names, placed, others[0])
        told += (
            f". {len(others[0])} of them fit together, but share too few points with the first "
            f"{len(placed)}: take photographs between '{one}' and '{other}'"
        )
    elif len(placed) < FEW * count:
        told += ". Take photographs between those and the others, 5 to 20 degrees apart"
    if not masked and len(placed) < FEW * count:
        told += "; if the object turned and the camera did not, give masks (--masks)"
    if len(placed) < TOO_FEW * count:
        verdict.refuse(told)
    else:
        verdict.warnings.append(told)


def _gap(names: Sequence[str], group: set[str], other: set[str]) -> tuple[str, str]:
    """The two pictures of two groups that are nearest to each other in the order of names."""
    places = {name: n for n, name in enumerate(names)}
    return min(
        ((one, two) for one in group for two in other),
        key=lambda pair: (abs(places[pair[0]] - places[pair[1]]), places[pair[0]]),
    )


def _judge_lens(camera: Any, masked: bool, verdict: Verdict) -> None:
    """Whether a lens could exist."""
    focal = camera.params[0] / max(camera.width, camera.height)
    bent = float(camera.params[3])
    hint = (
        "give the focal length in pixels (--focal), or photographs from more heights and distances"
    )
    if not masked:
        hint += "; if the object turned and the camera did not, give masks (--masks)"
    told = f"a focal length of {camera.params[0]:.0f} pixels at {camera.width}×{camera.height}"
    if not FOCALS[0] < focal < FOCALS[1]:
        verdict.refuse(f"the pictures were explained by {told}, which no lens has: {hint}")
    elif abs(bent) > VERY_BENT:
        verdict.refuse(f"the pictures were explained by a distortion k of {bent:.3g}: {hint}")
    elif abs(bent) > BENT:
        verdict.warnings.append(f"the lens came out as {told} with a distortion k of {bent:.3g}, "
                                f"which few have: {hint}")  # fmt: skip


def worth_another(models: Sequence[Any], links: Links) -> bool:
    """Whether a second run is worth its time: few pictures, or ones that hang together weakly."""
    placed = models[0].num_reg_images()
    bent = any(abs(camera.params[3]) > BENT for camera in models[0].cameras.values())
    return bool(placed < SMALL or placed < FEW * len(links.names) or links.verified < WEAK or bent)


def judge_again(model: Any, other: Any | None, verdict: Verdict) -> None:
    """Refuse a model that another run contradicts."""
    if other is None:
        verdict.refuse(
            "a second run, from other pictures, found no cameras at all: the first is not to be "
            "believed. Take more photographs, 5 to 20 degrees apart"
        )
        return
    apart, turned, shared = differences(model, other)
    more = "Take more photographs, 5 to 20 degrees apart"
    placed = model.num_reg_images()
    few = shared < max(3, (FEW if placed < SMALL else TOO_FEW) * placed)
    if few or apart > APART or turned > TURNED:
        told = f"centres by {apart:.0%} of their distance, directions by {turned:.1f} degrees"
        if few:
            told = f"only {shared} of {placed} pictures are in both"
        verdict.refuse(
            f"two runs place the cameras differently ({told}): the pictures are too few, or hang "
            f"together too weakly, to say. {more}"
        )
    elif shared < placed:
        alone = sorted(placed_names(model) - placed_names(other))
        verdict.warnings.append(
            f"{len(alone)} of {placed} placed pictures have a place by one of two runs only "
            f"({listed(alone)}): their cameras are less certain"
        )
    first, second = (_focal(each) for each in (model, other))
    if abs(np.log(first / second)) > OTHER_FOCAL:
        told = (
            f"two runs found focal lengths of {first:.0f} and {second:.0f} pixels: the pictures do "
            f"not tell which. Give it (--focal), or {more[0].lower()}{more[1:]}, from more heights "
            "and distances"
        )
        if placed < TINY:
            verdict.refuse(told)
        else:
            verdict.warnings.append(told)


def _focal(model: Any) -> float:
    """The focal length of most pictures, pixels."""
    focals = [model.cameras[image.camera_id].params[0] for image in model.images.values()]
    return float(np.median(focals))


def differences(model: Any, other: Any) -> tuple[float, float, int]:
    """How far two models are from each other after the best similarity.

    Returns:
        The largest distance between centres, over the median distance to the nearest camera; the
        largest angle between directions, degrees; and how many pictures both have.
    """
    first, second = poses(model), poses(other)
    names = sorted(first.keys() & second.keys())
    if len(names) < 3:
        return np.inf, np.inf, len(names)
    one, two = (np.stack([table[name] for name in names]) for table in (first, second))
    # The rotation from the cameras' own directions: centres on a line leave it open.
    u, _, vt = np.linalg.svd(np.einsum("nij,nkj->ik", two[:, :, :3], one[:, :, :3]))
    turn = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    centres, targets = one[:, :, 3] @ turn.T, two[:, :, 3]
    centres, targets = centres - centres.mean(0), targets - targets.mean(0)
    scale = float((centres * targets).sum() / (centres**2).sum())
    gaps = np.linalg.norm(targets[:, None] - targets, axis=-1) + np.diag([np.inf] * len(names))
    apart = np.linalg.norm(scale * centres - targets, axis=1).max() / np.median(gaps.min(0))
    cosines = (np.einsum("nij,ik,nkj->n", two[:, :, :3], turn, one[:, :, :3]) - 1) / 2
    return float(apart), float(np.degrees(np.arccos(cosines.clip(-1, 1))).max()), len(names)


def poses(model: Any) -> dict[str, Array]:
    """`[3, 4]` camera to world of each placed picture."""
    found = {}
    for image in model.images.values():
        if image.has_pose:
            rotation = image.cam_from_world().rotation.matrix().T
            found[image.name] = np.column_stack((rotation, image.projection_center()))
    return found


def placed_names(model: Any) -> set[str]:
    """Of the pictures that have a place in a model."""
    return {image.name for image in model.images.values() if image.has_pose}


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
