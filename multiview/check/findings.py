"""What is likely wrong with a scene, found by its cameras, silhouettes and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from multiview.check.agreement import Array, Outlines, without
from multiview.check.alternatives import ALTERNATIVES

MISFIT = 0.002  # share of the masks that the hull leaves out, from which an explanation is sought
EXPLAINS = 1 / 3  # of the misfit is left if a mistake is taken back that explains it
APART = 0.15  # misfit from which cameras and masks do not belong together
MOST_SWAPS = 60  # views, up to which every exchange of an odd one is tried
SUSPECTS = 6  # views that alone carve away most, and may not fit the others
ALIKE = 1e-3  # mean difference of two pictures that are the same, of full scale
EXPOSURE = 0.3  # logarithm of a view's brightness over that of the views next to it
NEIGHBOURS = 5  # views that are looked at for that
CUT = 0.02  # of a picture's border that the object covers
INVERTED = 0.6  # of the border that a mask covers if it is inverted
FEW = 8  # views, below which much of a shape is open
ONE_SIDE = 75.0  # degrees from the mean direction within which all views lie
FAR = 50.0  # the scene's size, or its inverse, that is outside of what people use
NAMED = 6


@dataclass(frozen=True)
class Finding:
    """One thing that is likely wrong.

    Args:
        kind: short name.
        text: a sentence.
        advice: what to do.
        views: the names of the views it is about; none for all.
        grave: whether a fit is likely to fail.
    """

    kind: str
    text: str
    advice: str
    views: tuple[str, ...] = ()
    grave: bool = True

    def told(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def mistakes_of_all(outlines: Outlines, agreements: Array) -> list[Finding]:
    """What explains that cameras and masks do not belong together, if one mistake in all does."""
    base = _misfit(agreements)
    if base < MISFIT:
        return []
    left = [_misfit(mistake.repair(outlines).agreements()) for mistake in ALTERNATIVES]
    best = ALTERNATIVES[int(np.argmin(left))]
    if min(left) > EXPLAINS * base:
        return []
    text = (
        f"{best.text}: the hull of all masks leaves {base:.1%} of them out, {min(left):.1%} if "
        "that is taken back"
    )
    return [Finding(best.kind, text, best.advice)]


def odd_views(outlines: Outlines, agreements: Array, names: Sequence[str]) -> list[Finding]:
    """Single views that do not fit the others: swapped masks, or a camera that moved."""
    base = _misfit(agreements)
    odd = _blamed(outlines, base)
    others = range(len(names)) if len(names) <= MOST_SWAPS else odd
    swaps = [(a, b) for a in odd for b in others if a != b]
    left = [_misfit(_swapped(outlines, a, b).agreements()) for a, b in swaps]
    if left and min(left) < max(MISFIT, EXPLAINS**2 * base):
        a, b = sorted(swaps[int(np.argmin(left))])
        text = f"the pictures or masks of '{names[a]}' and '{names[b]}' are swapped"
        return [Finding("masks swapped", text, "exchange them", (names[a], names[b]))]
    return [
        Finding(
            "one camera moved",
            f"view '{names[n]}' does not fit the others: its mask is not where they allow the "
            "object",
            "check its pose and its mask, or leave it out with --train-views",
            (names[n],),
        )
        for n in odd
    ]


def _swapped(outlines: Outlines, a: int, b: int) -> Outlines:
    """With the masks of two views exchanged."""
    order = list(range(len(outlines)))
    order[a], order[b] = b, a
    return outlines.changed(
        silhouettes=outlines.silhouettes[order], weights=outlines.weights[order]
    )


def _blamed(outlines: Outlines, base: float) -> list[int]:
    """The few views without which all others agree."""
    if base < MISFIT or len(outlines) < 5:
        return []
    left, current, odd = list(range(len(outlines))), outlines, []
    for _ in range(max(1, min(4, len(outlines) // 4))):
        outside = current.outside()
        alone = (outside & (outside.sum(0) == 1)).sum(1)
        suspects = np.argsort(-alone)[:SUSPECTS].tolist()
        misfits = [_misfit(without(current, n).agreements()) for n in suspects]
        worst = suspects[int(np.argmin(misfits))]
        odd.append(left.pop(worst))
        current = without(current, worst)
        if min(misfits) < EXPLAINS * base:
            return sorted(odd)
    return []


def _misfit(agreements: Array) -> float:
    """The share of the masks that the hull leaves out."""
    return 1 - float(agreements.mean())


def shuffled(agreements: Array, mistakes: Sequence[Finding], known: bool) -> list[Finding]:
    """Nothing explains it: pictures that belong to other cameras."""
    if mistakes or not known or _misfit(agreements) < APART:
        return []
    return [
        Finding(
            "pictures shuffled",
            f"cameras and masks do not belong together (they agree to {agreements.mean():.0%}), "
            "and no single convention explains it",
            "check that each picture is named by its own camera: sorted names, a list of another "
            "capture, lost frames",
        )
    ]


def lone_masks(silhouettes: Tensor, weights: Tensor, names: Sequence[str]) -> list[Finding]:
    """Masks with nothing in them, and objects that the frame cuts."""
    found = []
    empty = [
        name for name, mask, w in zip(names, silhouettes, weights, strict=True)
        if float(mask.max()) < 0.5 and bool((w > 0.5).any())
    ]  # fmt: skip
    if empty:
        text = f"the mask is empty in {listed(empty)}"
        found.append(Finding("empty mask", text, "make it again (white = object)", tuple(empty)))
    borders = [
        float((torch.cat((m[0], m[-1], m[:, 0], m[:, -1])) > 0.5).float().mean())
        for m in silhouettes
    ]
    inverted = [name for name, border in zip(names, borders, strict=True) if border > INVERTED]
    if inverted:
        text = f"the mask covers most of the picture's border in {listed(inverted)}"
        advice = "make the object white and the background black"
        found.append(Finding("masks inverted", text, advice, tuple(inverted)))
    cut = [name for name, border in zip(names, borders, strict=True) if CUT < border <= INVERTED]
    if cut and len(cut) < 0.9 * len(names):
        text = f"the frame cuts the object in {listed(cut)}"
        advice = (
            "show all of it, or leave these views out; a cut view says nothing beyond its frame"
        )
        found.append(Finding("cut by the frame", text, advice, tuple(cut), False))
    return found


def lone_pictures(
    images: Tensor, silhouettes: Tensor, names: Sequence[str], axes: Array
) -> list[Finding]:
    """Pictures that are there twice, and exposures of their own."""
    found = []
    small = images.mean(-1).numpy()
    doubles = [
        (names[a], names[b])
        for a in range(len(names))
        for b in range(a + 1, len(names))
        if float(np.abs(small[a] - small[b]).mean()) < ALIKE and float(small[a].std()) > 0.01
    ]
    if doubles:
        pairs = ", ".join(f"'{a}' and '{b}'" for a, b in doubles[:NAMED])
        text = f"the same picture is there twice: {pairs}"
        advice = "remove the copies, or give each camera its own picture"
        views = tuple(sorted({name for pair in doubles for name in pair}))
        found.append(Finding("duplicate pictures", text, advice, views))
    inside = silhouettes.numpy() > 0.5
    bright = np.array(
        [float(p[m].mean()) if m.any() else np.nan for p, m in zip(small, inside, strict=True)]
    )
    odd = [names[n] for n in _odd_exposures(bright, axes)]
    if odd and len(odd) <= len(names) // 3:
        text = f"brighter or darker than the others: {listed(odd)}"
        advice = "fit with --exposure per-view, or leave them out"
        found.append(Finding("exposure", text, advice, tuple(odd), False))
    return found


def _odd_exposures(bright: Array, axes: Array) -> list[int]:
    """The views whose brightness `[N]` is not that of those that look the same way, `[N, 3]`."""
    if len(bright) < 2 * NEIGHBOURS:
        return []
    logs = np.log(np.maximum(bright, 1e-4))
    cosines = axes @ axes.T
    np.fill_diagonal(cosines, -2)
    nearest = np.argsort(-cosines, 1)[:, :NEIGHBOURS]
    apart = logs - np.nanmedian(logs[nearest], 1)
    spread = 1.4826 * float(np.nanmedian(np.abs(apart)))
    odd: list[int] = np.flatnonzero(np.abs(apart) > max(EXPOSURE, 4 * spread)).tolist()
    return odd


def placed(centers: Array, target: Array, size: float | None) -> list[Finding]:
    """Too few views, all from one side, or a world of an odd size."""
    found = []
    if len(centers) < FEW:
        text = f"there are {len(centers)} views: much of the shape is open"
        found.append(Finding("too few views", text, f"take {FEW} or more, all around", (), False))
    directions = centers - target
    directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True).clip(1e-12)
    mean = directions.mean(0)
    if np.linalg.norm(mean) > 1e-6:
        cosines = directions @ (mean / np.linalg.norm(mean))
        widest = float(np.degrees(np.arccos(cosines.clip(-1, 1).min())))
        if widest < ONE_SIDE:
            text = f"all views lie within {widest:.0f} degrees of one direction"
            advice = "take photographs from behind as well; what no view sees is made up"
            found.append(Finding("all views on one side", text, advice, (), False))
    if size is not None and not 1 / FAR < size < FAR:
        text = f"the object is {size:.3g} world units large"
        advice = "scale cameras, box and mesh alike if units should be metres; no fit needs it"
        found.append(Finding("scale", text, advice, (), False))
    return found


def listed(names: Sequence[str]) -> str:
    """Some names, and how many more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:NAMED]) + more
