"""Which model of colour and light a scene asks for: the one that predicts views it has not seen.

A light that is another one in each view says nothing of others: it is found from some of a view's
pixels, and predicts the rest of them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from multiview.config import FitConfig, FixedTo
from multiview.photo.appearance import MODELS, Appearance, Model
from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.photo.unknown_light import FIXED_TO, UnknownLight
from sdfrender import Lattice
from sdfrender.hull.visual_hull import visual_hull

HELD_BACK = 4  # every so many views
ROUNDS = 3  # of light and albedo in turns
CLEARLY = 0.9  # a richer model has to predict with so much of a simpler one's error
NOTICED = 0.003  # of full scale, by which the error has to fall at least
BY_FAR = 0.7  # so much, if it has a light for each view, which takes up much that is not light
MOST_VIEWS = 32  # from all sides, are enough
SQUARE = 2  # pixels


class Look(NamedTuple):
    """A model of colour, and what a light that is not known is fixed to."""

    model: Model
    fixed_to: FixedTo


def decide(appearance: Appearance, config: FitConfig, lattice: Lattice, targets: Targets) -> None:
    """Give the appearance the model of colour and light that the settings name, or a chosen one.

    Args:
        appearance: before the first pass.
        config: the settings.
        lattice: its box and resolution are those of the hull that colours are tried on.
        targets: all training views.
    """
    paper = config.preset == "sdfdiff"
    named = "constant" if paper and config.appearance == "auto" else config.appearance
    models = MODELS if named == "auto" else (named,)
    auto = config.light == "auto" and appearance.known is None and not paper
    lights = tuple(x for x in FIXED_TO if x != "view" or config.exposure == "same")
    looks = candidates(models, lights if auto else (appearance.light.fixed_to,))
    chosen = looks[0]
    if len(looks) > 1:
        hull = visual_hull(
            targets.cameras,
            targets.silhouettes,
            targets.silhouette_weights,
            lattice.resolution,
            lattice.bounds,
        )
        chosen = choose_look(hull, targets, appearance, looks)
    appearance.model = chosen.model
    if auto:
        light = UnknownLight.dark(chosen.fixed_to, appearance.channels, appearance.views)
        appearance.light = light


def candidates(models: tuple[Model, ...], fixed_to: tuple[FixedTo, ...]) -> list[Look]:
    """All of them, the simplest first; what a radiance is seen under does not matter."""
    return [
        Look(model, light)
        for model in models
        for light in (fixed_to[:1] if model == "radiance" else fixed_to)
    ]


def choose_look(
    lattice: Lattice, targets: Targets, appearance: Appearance, looks: list[Look]
) -> Look:
    """The simplest one that predicts held-back views about as well as any.

    Args:
        lattice: the shape so far.
        targets: all training views.
        appearance: whose light is known or not; unchanged.
        looks: the simplest first. With too few views to hold any back it is the one.
    """
    chosen = looks[0]
    if len(targets.cameras) < HELD_BACK:
        return chosen
    targets = targets[take_turns(targets.cameras, lattice.bounds.mean(0), MOST_VIEWS)[0]]
    errors = {look: prediction_error(lattice, targets, appearance, look) for look in looks}
    for look in looks:
        own_light = look.fixed_to == "view" != chosen.fixed_to
        clearly = errors[look] < (BY_FAR if own_light else CLEARLY) * errors[chosen]
        if clearly and errors[look] < errors[chosen] - NOTICED:
            chosen = look
    return chosen


def prediction_error(
    lattice: Lattice, targets: Targets, appearance: Appearance, look: Look
) -> float:
    """Root mean square error on views held back, at their trusted pixels.

    With fewer views than `HELD_BACK` there are none to hold back.
    """
    N = len(targets.cameras)
    back = list(range(HELD_BACK // 2, N, HELD_BACK))
    shown, hidden = targets[[n for n in range(N) if n not in back]], targets[back]
    trial = Appearance(
        appearance.channels,
        appearance.known,
        look.model,
        fixed_to=look.fixed_to,
        views=appearance.views,
    )
    with torch.no_grad():
        for _ in range(ROUNDS):
            trial.observe(trial.render(lattice, shown), shown, lattice)
            trial.solve()
    trusted = hidden.image_weights * hidden.silhouette_weights > 0.99
    squares = torch.cat(
        [
            _squares(trial, lattice, hidden, given, trusted & ~given)
            for given in halves(hidden, look)
        ]
    )
    return math.sqrt(float(squares.mean())) if len(squares) else math.inf


def _squares(
    trial: Appearance, lattice: Lattice, hidden: Targets, given: Tensor, asked: Tensor
) -> Tensor:
    """Squared errors at pixels that are asked for, the light of a view found from those given."""
    trial.meet(lattice, replace(hidden, image_weights=hidden.image_weights * given))
    with torch.no_grad():
        out = trial.render(lattice, hidden)
    inside = asked & (out.silhouettes > 0.99) & (hidden.silhouettes > 0.99)
    return (out.images - hidden.images)[inside] ** 2


def halves(targets: Targets, look: Look) -> list[Tensor]:
    """What is given of each view to predict the rest: `[H, W]` bool, once or in turns.

    Nothing, or for lights of single views one half of the squares of a board, then the other.
    """
    H, W = targets.silhouettes.shape[1:]
    if look.fixed_to != "view":
        return [torch.zeros(H, W, dtype=torch.bool)]
    white = (torch.arange(H)[:, None] // SQUARE + torch.arange(W) // SQUARE) % 2 == 0
    return [white, ~white]
