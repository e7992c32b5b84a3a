"""The views of a report: pictures of each, how wrong it is, and in which way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.results.evaluate import ViewScore, predictions
from multiview.results.report.pictures import agreement_picture, difference
from multiview.scenes import Scene
from multiview.stereo.agreement import Agreement
from sdfrender import Lattice
from sdfrender.report.pictures import data_address, for_display

PICTURE_SIZE = 320  # pixels along the longer side, in the table
TOGETHER = 16  # views that are looked at at once
LARGE_SIZE = 640  # and of the view that is worst

Rendering = tuple[Tensor, Tensor]  # image `[H, W, C]`, silhouette `[H, W]`


@dataclass(frozen=True)
class ViewPictures:
    """How one view is shown: `data:` addresses of its pictures, their size in pixels.

    `agreement` is None where the view was not scored.
    """

    width: int
    height: int
    photograph: str
    start: str
    result: str
    difference: str
    agreement: str | None = None


@dataclass(frozen=True)
class ViewCard:
    """One view in the report."""

    index: int  # in the scene
    name: str
    group: str  # "fitted" or "held out"
    score: ViewScore
    why: str
    look: ViewPictures

    @property
    def badness(self) -> tuple[float, float]:
        """Orders views: by the error of the whole image, then of the outline; unknown ones last."""
        whole = self.score.psnr_full
        return -math.inf if math.isnan(whole) else -whole, -(self.score.silhouette_iou or 0.0)


def view_cards(
    scene: Scene,
    start: Lattice,
    lattice: Lattice,
    appearance: Appearance,
    scores: dict[str, list[ViewScore]],
    agreed: Agreement,
) -> list[ViewCard]:
    """All scored views, the worst first; `agreed` holds how photographs agree over them."""
    cards = []
    for key, group, views in (
        ("train", "fitted", scene.train),
        ("held_out", "held out", scene.held_out),
    ):
        scored = list(zip(views, scores.get(key, ()), strict=False))
        looks = _looks(scene, [view for view, _ in scored], start, lattice, appearance)
        for (index, score), (targets, before, after) in zip(scored, looks, strict=True):
            look = _look(scene, targets, before, after)
            look = replace(look, agreement=agreement_of(agreed, index, targets))
            why = explain(*after, targets)
            cards.append(ViewCard(index, scene.names[index], group, score, why, look))
    return sorted(cards, key=lambda card: card.badness, reverse=True)


def large_look(
    scene: Scene, view: int, start: Lattice, lattice: Lattice, appearance: Appearance
) -> ViewPictures:
    """One view, larger."""
    found = _looks(scene, [view], start, lattice, appearance, LARGE_SIZE)
    return _look(scene, *next(found))


def thumbnails(scene: Scene, views: Sequence[int], size: int) -> Targets:
    """Some views, `size` pixels along their longer side or as large as they are."""
    return Targets.of(scene, views).within(size)


def displayed(scene: Scene, image: Tensor) -> Tensor:
    """Values of a scene's images, `[..., C]`, as a screen takes them."""
    return image if scene.color_space == "as stored" else for_display(image)


def picture_of(scene: Scene, image: Tensor, silhouette: Tensor) -> str:
    """A premultiplied image `[H, W, C]` with coverage `[H, W]`, as a `data:` address."""
    alpha = silhouette[..., None].clamp(0, 1)
    color = displayed(scene, (image / alpha.clamp(min=1e-3)).clamp(0, 1))
    return data_address(torch.cat((color.expand(-1, -1, 3), alpha), -1))


def difference_of(rendering: Rendering, targets: Targets) -> str:
    """The difference of one rendering from the one view of `targets`, as a `data:` address."""
    return data_address(
        difference(
            *rendering,
            targets.images[0],
            targets.silhouettes[0],
            targets.silhouette_weights[0],
        )
    )


def agreement_of(agreed: Agreement, view: int, targets: Targets) -> str | None:
    """The map of a scene's view, as large as the one view of `targets`, as a `data:` address."""
    found = agreed.map_of(view)
    if found is None:
        return None
    return data_address(agreement_picture(found, targets.cameras.width, targets.cameras.height))


