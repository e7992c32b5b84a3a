"""From the coarsest lattice and images to the finest, pass by pass, with checkpoints between."""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from multiview.config import FitConfig
from multiview.dense.depth_steps import DepthSteps
from multiview.dense.schedule import depths_alone
from multiview.dense.start import as_shown, contrast_floor
from multiview.first_shape import (
    CHANGES,
    MAY_CHANGE,
    Step,
    by_stereo,
    coarsest,
    light_changes,
    may_agree,
    photographs_tell_more,
    stereo_steps,
    tell,
    term_at,
)
from multiview.optimize.energy import EnergyTerms
from multiview.optimize.gauss_newton import CPU, GaussNewton, kept_up
from multiview.optimize.greedy import AdamPasses
from multiview.optimize.hold import Hold
from multiview.optimize.poses import refine_cameras
from multiview.optimize.sdfdiff import SdfDiff
from multiview.photo.appearance import SMOOTHNESS_AFTER, Appearance
from multiview.photo.choose_appearance import Choice, decide
from multiview.photo.choose_view_dependence import ViewChoice
from multiview.photo.exposure import estimate_gains, exposed, relative, starting_gains
from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.recipes import (
    AdamRecipe,
    Level,
    NewtonLevel,
    NewtonRecipe,
    Recipe,
    SdfDiffLevel,
    SdfDiffRecipe,
    Weights,
    for_colors,
    for_views,
    from_maps,
)
from multiview.run_folder import CHECKPOINT, RunFolder
from multiview.scenes import Scene
from multiview.scenes.corrections import Corrections
from multiview.stereo.outline import Outline
from multiview.stereo.schedule import BESIDE, with_stereo
from multiview.surgery import ahead
from multiview.surgery.concavities import open_concavities
from multiview.surgery.floaters import Removed, remove_floaters
from multiview.surgery.handles import remove_thin_handles
from sdfrender import Lattice
from sdfrender.files.tensors import expect, need_tensor
from sdfrender.geometry.grid import samples_per_axis

Bar = Any  # tqdm has no types

CAMERAS_EVERY = 2  # passes between refinements of cameras and exposures
BESIDE_COLORS = 3  # last passes in which photographs may be compared beside their colours
ROUNDS_AFTER = 3  # of colours and light at the end, where they were late
SNAPSHOTS = 16  # of the shape while it forms, about; and one at the end of each level


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


@dataclass(frozen=True, eq=False)
class Position:
    """Where a run was when its checkpoint was written."""

    level: int
    passes: int  # complete ones in this level
    tensors: dict[str, Tensor]


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


OnUpdate = Callable[[Fit, float], float]


def level_resolution(config: FitConfig, level: Level) -> int:
    """Samples along the longest side at a level."""
    return max(8, round(config.resolution * level.resolution))


