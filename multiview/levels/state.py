"""What a fit knows of its object while it runs, and what is left at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from multiview.optimize.gauss_newton import CPU
from multiview.optimize.hold import Hold
from multiview.photo.appearance import Appearance
from multiview.photo.choose_appearance import Choice
from multiview.photo.choose_view_dependence import ViewChoice
from multiview.photo.exposure import exposed
from multiview.photo.targets import Targets
from multiview.scenes import Scene
from multiview.scenes.corrections import Corrections
from multiview.surgery.floaters import Removed
from sdfrender import Lattice


@dataclass(eq=False)
class Fit:
    """A fit: its state while it runs, and what is left at the end."""

    scene: Scene
    lattice: Lattice
    appearance: Appearance
    seconds: float = 0.0
    updates: int = 0
    interrupted: bool = False
    peak_memory_mb: float | None = None  # of a run that is measured again
    corrections: Corrections | None = None  # of the training views' cameras, if they are refined
    hold: Hold | None = None  # a likely shape to stay near
    removed: list[Removed] = field(default_factory=list)  # small bodies that nothing asked for
    gains: Tensor | None = None  # `[N, C]` exposures of the training views, if they differ
    colors: bool = True  # whether the shape is fitted to them
    stereo: bool = False  # photographs are compared with each other, at first alone
    beside: bool | None = None  # they are in the last passes, beside colours; None: not decided
    observed: Tensor | None = None  # `[X, Y, Z]` views that saw the surface, without silhouettes
    device: torch.device = CPU  # where steps by colours are computed
    choices: list[Choice] = field(default_factory=list)  # of the appearance, one after the other
    beyond: ViewChoice | None = None  # what was added to it in the end


# After each update, with the state and the loss before it; returns seconds that do not count.
OnUpdate = Callable[[Fit, float], float]


def corrected(state: Fit, targets: Targets) -> Targets:
    """The targets with their cameras where they were moved to, and at a common exposure."""
    if state.gains is not None:
        targets = exposed(targets, state.gains)
    if state.corrections is not None:
        targets = targets.with_cameras(state.corrections.apply(targets.cameras))
    return targets
