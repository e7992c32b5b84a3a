"""The levels of a fit: what each looks at, and which method goes with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from multiview.config import FitConfig
from multiview.dense.schedule import depths_alone
from multiview.levels.first_shape import coarsest
from multiview.levels.state import Fit
from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.recipes import Level, NewtonLevel, NewtonRecipe, Recipe, for_colors, from_maps
from multiview.stereo.schedule import with_stereo
from sdfrender.geometry.grid import samples_per_axis


@dataclass(frozen=True, eq=False)
class Plan:
    """The levels of a fit.

    Args:
        recipe: where the surface has one colour.
        painted: the same where it has colours of its own.
        pyramid: all training views as each level looks at them.
        before: how many levels made the first shape; they are not among these.
        again: the level before which the model of colour and light is chosen again, or None.
        groups: views that take turns. They are of the cameras as they were given: the same at all
            levels, and in a run that goes on.
    """

    recipe: Recipe
    painted: Recipe
    pyramid: list[Targets]
    before: int
    again: int | None
    groups: list[list[int]] | None

    def is_last(self, number: int) -> bool:
        """Whether a level is the last one."""
        return number == len(self.pyramid) - 1

    def is_finer(self, level: Level) -> bool:
        """Whether a level is finer than the first one."""
        return level.resolution > self.recipe.levels[0].resolution


def plan_levels(state: Fit, config: FitConfig, targets: Targets, recipe: Recipe) -> Plan:
    """The levels of a fit from its first shape on.

    Args:
        state: with the first shape.
        config: what was asked for.
        targets: all training views, in full.
        recipe: for as many views.
    """
    before = 0
    if state.stereo:
        assert isinstance(recipe, NewtonRecipe)
        recipe = with_stereo(recipe, config.resolution)
        before = len(coarsest(recipe))
        recipe = replace(recipe, levels=recipe.levels[before:])
    if not state.colors:
        assert isinstance(recipe, NewtonRecipe)
        recipe = from_maps(recipe)
    if not state.scene.has_silhouettes:
        assert isinstance(recipe, NewtonRecipe)
        recipe = depths_alone(recipe)
    bounds = state.lattice.bounds
    grids = [samples_per_axis(level_resolution(config, level), bounds) for level in recipe.levels]
    pyramid = [
        targets.for_grid(grid, bounds, level.pixels_per_cell)
        for grid, level in zip(grids, recipe.levels, strict=True)
    ]
    chosen_late = state.colors and not state.stereo and state.appearance.known is None
    again = first_finer(recipe) if chosen_late else None
    groups = None
    if isinstance(recipe, NewtonRecipe):
        groups = take_turns(targets.cameras, bounds.mean(0), recipe.views)
    return Plan(recipe, for_colors(recipe), pyramid, before, again, groups)


def level_resolution(config: FitConfig, level: Level) -> int:
    """Samples along the longest side at a level."""
    return max(8, round(config.resolution * level.resolution))


def first_finer(recipe: Recipe) -> int | None:
    """The number of the first level that is finer than those before it."""
    first = recipe.levels[0].resolution
    return next((n for n, level in enumerate(recipe.levels) if level.resolution > first), None)


def shows_colors(level: Level) -> bool:
    """Whether a level looks at colours."""
    return not isinstance(level, NewtonLevel) or level.colors
