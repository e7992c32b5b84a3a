"""Whether photographs are to be compared with each other: at first, or beside colours at the end.

Stereo helps where the light that photographs are taken in is not one that a model can have. That
shows on a surface that no such model has shaped: coarse steps of stereo from the hull. If lights of
single views predict pixels held back there far better than one light of all views does, it is the
light that changes. Then stereo comes first, and makes a coarse shape.

It also helps where colours are finer than a lattice of them can hold. That shows at the end, on the
surface that colours made: if photographs predict each other better there than the model predicts
them, they are compared beside colours in the last passes.
"""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

import numpy as np
import torch

from multiview.config import FitConfig
from multiview.levels.state import Fit, corrected
from multiview.optimize.energy import EnergyTerms
from multiview.optimize.gauss_newton import GaussNewton
from multiview.optimize.stereo_term import StereoTerm
from multiview.photo.appearance import Appearance
from multiview.photo.choose_appearance import HELD_BACK, Look, prediction_error
from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.recipes import NewtonLevel, NewtonRecipe, Recipe, StereoSettings
from multiview.stereo.matching import Matching, match
from multiview.stereo.outline import Outline, without_colors
from multiview.stereo.pictures import pictures_for
from multiview.stereo.prediction import unpredicted
from multiview.stereo.schedule import with_stereo
from multiview.surgery.floaters import remove_floaters
from sdfrender import Lattice, Lighting, render

log = logging.getLogger("multiview")

MAY_CHANGE, CHANGES = 0.93, 0.87  # on the hull, and on a surface: of the error under one light
AGREE = 0.3  # of the surface seen: so much of it must have a depth at which views agree
LOOKED_AT = 16  # views, from all sides
PIXELS_PER_CELL, COMPARED = 1.5, 3.5  # of renderings and of photographs


def may_agree(hull: Lattice, targets: Targets) -> bool:
    """Whether there are texture and neighbours enough to find depths by."""
    low = targets.for_lattice(hull, PIXELS_PER_CELL)
    with torch.no_grad():
        flat = Lighting(ambient=1.0, headlight=None)
        out = render(hull, low.cameras, lighting=flat, coverage=False)
    middle = hull.bounds.mean(0)
    some = take_turns(targets.cameras, middle, LOOKED_AT)[0]
    pictures = pictures_for(targets, hull, COMPARED)
    found = match(low, pictures, out, float(hull.spacing.max()), Matching(search=3.0), middle, some)
    return len(found.score) > 0 and float(np.mean(found.curvature > 0)) > AGREE


class Step(NamedTuple):
    """An update of the first shape.

    Args:
        level: its number among the levels.
        number: of the pass in it.
        lattice: after it.
        targets: all training views at that level.
        views: of the update.
        terms: the energy before it.
        at: `time.monotonic()` after it.
    """

    level: int
    number: int
    lattice: Lattice
    targets: Targets
    views: list[int]
    terms: EnergyTerms
    at: float


def first_shape(state: Fit, config: FitConfig, targets: Targets, recipe: Recipe) -> list[Step]:
    """Decide whether to compare photographs with each other; if so, begin with that.

    Leaves `stereo` and, if it is on, a coarse shape in the state; returns the updates that made it.
    """
    if not isinstance(recipe, NewtonRecipe) or config.stereo == "off" or not state.colors:
        return []
    hull, look, given = state.lattice, state.appearance, corrected(state, targets)
    asked = config.stereo == "on"
    if not asked:
        if config.light != "auto" or config.init != "hull" or config.prior is not None:
            return []
        if not (light_changes(hull, given, look, MAY_CHANGE) and may_agree(hull, given)):
            return []
    shape, steps = by_stereo(hull, given, with_stereo(recipe, config.resolution))
    state.stereo = asked or light_changes(shape, given, look, CHANGES)
    if not state.stereo:
        return []
    state.lattice = shape
    if not asked:
        tell("the light changes from view to view: photographs are compared patch by patch")
    return steps


def by_stereo(hull: Lattice, targets: Targets, recipe: NewtonRecipe) -> tuple[Lattice, list[Step]]:
    """The steps of a recipe's first resolution, from the hull.

    Args:
        hull: at that resolution.
        targets: all training views, in full.
        recipe: with levels of stereo first.

    Returns:
        The shape, and each update on the way.
    """
    lattice, steps = hull, []
    for number, level in enumerate(coarsest(recipe)):
        method = stereo_steps(lattice, targets, targets, recipe, level)
        for index in range(level.passes):
            if method.settled:
                break
            for views, terms in method.run_pass(index):
                now = method.lattice, method.targets, views, terms, time.monotonic()
                steps.append(Step(number, index, *now))
        lattice, _ = remove_floaters(method.lattice.redistance(), targets)
    return lattice, steps


def coarsest(recipe: NewtonRecipe) -> tuple[NewtonLevel, ...]:
    """The levels of the first resolution that do not look at colours."""
    first = recipe.levels[0].resolution
    return tuple(x for x in recipe.levels if x.resolution == first and not x.colors)


def stereo_steps(
    lattice: Lattice,
    targets: Targets,
    photographs: Targets,
    recipe: NewtonRecipe,
    level: NewtonLevel,
) -> GaussNewton:
    """Gauss-Newton on outlines and stereo at a level; `photographs` are the views in full."""
    assert level.stereo is not None
    stereo = term_at(lattice, photographs, level.stereo)
    low = without_colors(targets.for_lattice(lattice, level.pixels_per_cell))
    return GaussNewton(lattice, low, Outline(), recipe, level, stereo=stereo)


def light_changes(
    lattice: Lattice, targets: Targets, appearance: Appearance, clearly: float
) -> bool:
    """Whether views ask for lights of their own.

    Args:
        lattice: a shape that no light has had a part in.
        targets: all training views.
        appearance: for its channels; unchanged.
        clearly: of the error under one light for all, what may be left under lights of their own.
    """
    if appearance.known is not None or len(targets.cameras) < HELD_BACK:
        return False
    targets = targets.for_lattice(lattice, 2 * PIXELS_PER_CELL)
    targets = targets[take_turns(targets.cameras, lattice.bounds.mean(0), 2 * LOOKED_AT)[0]]
    shared = min(
        prediction_error(lattice, targets, appearance, Look("albedo", light))
        for light in ("scene", "camera")
    )
    own = prediction_error(lattice, targets, appearance, Look("albedo", "view"))
    return own < clearly * shared


def photographs_tell_more(lattice: Lattice, photographs: Targets, appearance: Appearance) -> bool:
    """Whether photographs predict each other better than colours and light predict them.

    Args:
        lattice: the surface that colours made.
        photographs: all training views in full, at a common exposure, with their cameras as they
            are now.
        appearance: colour and light as they stand.
    """
    found = unpredicted(lattice, photographs, appearance)
    log.debug(
        "stereo: neighbours leave %.3f of photographs, the model %.3f; %.2f compared", *found[:3]
    )
    if found.share < AGREE or found.neighbours >= found.model:
        return False
    tell("photographs agree with each other more than with the colours: both count in the end")
    return True


def term_at(
    lattice: Lattice, photographs: Targets, how: StereoSettings, floor: float = Matching.floor
) -> StereoTerm:
    """What compares photographs, given in full, at a level; `floor` is that of `Matching`."""
    pictures = pictures_for(photographs, lattice, how.pixels_per_cell)
    matching = Matching(how.half, floor, search=how.search, whole=how.whole)
    return StereoTerm(pictures, matching)


def tell(text: str) -> None:
    """One line for whoever follows the fit."""
    log.info("stereo: %s", text)
