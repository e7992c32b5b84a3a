"""Which model of colour a scene asks for: the one that predicts views it has not seen."""

from __future__ import annotations

import math

import torch

from multiview.appearance import MODELS, Appearance, Model
from multiview.optimize.targets import Targets
from sdfrender import Lattice

HELD_BACK = 4  # every so many views
ROUNDS = 3  # of light and albedo in turns
CLEARLY = 0.9  # a richer model has to predict with so much of a simpler one's error


def choose_model(lattice: Lattice, targets: Targets, appearance: Appearance) -> Model:
    """The simplest model that predicts held-back views about as well as any.

    Args:
        lattice: the shape so far.
        targets: all training views.
        appearance: whose light is known or not; unchanged.
    """
    chosen: Model = "constant"
    if len(targets.cameras) < HELD_BACK:
        return chosen
    errors = prediction_errors(lattice, targets, appearance)
    for model in MODELS:
        if errors[model] < CLEARLY * errors[chosen]:
            chosen = model
    return chosen


def prediction_errors(
    lattice: Lattice, targets: Targets, appearance: Appearance
) -> dict[Model, float]:
    """Root mean square error of each model on views held back, at their trusted pixels.

    With fewer views than `HELD_BACK` there are none to hold back.
    """
    N = len(targets.cameras)
    back = list(range(HELD_BACK // 2, N, HELD_BACK))
    shown, hidden = targets[[n for n in range(N) if n not in back]], targets[back]
    errors: dict[Model, float] = {}
    with torch.no_grad():
        for model in MODELS:
            trial = Appearance(targets.images.shape[-1], appearance.known, model)
            for _ in range(ROUNDS):
                trial.observe(trial.render(lattice, shown.cameras), shown, lattice)
                trial.solve()
            out = trial.render(lattice, hidden.cameras)
            inside = (out.silhouettes > 0.99) & (hidden.silhouettes > 0.99)
            inside &= hidden.image_weights * hidden.silhouette_weights > 0.99
            squares = (out.images - hidden.images)[inside] ** 2
            errors[model] = math.sqrt(float(squares.mean())) if len(squares) else math.inf
    return errors