def optimize(
    state: Fit,
    config: FitConfig,
    targets: Targets,
    run: RunFolder,
    quiet: bool,
    on_update: OnUpdate = lambda state, loss: 0.0,
) -> None:
    """Go through the levels; leaves the result in `state`, also when interrupted.

    `on_update` is called after each update with the state and the loss before it, and returns the
    seconds that it has waited, which do not count.
    """
    photographs = state.appearance.known is None and state.colors
    recipe = for_views(config.recipe(photographs), len(targets.cameras))
    generator = torch.Generator().manual_seed(config.seed)
    losses = torch.full((len(targets.cameras),), math.inf)
    start = restore(state, run, generator, losses) if config.resume else None
    began = time.monotonic() - state.seconds
    if isinstance(recipe, NewtonRecipe) and state.colors:
        ahead.begin()
    if start is None:
        log_steps(state, run, first_shape(state, config, targets, recipe), began)
    done = 0  # levels that made the first shape
    if state.stereo:
        assert isinstance(recipe, NewtonRecipe)
        recipe = with_stereo(recipe, config.resolution)
        done = len(coarsest(recipe))
        recipe = replace(recipe, levels=recipe.levels[done:])
    if not state.colors:
        assert isinstance(recipe, NewtonRecipe)
        recipe = from_maps(recipe)
    if not state.scene.has_silhouettes:
        assert isinstance(recipe, NewtonRecipe)
        recipe = depths_alone(recipe)
    painted = for_colors(recipe)
    bounds = state.lattice.bounds
    grids = [samples_per_axis(level_resolution(config, level), bounds) for level in recipe.levels]
    pyramid = [
        targets.for_grid(grid, bounds, level.pixels_per_cell)
        for grid, level in zip(grids, recipe.levels, strict=True)
    ]
    groups = None  # of the cameras as they were given: the same at all levels, and when resumed
    if isinstance(recipe, NewtonRecipe):
        groups = take_turns(targets.cameras, state.lattice.bounds.mean(0), recipe.views)
    bar = progress_bar(recipe.levels, pyramid, quiet)
    method: Method | None = None
    colored = False  # whether colours have counted
    looked_at = state.colors and not state.stereo and state.appearance.known is None
    again = first_finer(recipe) if looked_at else None

    for number, (level, level_targets) in enumerate(zip(recipe.levels, pyramid, strict=True)):
        resuming = start is not None and number == start.level
        if start is not None and number < start.level:
            bar.update(level.passes * level_targets.num_pixels)
            continue
        if not resuming:
            resolution = level_resolution(config, level)
            state.lattice = state.lattice.resample(resolution)
            if not isinstance(recipe, SdfDiffRecipe):  # which never redistances
                state.lattice = state.lattice.redistance(reach=reach_of(state, recipe))
        shown = not isinstance(level, NewtonLevel) or level.colors
        first_colors = shown and not colored and not resuming
        colored = colored or shown
        if first_colors or (number == again and not resuming):
            first_colors = choose_look(state, config, level_targets) or first_colors
        if shown and state.appearance.model != "constant":
            recipe, level = painted, painted.levels[number]
        last = recipe.levels[-1]
        given = corrected(state, level_targets)
        finer = level.resolution > recipe.levels[0].resolution
        by_colors = state.colors and not state.stereo
        if isinstance(recipe, NewtonRecipe) and finer and by_colors and not resuming:
            ahead.finish()
            seen = corrected(state, pyramid[-1])
            state.lattice = open_concavities(state.lattice, seen, state.appearance)
        before = method
        method = choose_method(state, recipe, level, given, losses, generator, targets, groups)
        if isinstance(method, GaussNewton) and isinstance(before, GaussNewton):
            method.follow(before)
        first = 0
        if resuming and start is not None:
            first = start.passes
            method.restore(start.tensors)
            bar.update(first * level_targets.num_pixels)
        elif first_colors:
            method.estimate_appearance()
            refine_exposures(state, level_targets)
            method.targets = corrected(state, level_targets)

        for index in range(first, level.passes):
            if method.settled:
                bar.update((level.passes - index) * level_targets.num_pixels)
                break
            if level is last and index >= level.passes - BESIDE_COLORS:
                compare_beside(state, config, method, targets)
            rows = []
            for views, terms in method.run_pass(index):
                losses[views] = terms.per_view
                state.lattice = method.lattice
                state.updates += 1
                state.seconds = time.monotonic() - began
                began += on_update(state, float(terms.total))
                rows.append(_row(state, done + number, index, level_targets, views, terms))
                grid = "×".join(str(n) for n in state.lattice.resolution)
                bar.set_postfix_str(f"level {grid}, loss {float(losses.sum()):.4g}", refresh=False)
                bar.update(0)
            if shown and isinstance(method, GaussNewton) and method.on_card:
                method.solve_appearance()  # there, and what is found is in the state, too
            elif shown:
                state.appearance.solve()
            if shown and index % CAMERAS_EVERY == CAMERAS_EVERY - 1:
                refine_exposures(state, level_targets)
                refine_poses(state, level_targets, recipe.weights, config.refine_intrinsics)
                method.targets = corrected(state, level_targets)
            run.log(rows)
            bar.update(level_targets.num_pixels)
            if snapshot_due(recipe.levels, number, index + 1):  # or a kill between would lose it
                run.save_snapshot(state.lattice, state.updates)
            save_checkpoint(state, run, method, generator, losses, (number, index + 1))
        state.lattice = method.lattice
        if not isinstance(recipe, SdfDiffRecipe):
            seen = corrected(state, level_targets)
            reach = reach_of(state, recipe)
            near = state.lattice.redistance(reach=reach)
            state.lattice, gone = remove_floaters(near, seen, reach=reach)
            state.removed += gone
            if level is last:
                state.lattice = remove_thin_handles(state.lattice, reach)
                if isinstance(method, GaussNewton | DepthSteps):
                    # what is seen was fitted to the shape before
                    late = state.stereo or not state.colors
                    if not state.colors or isinstance(method, DepthSteps):
                        method = with_look(state, config, method, level_targets)
                    method.lattice = state.lattice
                    turns = late and state.appearance.model != "radiance"  # of colours and light
                    for _ in range(ROUNDS_AFTER if turns else 1):
                        method.estimate_appearance(SMOOTHNESS_AFTER)
        state.seconds = time.monotonic() - began
    bar.close()


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


