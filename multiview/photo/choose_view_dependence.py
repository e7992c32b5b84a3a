"""Whether a surface needs fine colours and colours that depend on the view, beyond its model.

As for the model itself, photographs that are held back decide: colours, and what is added to them,
are solved for without these, and have to predict them. They count by their PSNR, as in
`metrics.json`: the mean of all pixels would be that of the worst photograph, as of one at the end
of a row, which no other is near to. How strongly colours are held is chosen in the same way: where
shadows move, more than where they do not.
"""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from multiview.config import FitConfig
from multiview.photo.appearance import Appearance
from multiview.photo.choose_appearance import HELD_BACK
from multiview.photo.solve_view_dependence import Plan, Samples, solve_view_dependence
from multiview.photo.targets import Targets
from sdfrender import Lattice
from sdfrender.looks.view_dependence import Shape, to_eye

log = logging.getLogger("multiview")

DEGREE = 3  # of the harmonics of what depends on the view
MOST_PIXELS = 1_500_000  # to fit to
TRIED = (6, 1)  # iterations and rounds that are enough to choose by
FINE, COARSE = 1.2, 2.4  # pixels a cell: of the layer of colours, and of the one of directions
FINER = 2.0  # at most so many times as fine as the shape's lattice
MOST_VERTICES = 60_000_000  # of a layer's lattice
SMOOTHNESS = (0.02, 0.25)  # of colours, and of what depends on the view, in pixels
PULL = (0.02, 0.2)
HOLDS = (1.0, 8.0)  # times smoothness and pull, of what depends on the view
WORTH = 0.98  # what is richer has to predict with so much of the error of what is simpler


class Addition(NamedTuple):
    """What may be added to a model.

    Args:
        degree: of its harmonics: 0 for fine colours alone, None for nothing.
        hold: how strongly what depends on the view is held smooth and small.
    """

    degree: int | None = None
    hold: float = 1.0


NOTHING, FINE_COLORS = Addition(), Addition(0)


class ViewChoice(NamedTuple):
    """What was added to a model, and how well each candidate predicted views held back.

    Args:
        chosen: what was added.
        errors: of each candidate, of full scale: the geometric mean over views of the root mean
            square; empty if no view could be held back.
    """

    chosen: Addition
    errors: dict[Addition, float]

    def description(self) -> dict[str, Any]:
        """As JSON: the candidates, the best first."""
        candidates = [
            {
                **one._asdict(),
                "held_back_error": error,
                "held_back_psnr": decibels(error),
                "chosen": one == self.chosen,
            }
            for one, error in sorted(self.errors.items(), key=lambda pair: pair[1])
        ]
        return {**self.chosen._asdict(), "candidates": candidates}


def add_view_dependence(
    appearance: Appearance, config: FitConfig, lattice: Lattice, targets: Targets
) -> ViewChoice | None:
    """Give an appearance what photographs show beyond it, if settings or photographs ask for it.

    Args:
        appearance: colour, light and lens, fitted to the surface; they stay as they are.
        config: the settings.
        lattice: the surface.
        targets: all training views, at the size that they are rendered at.

    Returns:
        The choice; None where nothing was to be chosen.
    """
    asked = config.appearance == "view"
    if not asked and (config.appearance != "auto" or appearance.known is not None):
        return None
    errors = held_back_errors(appearance, lattice, targets)
    choice = ViewChoice(best_held(errors) if asked else simplest(errors), errors)
    if choice.chosen != NOTHING:
        samples = seen_beyond(appearance, lattice, targets)
        if not len(samples):
            log.warning(
                "appearance: no photograph surely shows the surface, nothing is added to it"
            )
            return None
        layers = plans(choice.chosen, lattice, targets)
        appearance.beyond = solve_view_dependence(samples, lattice.bounds, layers)
    tell(choice, asked)
    return choice


def tell(choice: ViewChoice, asked: bool) -> None:
    """One line for whoever follows the fit."""
    added = "colours that depend on the view" if choice.chosen.degree else "finer colours"
    if choice.errors and choice.chosen != NOTHING:
        after, before = (decibels(choice.errors[x]) for x in (choice.chosen, NOTHING))
        log.info("appearance: %s, views held back have %.1f dB, %.1f without", added, after, before)
    elif asked:
        log.warning("appearance: %s, as asked; too few views to hold some back and see", added)


def decibels(error: float) -> float:
    """PSNR of a root mean square error."""
    return -20 * math.log10(max(error, 1e-9))


