"""From the coarsest lattice and images to the finest, pass by pass, with checkpoints between."""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from multiview.appearance import Appearance
from multiview.config import FitConfig, Level, Recipe, SdfDiffLevel, SdfDiffRecipe
from multiview.optimize.energy import Terms
from multiview.optimize.floaters import remove_floaters
from multiview.optimize.greedy import Optimizer, greedy_pass, shuffled_pass
from multiview.optimize.sdfdiff import SdfDiff
from multiview.optimize.targets import Targets
from multiview.run_folder import RunFolder
from multiview.scenes import Scene
from sdfrender import Lattice

Bar = Any  # tqdm has no types


@dataclass(frozen=True)
class Position:
    """Where a run was when its checkpoint was written."""

    level: int
    passes: int  # complete ones in this level
    tensors: dict[str, Tensor]


@dataclass
class Fit:
    """A fit: its state while it runs, and what is left at the end."""

    scene: Scene
    lattice: Lattice
    appearance: Appearance
    seconds: float = 0.0
    updates: int = 0
    interrupted: bool = False
    peak_memory_mb: float | None = None  # of a run that is measured again


def level_resolution(config: FitConfig, level: Level) -> int:
    """Samples along the longest side at a level."""
    return max(8, round(config.resolution * level.resolution))


def optimize(state: Fit, config: FitConfig, targets: Targets, run: RunFolder, quiet: bool) -> None:
    """Go through the levels; leaves the result in `state`, also when interrupted."""
    recipe = config.recipe()
    generator = torch.Generator().manual_seed(config.seed)
    losses = torch.full((len(targets.cameras),), math.inf)
    start = restore(state, run, generator, losses) if config.resume else None
    began = time.monotonic() - state.seconds
    pyramid = [
        targets.for_lattice(
            state.lattice.resample(level_resolution(config, level)), level.pixels_per_cell
        )
        for level in recipe.levels
    ]
    bar = progress_bar(recipe.levels, pyramid, quiet)

    for number, (level, level_targets) in enumerate(zip(recipe.levels, pyramid, strict=True)):
        resuming = start is not None and number == start.level
        if start is not None and number < start.level:
            bar.update(level.passes * level_targets.silhouettes.numel())
            continue
        if not resuming:
            resolution = level_resolution(config, level)
            state.lattice = state.lattice.resample(resolution)
            if not isinstance(recipe, SdfDiffRecipe):
                state.lattice = state.lattice.redistance()
        optimizer = choose_optimizer(state, recipe, level, level_targets)
        first = 0
        if resuming and start is not None:
            first = start.passes
            optimizer.restore(start.tensors)
            bar.update(first * level_targets.silhouettes.numel())
        elif number == 0:
            optimizer.estimate_appearance()

        for index in range(first, level.passes):
            if optimizer.settled:
                bar.update((level.passes - index) * level_targets.silhouettes.numel())
                break
            rows = []
            for views, terms in one_pass(optimizer, config, level, index, losses, generator):
                losses[views] = terms.per_view
                state.lattice = optimizer.lattice
                state.updates += 1
                state.seconds = time.monotonic() - began
                rows.append(_row(state, number, index, level_targets, views, terms))
                grid = "×".join(str(n) for n in state.lattice.resolution)
                bar.set_postfix_str(f"level {grid}, loss {float(losses.sum()):.4g}", refresh=False)
                bar.update(0)
            state.appearance.solve()
            run.log(rows)
            bar.update(level_targets.silhouettes.numel())
            save_checkpoint(state, run, optimizer, generator, losses, (number, index + 1))
        state.lattice = optimizer.lattice
        if not isinstance(recipe, SdfDiffRecipe):
            state.lattice = remove_floaters(state.lattice)
        state.seconds = time.monotonic() - began
    bar.close()


def choose_optimizer(
    state: Fit, recipe: Recipe | SdfDiffRecipe, level: Level, targets: Targets
) -> Optimizer:
    """The recipe's, at one level."""
    if isinstance(recipe, SdfDiffRecipe):
        assert isinstance(level, SdfDiffLevel)
        return SdfDiff(state.lattice, targets, state.appearance, recipe, level)
    return Optimizer(state.lattice, targets, recipe.weights, state.appearance)


def one_pass(
    optimizer: Optimizer,
    config: FitConfig,
    level: Level,
    index: int,
    losses: Tensor,
    generator: torch.Generator,
) -> Iterator[tuple[list[int], Terms]]:
    """Pass `index` of a level over the views, in the recipe's order; yields each update."""
    recipe = config.recipe()
    if isinstance(recipe, SdfDiffRecipe):
        assert isinstance(optimizer, SdfDiff)
        return optimizer.run_pass(index)
    optimizer.set_rate(recipe.rate(index / level.passes))
    if recipe.schedule == "greedy":
        return greedy_pass(optimizer, losses)
    return shuffled_pass(optimizer, losses, recipe.batch, generator)


def progress_bar(levels: Sequence[Level], pyramid: Sequence[Targets], quiet: bool) -> Bar:
    """A bar that counts pixels, which is what an update costs; slower where nobody looks on."""
    pixels = [
        level.passes * targets.silhouettes.numel()
        for level, targets in zip(levels, pyramid, strict=True)
    ]
    return tqdm(
        total=sum(pixels),
        disable=quiet,
        bar_format="{percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left{postfix}",
        smoothing=0.05,
        miniters=0,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
    )


def _row(
    state: Fit, level: int, index: int, targets: Targets, views: list[int], terms: Terms
) -> tuple[Any, ...]:
    """One row of `losses.csv`."""
    numbers = (terms.total, terms.color.sum(), terms.silhouette.sum(), terms.carve.sum())
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
        *(f"{float(x):.6g}" for x in (*numbers, terms.eikonal, terms.laplacian)),
    )


# ---------------------------------------------------------------------- checkpoints


def save_checkpoint(
    state: Fit,
    run: RunFolder,
    optimizer: Optimizer,
    generator: torch.Generator,
    losses: Tensor,
    position: tuple[int, int],
) -> None:
    """Write everything that the next pass depends on."""
    tensors = {
        **optimizer.state(),
        "bounds": state.lattice.bounds,
        "losses": losses,
        "generator": generator.get_state(),
        **state.appearance.state(),
    }
    progress = {"position": position, "updates": state.updates, "seconds": state.seconds}
    run.save_checkpoint(tensors, progress)


def restore(
    state: Fit, run: RunFolder, generator: torch.Generator, losses: Tensor
) -> Position | None:
    """Take up a run where its last checkpoint left it; None when it has none yet."""
    found = run.load_checkpoint()
    if found is None:
        run.truncate_log(0)
        return None
    tensors, progress = found
    values, bounds = tensors["values"], tensors["bounds"]
    state.lattice = Lattice(values * tensors["cell"], bounds)
    losses.copy_(tensors["losses"])
    generator.set_state(tensors["generator"])
    state.appearance.restore(tensors)
    state.updates, state.seconds = progress["updates"], progress["seconds"]
    run.truncate_log(state.updates)
    level, passes = progress["position"]
    return Position(level, passes, tensors)