def _looks(
    scene: Scene,
    views: Sequence[int],
    start: Lattice,
    lattice: Lattice,
    appearance: Appearance,
    size: int = PICTURE_SIZE,
) -> Iterator[tuple[Targets, Rendering, Rendering]]:
    """Each of some views by itself, small, and how the start and the result look there."""
    for first in range(0, len(views), TOGETHER):
        targets = thumbnails(scene, views[first : first + TOGETHER], size)
        before = predictions(start, appearance, targets)
        after = predictions(lattice, appearance, targets)
        for n, pair in enumerate(zip(before, after, strict=True)):
            yield targets[[n]], *pair


def _look(scene: Scene, targets: Targets, before: Rendering, after: Rendering) -> ViewPictures:
    return ViewPictures(
        targets.cameras.width,
        targets.cameras.height,
        photograph=picture_of(scene, targets.images[0], targets.silhouettes[0]),
        start=picture_of(scene, *before),
        result=picture_of(scene, *after),
        difference=difference_of(after, targets),
    )


# ---------------------------------------------------------------------- in words

ROWS, COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")
EVEN = 0.5  # share of the colour's squared error that is one offset
GATHERED = 0.35  # share of the squared error in a ninth of the picture


def explain(image: Tensor, silhouette: Tensor, targets: Targets) -> str:
    """What the error of one view consists of, in a sentence or two.

    Args:
        image: `[H, W, C]` the rendering.
        silhouette: `[H, W]` its coverage.
        targets: the one view that it is to match.
    """
    photo, mask = targets.images[0], targets.silhouettes[0] > 0.5
    covered = silhouette > 0.5
    trusted = targets.silhouette_weights[0] > 0.5
    error = (image - photo).square().mean(-1) * targets.image_weights[0]  # (H, W)
    if not mask.any():
        return "The photograph's mask is empty."
    parts = {
        "missing": mask & ~covered & trusted,
        "extra": covered & ~mask & trusted,
        "both": mask & covered,
    }
    area = float(mask.sum())
    share = {name: float(error[where].sum()) for name, where in parts.items()}
    size = {name: float(where.sum()) / area for name, where in parts.items()}
    total = sum(share.values())
    if total == 0:
        return "Nothing differs."
    main = max(share, key=lambda name: share[name])
    part = f"{share[main] / total:.0%} of the squared error"
    place = _place(error, mask | covered)
    if main == "missing":
        text = f"{size['missing']:.1%} of the object is missing (green): {part}{place}."
    elif main == "extra":
        text = (
            f"The shape sticks out by {size['extra']:.1%} of the object's area (purple): "
            f"{part}{place}."
        )
    else:
        change = (image - photo)[parts["both"]]
        rms = float(change.square().mean().sqrt())
        offset = float(change.mean())
        if offset**2 > EVEN * rms**2:
            how = "too bright" if offset > 0 else "too dark"
            text = f"The whole view is {how} by {abs(offset):.3f} of full scale: {part}."
        else:
            text = f"Colours inside are off by {rms:.3f} of full scale (rms): {part}{place}."
    rest = [
        f"{size[name]:.1%} {words}"
        for name, words in (("missing", "is missing"), ("extra", "sticks out"))
        if name != main and size[name] >= 0.001
    ]
    return text + (f" Outline: {', '.join(rest)}." if rest else "")


def _place(error: Tensor, shown: Tensor) -> str:
    """Where in the object's box most of the error is, if it is gathered anywhere."""
    rows, columns = shown.any(1).nonzero()[:, 0], shown.any(0).nonzero()[:, 0]
    box = error[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    if min(box.shape) < 3:
        return ""
    ninths = [
        [float(cell.sum()) for cell in torch.tensor_split(band, 3, 1)]
        for band in torch.tensor_split(box, 3, 0)
    ]
    total = sum(map(sum, ninths))
    largest, row, column = max(
        (value, i, k) for i, band in enumerate(ninths) for k, value in enumerate(band)
    )
    if total == 0 or largest < GATHERED * total:
        return ""
    return f", most of it at the {_corner(ROWS[row], COLUMNS[column])}"


def _corner(row: str, column: str) -> str:
    if (row, column) == ("middle", "centre"):
        return "centre"
    if row == "middle":
        return column
    return {"upper": "top", "lower": "bottom"}[row] if column == "centre" else f"{row} {column}"


def spread(views: Sequence[int], count: int) -> list[int]:
    """`count` of the views, evenly spread, the first and the last among them."""
    if len(views) <= count:
        return list(views)
    return [views[round(k * (len(views) - 1) / (count - 1))] for k in range(count)]