def simplest(errors: dict[Addition, float]) -> Addition:
    """The simplest candidate that predicts about as well as any; the simplest ones are first.

    None is simpler than another one that is held more or less.
    """
    chosen = NOTHING
    for one, error in errors.items():
        same = one.degree == chosen.degree
        if error < (1 if same else WORTH) * errors[chosen]:
            chosen = one
    return chosen


def best_held(errors: dict[Addition, float]) -> Addition:
    """Of those that depend on the view, the one that predicts best."""
    held = {one: error for one, error in errors.items() if one.degree}
    return min(held, key=lambda one: held[one]) if held else Addition(DEGREE)


def held_back_errors(
    appearance: Appearance, lattice: Lattice, targets: Targets
) -> dict[Addition, float]:
    """Error on views held back, of nothing, fine colours, and of all: see `ViewChoice`.

    Args:
        appearance: colour, light and lens; unchanged.
        lattice: the surface.
        targets: N views; with fewer than `HELD_BACK` none can be held back.
    """
    N = len(targets.cameras)
    back = list(range(HELD_BACK // 2, N, HELD_BACK))
    if N < HELD_BACK:
        return {}
    shown, hidden = targets[[n for n in range(N) if n not in back]], targets[back]
    trial = appearance.recolored(lattice, shown)
    seen = seen_beyond(trial, lattice, shown)
    asked = [seen_beyond(trial, lattice, hidden[[n]]) for n in range(len(back))]
    asked = [each for each in asked if len(each)]
    if not len(seen) or not asked:
        return {}
    errors = {NOTHING: _size([each.errors(0.0) for each in asked])}
    for one in (FINE_COLORS, *(Addition(DEGREE, hold) for hold in HOLDS)):
        found = solve_view_dependence(seen, lattice.bounds, plans(one, lattice, targets), *TRIED)
        added = [found.at(each.points, each.to_eye, lattice.bounds) for each in asked]
        errors[one] = _size([each.errors(x) for each, x in zip(asked, added, strict=True)])
    return errors


def plans(addition: Addition, lattice: Lattice, targets: Targets) -> list[Plan]:
    """A layer of fine colours, and one of harmonics up to a degree if that is not 0."""
    pixels = float(lattice.spacing.max() / targets.pixel_sizes(lattice).mean())  # a cell
    fine = Plan(_shape(lattice, min(max(pixels / FINE, 1), FINER)), (0, 0), SMOOTHNESS[0], PULL[0])
    degree, hold = addition
    if not degree:
        return [fine]
    coarse = _shape(lattice, min(pixels / COARSE, 1))
    return [fine, Plan(coarse, (1, degree), hold * SMOOTHNESS[1], hold * PULL[1])]


def _shape(lattice: Lattice, finer: float) -> Shape:
    """Samples of a lattice so many times as fine as another, within what memory holds."""
    finer = min(finer, (MOST_VERTICES / lattice.values.numel()) ** (1 / 3))
    X, Y, Z = (max(2, round((n - 1) * finer) + 1) for n in lattice.values.shape)
    return X, Y, Z


def seen_beyond(appearance: Appearance, lattice: Lattice, targets: Targets) -> Samples:
    """What an appearance leaves of photographs where they surely show the surface.

    Spread evenly over the pixels, at most about `MOST_PIXELS` of them.
    """
    step = math.ceil(float((targets.silhouettes > 0.99).sum()) / MOST_PIXELS) or 1
    points, eyes, left, saturated = [], [], [], []
    for view in range(len(targets.cameras)):
        one = targets[[view]]
        with torch.no_grad():
            out = appearance.render(lattice, one)
        images = appearance.photograph(out.images).expand_as(one.images)
        inside = appearance.certain(out, one)
        where = inside.flatten().nonzero()[view % step :: step, 0]
        some = torch.zeros_like(inside)
        some.view(-1)[where] = True
        found = one.cameras.unproject(out.depths, some)
        points.append(found)
        eyes.append(to_eye(found, one.cameras.centers))
        left.append((one.images - images)[some])
        saturated.append(one.saturated()[some])
    return Samples(*(torch.cat(x) for x in (points, eyes, left, saturated)))


def _size(errors: list[Tensor]) -> float:
    """Geometric mean over views of the root mean square, which is what a mean of decibels is."""
    logs = [math.log(max(float((x**2).mean()), 1e-18)) / 2 for x in errors]
    return math.exp(sum(logs) / len(logs))