def log_steps(state: Fit, run: RunFolder, steps: list[Step], began: float) -> None:
    """Write the updates of the first shape to `losses.csv`, every second one to the film."""
    shape, rows = state.lattice, []
    for step in steps:
        state.updates += 1
        state.seconds, state.lattice = step.at - began, step.lattice
        rows.append(_row(state, step.level, step.number, step.targets, step.views, step.terms))
        if state.updates % 2 == 0:
            run.save_snapshot(state.lattice, state.updates)
    run.log(rows)
    state.lattice = shape


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


def reach_of(state: Fit, recipe: Recipe) -> float:
    """How far distances are needed while the fit goes on, in units of the smallest spacing."""
    steps = isinstance(recipe, NewtonRecipe) and state.scene.has_silhouettes
    return kept_up(state.lattice) if steps else math.inf


def first_finer(recipe: Recipe) -> int | None:
    """The number of the first level that is finer than those before it."""
    first = recipe.levels[0].resolution
    return next((n for n, level in enumerate(recipe.levels) if level.resolution > first), None)


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


def snapshot_due(levels: Sequence[Level], level: int, passes: int) -> bool:
    """Whether to keep the shape after so many passes of a level."""
    every = math.ceil(sum(each.passes for each in levels) / SNAPSHOTS)
    before = sum(each.passes for each in levels[:level])
    return passes == levels[level].passes or (before + passes) % every == 0


def corrected(state: Fit, targets: Targets) -> Targets:
    """The targets with their cameras where they were moved to, and at a common exposure."""
    if state.gains is not None:
        targets = exposed(targets, state.gains)
    if state.corrections is not None:
        targets = targets.with_cameras(state.corrections.apply(targets.cameras))
    return targets


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


def _row(
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


# ---------------------------------------------------------------------- checkpoints


def save_checkpoint(
    state: Fit,
    run: RunFolder,
    method: Method,
    generator: torch.Generator,
    losses: Tensor,
    position: tuple[int, int],
) -> None:
    """Write everything that the next pass depends on."""
    tensors = {
        **method.state(),
        "bounds": state.lattice.bounds,
        "losses": losses,
        "generator": generator.get_state(),
        "stereo": torch.tensor(state.stereo),
        **state.appearance.state(),
    }
    if state.corrections is not None:
        tensors["rotations"] = state.corrections.rotations
        tensors["translations"] = state.corrections.translations
        tensors["intrinsics"] = state.corrections.intrinsics
    if state.gains is not None:
        tensors["gains"] = state.gains
    progress = {
        "position": position,
        "updates": state.updates,
        "seconds": state.seconds,
        "removed": [asdict(body) for body in state.removed],
        "choices": [choice.packed() for choice in state.choices],
        "beside": state.beside,
    }
    run.save_checkpoint(tensors, progress)


def restore(
    state: Fit, run: RunFolder, generator: torch.Generator, losses: Tensor
) -> Position | None:
    """Take up a run where its last checkpoint left it; None when it has none yet."""
    found = run.load_checkpoint()
    if found is None:
        run.truncate_log(0)
        return None
    with expect(run.checkpoint, CHECKPOINT):
        position = _restored(state, generator, losses, *found)
    run.truncate_log(state.updates)
    return position


def _restored(
    state: Fit,
    generator: torch.Generator,
    losses: Tensor,
    tensors: dict[str, Tensor],
    progress: dict[str, Any],
) -> Position:
    """Take up what a checkpoint holds."""
    values = need_tensor(tensors, "values", ("X", "Y", "Z"))
    state.lattice = Lattice(values * need_tensor(tensors, "cell", ()), tensors["bounds"])
    if tensors["losses"].shape != losses.shape:
        raise ValueError(f"losses of {len(tensors['losses'])} views and not of {len(losses)}")
    losses.copy_(tensors["losses"])
    generator.set_state(tensors["generator"])
    state.appearance.restore(tensors, values.numel())
    if state.corrections is not None:
        moved = tensors["rotations"], tensors["translations"]
        state.corrections = Corrections(*moved, state.corrections.center, tensors["intrinsics"])
    state.gains = tensors.get("gains")
    state.stereo = bool(tensors["stereo"])
    state.beside = progress.get("beside")
    state.updates, state.seconds = progress["updates"], progress["seconds"]
    state.removed = [Removed(**body) for body in progress.get("removed", ())]
    state.choices = [Choice.unpacked(stored) for stored in progress["choices"]]
    level, passes = progress["position"]
    return Position(level, passes, tensors)
