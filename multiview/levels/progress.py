"""How far a fit is: a bar, rows of `losses.csv`, shapes for the film."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from multiview.levels.first_shape import Step
from multiview.levels.state import Fit
from multiview.optimize.energy import EnergyTerms
from multiview.photo.targets import Targets
from multiview.recipes import Level
from multiview.run_folder import RunFolder

Bar = Any  # tqdm has no types

SNAPSHOTS = 16  # of the shape while it forms, about; and one at the end of each level


def progress_bar(levels: Sequence[Level], pyramid: Sequence[Targets], quiet: bool) -> Bar:
    """A bar that counts pixels, which is what an update costs; slower where nobody looks on."""
    pixels = [
        level.passes * targets.num_pixels for level, targets in zip(levels, pyramid, strict=True)
    ]
    return tqdm(
        total=sum(pixels),
        disable=quiet,
        bar_format="{percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left{postfix}",
        smoothing=0.05,
        miniters=0,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
    )


def loss_row(
    state: Fit, level: int, index: int, targets: Targets, views: list[int], terms: EnergyTerms
) -> tuple[Any, ...]:
    """One row of `losses.csv`."""
    numbers = (terms.total, terms.color.sum(), terms.silhouette.sum(), terms.carve.sum())
    rest = (terms.eikonal, terms.laplacian, terms.stereo.sum(), terms.maps.sum())
    names = [state.scene.names[state.scene.train[v]] for v in views]
    return (
        state.updates,
        f"{state.seconds:.3f}",
        level,
        "x".join(str(n) for n in state.lattice.resolution),
        targets.cameras.width,
        targets.cameras.height,
        index,
        shlex.join(names),
        *(f"{float(x):.6g}" for x in (*numbers, *rest)),
    )


def log_steps(state: Fit, run: RunFolder, steps: list[Step], began: float) -> None:
    """Write the updates of the first shape to `losses.csv`, every second one to the film."""
    shape, rows = state.lattice, []
    for step in steps:
        state.updates += 1
        state.seconds, state.lattice = step.at - began, step.lattice
        rows.append(loss_row(state, step.level, step.number, step.targets, step.views, step.terms))
        if state.updates % 2 == 0:
            run.save_snapshot(state.lattice, state.updates)
    run.log(rows)
    state.lattice = shape


def snapshot_due(levels: Sequence[Level], level: int, passes: int) -> bool:
    """Whether to keep the shape after so many passes of a level."""
    every = math.ceil(sum(each.passes for each in levels) / SNAPSHOTS)
    before = sum(each.passes for each in levels[:level])
    return passes == levels[level].passes or (before + passes) % every == 0
