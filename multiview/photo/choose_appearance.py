"""Which model of colour and light a scene asks for: the one that predicts views it has not seen.

A light that is another one in each view says nothing of others: it is found from some of a view's
pixels, and predicts the rest of them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from multiview.config import FitConfig, FixedTo
from multiview.photo.appearance import MODELS, Appearance, Model
from multiview.photo.exposure import estimate_gains, exposed, relative
from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.photo.unknown_light import FIXED_TO
from sdfrender import Lattice
from sdfrender.hull.visual_hull import visual_hull

HELD_BACK = 4  # every so many views
ROUNDS = 3  # of light and albedo in turns
CLEARLY = 0.9  # a richer model has to predict with so much of a simpler one's error
NOTICED = 0.003  # of full scale, by which the error has to fall at least
BY_FAR = 0.75  # so much, if it has numbers for each view, which take up much that is not light
CONTENDERS = 1.5  # times the least error, beyond which a model is not tried again
MOST_VIEWS = 32  # from all sides, are enough
SQUARE = 2  # pixels
FINEST, PIXELS_PER_CELL = 64, 3.0  # of the lattice that colours are tried on, and of renderings


class Look(NamedTuple):
    """A model of colour, what a light that is not known is fixed to, whose exposures they are."""

    model: Model
    fixed_to: FixedTo
    own_exposures: bool = False

    @property
    def of_each_view(self) -> bool:
        """Whether single views have numbers of their own, which predict nothing of others."""
        return self.fixed_to == "view" or self.own_exposures

    def description(self) -> dict[str, Any]:
        """As JSON."""
        light = {} if self.model == "radiance" else {"light": self.fixed_to}
        return {
            "model": self.model,
            **light,
            "exposure": "per-view" if self.own_exposures else "same",
        }


class Choice(NamedTuple):
    """The look that was chosen, and how well each candidate predicted views held back."""

    chosen: Look
    errors: dict[Look, float]

    def packed(self) -> list[Any]:
        """As JSON that `unpacked` reads."""
        return [list(self.chosen), [[*look, error] for look, error in self.errors.items()]]

    @classmethod
    def unpacked(cls, stored: list[Any]) -> Choice:
        """What `packed` was made of."""
        chosen, errors = stored
        return cls(Look(*chosen), {Look(*look): error for *look, error in errors})

    def description(self) -> list[dict[str, Any]]:
        """As JSON: the candidates, the best first, their errors in units of full scale and dB."""
        return [
            {
                **look.description(),
                "held_back_error": error,
                "held_back_psnr": -20 * math.log10(max(error, 1e-9)) if error < math.inf else None,
                "chosen": look == self.chosen,
            }
            for look, error in sorted(self.errors.items(), key=lambda pair: pair[1])
        ]


def decide(
    appearance: Appearance,
    config: FitConfig,
    lattice: Lattice,
    targets: Targets,
    on_hull: bool = True,
    before: Choice | None = None,
    gains: Tensor | None = None,
) -> Choice:
    """Give the appearance the model of colour and light that the settings name, or a chosen one.

    Args:
        appearance: unchanged if its model and light stay as they are.
        config: the settings.
        lattice: colours are tried on it, or on a hull of its box and resolution.
        targets: all training views.
        on_hull: whether they are tried on the hull.
        before: an earlier choice; what predicted far worse than the best then is not tried again.
        gains: of all views of the scene, `[N, C]`, that exposures of their own begin with.
    """
    paper = config.preset == "sdfdiff"
    named = "auto" if config.appearance == "view" else config.appearance
    named = "constant" if paper and named == "auto" else named
    models = MODELS if named == "auto" else (named,)
    auto = config.light == "auto" and appearance.known is None and not paper
    lights = tuple(x for x in FIXED_TO if x != "view" or config.exposure != "per-view")
    own_exposures = (False, True) if auto and config.exposure == "auto" else (False,)
    looks = candidates(models, lights if auto else (appearance.light.fixed_to,), own_exposures)
    if before is not None and before.errors:
        most = CONTENDERS * min(before.errors.values())
        looks = [x for x in looks if before.errors.get(x, 0.0) <= most or x == before.chosen]
    choice = Choice(looks[0], {})
    if len(looks) > 1:
        if on_hull:
            lattice = visual_hull(
                targets.cameras,
                targets.silhouettes,
                targets.silhouette_weights,
                lattice.resolution,
                lattice.bounds,
            )
        choice = choose(lattice, targets, appearance, looks, gains)
    if before is None or choice.chosen[:2] != before.chosen[:2]:
        fixed_to = choice.chosen.fixed_to if auto else appearance.light.fixed_to
        appearance.begin_as(choice.chosen.model, fixed_to)
    return choice


def candidates(
    models: tuple[Model, ...],
    fixed_to: tuple[FixedTo, ...],
    own_exposures: tuple[bool, ...] = (False,),
) -> list[Look]:
    """All of them, the simplest first; what a radiance is seen under does not matter.

    Lights of single views have their exposures in them.
    """
    return [
        Look(model, light, own)
        for model in models
        for own in own_exposures
        for light in (fixed_to[:1] if model == "radiance" else fixed_to)
        if not (own and light == "view")
    ]


def _solved_with_gains(
    trial: Appearance, lattice: Lattice, targets: Targets, gains: Tensor
) -> Tensor:
    """Solve for colours and light at these exposures; returns the exposures that then fit best."""
    even = exposed(targets, gains)
    with torch.no_grad():
        trial.observe(trial.render(lattice, even), even, lattice)
    trial.solve()
    return relative(estimate_gains(lattice, trial, targets))


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
    return choose(lattice, targets, appearance, looks).chosen


def choose(
    lattice: Lattice,
    targets: Targets,
    appearance: Appearance,
    looks: list[Look],
    gains: Tensor | None = None,
) -> Choice:
    """The same, and the errors of all candidates."""
    chosen = looks[0]
    if len(targets.cameras) < HELD_BACK:
        return Choice(chosen, {})
    if max(lattice.resolution) > FINEST:
        lattice = lattice.resample(FINEST)
        targets = targets.for_lattice(lattice, PIXELS_PER_CELL)
    targets = targets[take_turns(targets.cameras, lattice.bounds.mean(0), MOST_VIEWS)[0]]
    errors = {x: prediction_error(lattice, targets, appearance, x, gains) for x in looks}
    for look in looks:
        own = look.of_each_view and not chosen.of_each_view
        clearly = errors[look] < (BY_FAR if own else CLEARLY) * errors[chosen]
        if clearly and errors[look] < errors[chosen] - NOTICED:
            chosen = look
    return Choice(chosen, errors)


def prediction_error(
    lattice: Lattice,
    targets: Targets,
    appearance: Appearance,
    look: Look,
    gains: Tensor | None = None,
) -> float:
    """Root mean square error on views held back, at their trusted pixels.

    With fewer views than `HELD_BACK` there are none to hold back. Exposures begin with `gains`
    `[N, C]` of all views of the scene, or 1.
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
    own = torch.ones(len(shown.cameras), appearance.channels)
    if gains is not None:
        own = gains[shown.views]
    for _ in range(ROUNDS):
        found = _solved_with_gains(trial, lattice, shown, own) if look.own_exposures else None
        if found is None:
            with torch.no_grad():
                trial.observe(trial.render(lattice, shown), shown, lattice)
            trial.solve()
        else:
            own = found
    trusted = hidden.image_weights * hidden.silhouette_weights > 0.99
    squares = torch.cat(
        [
            _squares(trial, lattice, hidden, given, trusted & ~given, look.own_exposures)
            for given in halves(hidden, look)
        ]
    )
    return math.sqrt(float(squares.mean())) if len(squares) else math.inf


def _squares(
    trial: Appearance,
    lattice: Lattice,
    hidden: Targets,
    given: Tensor,
    asked: Tensor,
    own_exposures: bool,
) -> Tensor:
    """Squared errors at pixels that are asked for, what is a view's own found from those given."""
    told = replace(hidden, image_weights=hidden.image_weights * given)
    trial.meet(lattice, told)
    with torch.no_grad():
        out = trial.render(lattice, hidden)
    images = out.images
    if own_exposures:
        images = images * estimate_gains(lattice, trial, told)[:, None, None]
    inside = asked & (out.silhouettes > 0.99) & (hidden.silhouettes > 0.99)
    return (images.clamp(0, 1) - hidden.images)[inside] ** 2


def halves(targets: Targets, look: Look) -> list[Tensor]:
    """What is given of each view to predict the rest: `[H, W]` bool, once or in turns.

    Nothing, or for lights and exposures of single views one half of the squares of a board, then
    the other.
    """
    H, W = targets.silhouettes.shape[1:]
    if not look.of_each_view:
        return [torch.zeros(H, W, dtype=torch.bool)]
    white = (torch.arange(H)[:, None] // SQUARE + torch.arange(W) // SQUARE) % 2 == 0
    return [white, ~white]
