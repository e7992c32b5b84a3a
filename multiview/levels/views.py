"""What a fit learns of its views: their light and model of colour, exposures, cameras."""

from __future__ import annotations

from multiview.config import FitConfig
from multiview.levels.state import Fit
from multiview.optimize.poses import refine_cameras
from multiview.photo.choose_appearance import decide
from multiview.photo.exposure import estimate_gains, exposed, relative, starting_gains
from multiview.photo.targets import Targets
from multiview.recipes import Weights


def choose_look(state: Fit, config: FitConfig, targets: Targets) -> bool:
    """Choose a model of colour, light and exposures; on the hull before any other shape is known.

    Returns:
        Whether it is another one than before, which has everything to learn.
    """
    before = state.choices[-1] if state.choices else None
    look = state.appearance.model, state.appearance.light.fixed_to, state.gains is not None
    choice = decide(
        state.appearance,
        config,
        state.lattice,
        targets,
        on_hull=state.updates == 0 and not state.stereo,
        before=before,
        gains=starting_gains(state.scene),
    )
    state.choices.append(choice)
    if choice.chosen.own_exposures and state.gains is None:
        state.gains = starting_gains(state.scene)[targets.views]
    elif not choice.chosen.own_exposures and config.exposure != "per-view":
        state.gains = None
    now = state.appearance.model, state.appearance.light.fixed_to, state.gains is not None
    return now != look


def refine_poses(state: Fit, targets: Targets, weights: Weights, intrinsics: bool) -> None:
    """Move the cameras, if they are to be refined; `targets` as they were given."""
    if state.corrections is None:
        return
    if state.gains is not None:
        targets = exposed(targets, state.gains)
    state.corrections = refine_cameras(
        state.corrections,
        state.lattice,
        targets,
        state.appearance,
        weights,
        intrinsics,
    )


def refine_exposures(state: Fit, targets: Targets) -> None:
    """Estimate the exposures, if they differ; `targets` as they were given."""
    if state.gains is None:
        return
    if state.corrections is not None:
        targets = targets.with_cameras(state.corrections.apply(targets.cameras))
    state.gains = relative(estimate_gains(state.lattice, state.appearance, targets))
