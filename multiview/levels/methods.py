"""What fits a lattice at one level: by colours, by outlines and stereo, or by depths alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from multiview.config import FitConfig
from multiview.dense.depth_steps import DepthSteps
from multiview.dense.start import as_shown, contrast_floor
from multiview.levels.first_shape import photographs_tell_more, stereo_steps, term_at
from multiview.levels.state import Fit, corrected
from multiview.levels.views import choose_look, refine_exposures
from multiview.optimize.energy import EnergyTerms
from multiview.optimize.gauss_newton import GaussNewton
from multiview.optimize.greedy import AdamPasses
from multiview.optimize.sdfdiff import SdfDiff
from multiview.photo.targets import Targets
from multiview.recipes import (
    AdamRecipe,
    Level,
    NewtonLevel,
    NewtonRecipe,
    Recipe,
    SdfDiffLevel,
    SdfDiffRecipe,
)
from multiview.stereo.outline import Outline
from multiview.stereo.schedule import BESIDE
from sdfrender import Lattice


class Method(Protocol):
    """What fits a lattice at one level of the pyramid."""

    targets: Targets
    """All training views; may be replaced by others of the same size between passes."""

    @property
    def lattice(self) -> Lattice:
        """As it stands, detached."""

    @property
    def settled(self) -> bool:
        """Whether another pass of the level would gain too little."""

    def estimate_appearance(self) -> None:
        """Solve for colour and light before the first step."""

    def run_pass(self, index: int) -> Iterator[tuple[list[int], EnergyTerms]]:
        """Pass `index` over the views; yields each update: its views, the terms before it."""

    def state(self) -> dict[str, Tensor]:
        """Tensors that `restore` needs, among them the lattice: `values` times `cell`."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up the state that an earlier run saved."""


def choose_method(
    state: Fit,
    recipe: Recipe,
    level: Level,
    targets: Targets,
    losses: Tensor,
    generator: torch.Generator,
    photographs: Targets,
    groups: list[list[int]] | None = None,
) -> Method:
    """The recipe's method, at one level; `photographs` are all training views in full."""
    if isinstance(recipe, AdamRecipe):
        return AdamPasses(
            state.lattice, targets, state.appearance, recipe, level.passes, losses, generator
        )
    if isinstance(recipe, SdfDiffRecipe):
        assert isinstance(level, SdfDiffLevel)
        return SdfDiff(state.lattice, targets, state.appearance, recipe, level)
    assert isinstance(level, NewtonLevel)
    if not state.scene.has_silhouettes:
        return depth_steps(state, level, targets, photographs, recipe, groups)
    if not state.colors:
        dark = replace(targets, images=torch.zeros_like(targets.images[..., :1]))
        return GaussNewton(state.lattice, dark, Outline(), recipe, level, state.hold, groups)
    if not level.colors:
        return stereo_steps(state.lattice, targets, photographs, recipe, level)
    stereo = None
    if level.stereo is not None:
        stereo = term_at(state.lattice, photographs, level.stereo)
    look, device = state.appearance, state.device
    return GaussNewton(
        state.lattice, targets, look, recipe, level, state.hold, groups, stereo, device
    )


def depth_steps(
    state: Fit,
    level: NewtonLevel,
    targets: Targets,
    photographs: Targets,
    recipe: NewtonRecipe,
    groups: list[list[int]] | None,
) -> DepthSteps:
    """Gauss-Newton on depths alone at a level; `photographs` are the views in full."""
    assert level.stereo is not None
    shown = as_shown(photographs, state.scene.color_space != "as stored")
    stereo = term_at(state.lattice, shown, level.stereo, contrast_floor(shown.noise))
    return DepthSteps(state.lattice, targets, stereo, recipe.weights, level, groups)


def compare_beside(state: Fit, config: FitConfig, method: Method, targets: Targets) -> None:
    """In the last passes, compare photographs beside their colours if that tells more.

    `targets` are all training views in full, as they were given.
    """
    wanted = config.stereo == "auto" and config.prior is None and state.beside is not False
    known = state.appearance.known is not None or not state.colors
    if not isinstance(method, GaussNewton) or method.stereo is not None or known or not wanted:
        return
    seen = corrected(state, targets)
    if state.beside is None:
        state.beside = photographs_tell_more(state.lattice, seen, state.appearance)
    if state.beside:
        method.compare(term_at(state.lattice, seen, BESIDE))


def with_look(
    state: Fit, config: FitConfig, method: GaussNewton | DepthSteps, targets: Targets
) -> GaussNewton:
    """The method of a fit without colours, with a look to estimate now that the shape is known."""
    if not state.scene.has_silhouettes and config.appearance in ("auto", "view"):
        state.appearance.begin_as("radiance", state.appearance.light.fixed_to)
    elif bool(targets.images.any()):
        choose_look(state, config, targets)
        refine_exposures(state, targets)
    seen = corrected(state, targets)
    recipe = NewtonRecipe((method.level,))
    return GaussNewton(state.lattice, seen, state.appearance, recipe, method.level)
