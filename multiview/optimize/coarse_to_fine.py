"""From the coarsest lattice and images to the finest, pass by pass, with checkpoints between."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from multiview.appearance import Appearance
from multiview.config import FitConfig, Level
from multiview.optimize.energy import Terms
from multiview.optimize.floaters import remove_floaters
from multiview.optimize.greedy import Optimizer, greedy_pass, shuffled_pass
from multiview.optimize.targets import Targets
from multiview.run_folder import RunFolder
from multiview.scenes import Scene
from sdfrender import Lattice

BAR = "{percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left{postfix}"


@dataclass
class Fit:
    """A fit: its state while it runs, and what is left at the end."""

    scene: Scene
    lattice: Lattice
    appearance: Appearance
    seconds: float = 0.0
    updates: int = 0
    interrupted: bool = False


def level_resolution(config: FitConfig, level: Level) -> int:
    """Samples along the longest side at a level."""
    return max(8, round(config.resolution * level.resolution))


def optimize(state: Fit, config: FitConfig, targets: Targets, run: RunFolder, quiet: bool) -> None:
    """Go through the levels; leaves the result in `state`."""
    recipe = config.recipe()
    generator = torch.Generator().manual_seed(config.seed)
    losses = torch.full((len(targets.cameras),), math.inf)
    resumed, tensors = restore(state, run, generator, losses) if config.resume else ((0, 0), {})
    began = time.monotonic() - state.seconds

    pyramid = []
    for level in recipe.levels:
        box = state.lattice.resample(level_resolution(config, level))
        pyramid.append(targets.for_lattice(box, level.pixels_per_cell))
    work = [
        level.passes * t.images.numel() / 1e6
        for level, t in zip(recipe.levels, pyramid, strict=True)
    ]
    bar = tqdm(total=round(sum(work), 2), disable=quiet, unit="Mpx", smoothing=0.05, bar_format=BAR)

    for number, (level, level_targets) in enumerate(zip(recipe.levels, pyramid, strict=True)):
        if number < resumed[0]:
            bar.update(work[number])
            continue
        if number > resumed[0] or resumed[1] == 0:
            resolution = level_resolution(config, level)
            state.lattice = state.lattice.resample(resolution).redistance()
        optimizer = Optimizer(
            state.lattice,
            level_targets,
            recipe.weights,
            state.appearance,
            recipe.learning_rate,
            recipe.redistance,
            coverage=recipe.coverage,
            tracer=recipe.tracer,
            reattach=recipe.reattach,
        )
        first = resumed[1] if number == resumed[0] else 0
        if first:
            optimizer.restore(tensors)
        elif number == 0:
            optimizer.estimate_appearance()
        bar.update(work[number] // level.passes * first)
        for index in range(first, level.passes):
            decay = 0.5 * (1 + math.cos(math.pi * index / level.passes))
            optimizer.set_rate(
                recipe.learning_rate * (recipe.final_rate + (1 - recipe.final_rate) * decay)
            )
            rows = []
            updates = (
                greedy_pass(optimizer, losses)
                if recipe.schedule == "greedy"
                else shuffled_pass(optimizer, losses, recipe.batch, generator)
            )
            for views, terms in updates:
                state.lattice = optimizer.lattice
                state.updates += 1
                state.seconds = time.monotonic() - began
                rows.append(_row(state, number, index, level_targets, views, terms))
                grid = "×".join(str(n) for n in state.lattice.resolution)
                bar.set_postfix_str(f"level {grid}, loss {float(losses.sum()):.4g}")
            state.appearance.solve()
            run.log(rows)
            bar.update(work[number] // level.passes)
            save_checkpoint(state, run, optimizer, generator, losses, (number, index + 1))
        state.lattice = remove_floaters(optimizer.lattice)
        state.seconds = time.monotonic() - began
    bar.close()


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
        " ".join(names),
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
) -> tuple[tuple[int, int], dict[str, Tensor]]:
    """Take up a run where its last checkpoint left it; returns (level, pass) and the tensors."""
    found = run.load_checkpoint()
    if found is None:
        run.truncate_log(0)
        return (0, 0), {}
    tensors, progress = found
    values, bounds = tensors["values"], tensors["bounds"]
    state.lattice = Lattice(values * tensors["cell"], bounds)
    losses.copy_(tensors["losses"])
    generator.set_state(tensors["generator"])
    state.appearance.restore(tensors)
    state.updates, state.seconds = progress["updates"], progress["seconds"]
    run.truncate_log(state.updates)
    level, index = progress["position"]
    return (level, index), tensors
