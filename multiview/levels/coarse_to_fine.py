"""From the coarsest lattice and images to the finest, pass by pass, with checkpoints between."""

from __future__ import annotations

import math
import time

import torch

from multiview.config import FitConfig
from multiview.dense.depth_steps import DepthSteps
from multiview.levels.checkpoint import Position, restore, save_checkpoint
from multiview.levels.first_shape import first_shape
from multiview.levels.methods import Method, choose_method, compare_beside, with_look
from multiview.levels.plan import Plan, level_resolution, plan_levels, shows_colors
from multiview.levels.progress import Bar, log_steps, loss_row, progress_bar, snapshot_due
from multiview.levels.state import Fit, OnUpdate, corrected
from multiview.levels.views import choose_look, refine_exposures, refine_poses
from multiview.optimize.gauss_newton import SPARSE_ABOVE, GaussNewton, kept_up
from multiview.photo.appearance import SMOOTHNESS_AFTER
from multiview.photo.targets import Targets
from multiview.recipes import Level, NewtonRecipe, Recipe, SdfDiffRecipe, for_views
from multiview.run_folder import RunFolder
from multiview.surgery import ahead
from multiview.surgery.concavities import open_concavities
from multiview.surgery.floaters import remove_floaters
from multiview.surgery.handles import remove_thin_handles
from sdfrender import SparseLattice

CAMERAS_EVERY = 2  # passes between refinements of cameras and exposures
BESIDE_COLORS = 3  # last passes in which photographs may be compared beside their colours
ROUNDS_AFTER = 3  # of colours and light at the end, where they were late


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
    way = CoarseToFine(state, config, targets, run, on_update)
    start = way.resume() if config.resume else None
    way.begin(anew=start is None)
    levels = way.plan.recipe.levels
    way.bar = progress_bar(levels, way.plan.pyramid, quiet)
    for number, level in enumerate(levels):
        if start is not None and number < start.level:
            way.skip(number, level.passes)
            continue
        at = start if start is not None and number == start.level else None
        method = way.enter(number, at)
        for index in range(at.passes if at is not None else 0, level.passes):
            if method.settled:
                way.skip(number, level.passes - index)
                break
            way.run_pass(method, number, index)
        way.leave(method, number)
    way.bar.close()


class CoarseToFine:
    """A fit on its way through the levels.

    Args:
        state: of the fit, which is kept up to date.
        config: what was asked for.
        targets: all training views in full, as they were given.
        run: where it is kept.
        on_update: see `optimize`.

    Attributes:
        plan: from `begin` on.
        bar: counts pixels of passes.
        recipe: of the level: the plan's, where the surface is painted the other one.
        before: the method of the level before.
        losses: `[N]` of each training view when it was last looked at.
        colored: whether colours have counted.
        began: `time.monotonic()` when the fit would have begun, had it never waited.
    """

    plan: Plan
    bar: Bar
    recipe: Recipe

    def __init__(
        self, state: Fit, config: FitConfig, targets: Targets, run: RunFolder, on_update: OnUpdate
    ) -> None:
        self.state, self.config, self.targets, self.run = state, config, targets, run
        self.on_update = on_update
        self.generator = torch.Generator().manual_seed(config.seed)
        self.losses = torch.full((len(targets.cameras),), math.inf)
        self.began = time.monotonic() - state.seconds
        self.colored = False
        self.before: Method | None = None

    def resume(self) -> Position | None:
        """Take up the last checkpoint, if there is one."""
        start = restore(self.state, self.run, self.generator, self.losses)
        self.began = time.monotonic() - self.state.seconds
        return start

    def begin(self, anew: bool) -> None:
        """Plan the levels; first of all make a shape to begin with, if none is there yet."""
        state, config = self.state, self.config
        photographs = state.appearance.known is None and state.colors
        recipe = for_views(config.recipe(photographs), len(self.targets.cameras))
        if isinstance(recipe, NewtonRecipe) and state.colors:
            ahead.begin()
        if anew:
            log_steps(state, self.run, first_shape(state, config, self.targets, recipe), self.began)
        self.plan = plan_levels(state, config, self.targets, recipe)

    @property
    def reach(self) -> float:
        """How far distances are needed while the fit goes on, in units of the smallest spacing."""
        steps = isinstance(self.plan.recipe, NewtonRecipe) and self.state.scene.has_silhouettes
        return kept_up(self.state.lattice) if steps else math.inf

    @property
    def by_colors(self) -> bool:
        """Whether Gauss-Newton steps look at colours from the first level to the last."""
        newton = isinstance(self.plan.recipe, NewtonRecipe)
        return newton and self.state.colors and not self.state.stereo

    def skip(self, number: int, passes: int) -> None:
        """Count passes of a level that need not be done."""
        self.bar.update(passes * self.plan.pyramid[number].num_pixels)

    # ------------------------------------------------------------------ the beginning of a level

    def enter(self, number: int, start: Position | None) -> Method:
        """Take up a level: its lattice, how that is coloured and lit, its method.

        Args:
            number: of the level.
            start: where in it the run was; None if it begins.
        """
        state, level, targets = (
            self.state,
            self.plan.recipe.levels[number],
            self.plan.pyramid[number],
        )
        if start is None:
            self.refine_lattice(level)
        first_colors = self.look(number, resuming=start is not None)
        given = corrected(state, targets)
        if start is None and self.by_colors and self.plan.is_finer(level):
            ahead.finish()
            seen = corrected(state, self.plan.pyramid[-1])
            state.lattice = open_concavities(state.lattice, seen, state.appearance)
        method = self.choose_method(number, given)
        if start is not None:
            method.restore(start.tensors)
            self.skip(number, start.passes)
        elif first_colors:
            method.estimate_appearance()
            refine_exposures(state, targets)
            method.targets = corrected(state, targets)
        return method

    def refine_lattice(self, level: Level) -> None:
        """Bring the lattice to the resolution of a level; a fine one only near its surface."""
        state, resolution = self.state, level_resolution(self.config, level)
        if resolution > SPARSE_ABOVE and math.isfinite(self.reach):
            fine = SparseLattice.from_dense(state.lattice, self.reach).resample(resolution)
            state.lattice = fine.redistance(reach=kept_up(fine)).to_dense()
            return
        state.lattice = state.lattice.resample(resolution)
        if not isinstance(self.plan.recipe, SdfDiffRecipe):  # which never redistances
            state.lattice = state.lattice.redistance(reach=self.reach)

    def look(self, number: int, resuming: bool) -> bool:
        """Choose how the surface is coloured and lit, where a level is the one to do that before.

        Returns:
            Whether colour and light have everything to learn.
        """
        state, plan = self.state, self.plan
        shown = shows_colors(plan.recipe.levels[number])
        anew = shown and not self.colored and not resuming
        self.colored = self.colored or shown
        if anew or (number == plan.again and not resuming):
            anew = choose_look(state, self.config, plan.pyramid[number]) or anew
        painted = shown and state.appearance.model != "constant"
        self.recipe = plan.painted if painted else plan.recipe
        return anew

    def choose_method(self, number: int, targets: Targets) -> Method:
        """The method of a level, on views that are corrected; it knows what the last one learnt."""
        method = choose_method(
            self.state,
            self.recipe,
            self.recipe.levels[number],
            targets,
            self.losses,
            self.generator,
            self.targets,
            self.plan.groups,
        )
        if isinstance(method, GaussNewton) and isinstance(self.before, GaussNewton):
            method.follow(self.before)
        return method

    # ------------------------------------------------------------------ a pass, the end of a level

    def run_pass(self, method: Method, number: int, index: int) -> None:
        """One pass over the views, all that is learnt after it, and a checkpoint."""
        state, targets = self.state, self.plan.pyramid[number]
        level = self.recipe.levels[number]
        if self.plan.is_last(number) and index >= level.passes - BESIDE_COLORS:
            compare_beside(state, self.config, method, self.targets)
        rows = []
        for views, terms in method.run_pass(index):
            self.losses[views] = terms.per_view
            state.lattice = method.lattice
            state.updates += 1
            state.seconds = time.monotonic() - self.began
            self.began += self.on_update(state, float(terms.total))
            rows.append(loss_row(state, self.plan.before + number, index, targets, views, terms))
            self.tell()
        if shows_colors(level):
            self.learn(method, targets, refine=index % CAMERAS_EVERY == CAMERAS_EVERY - 1)
        self.run.log(rows)
        self.bar.update(targets.num_pixels)
        passes = index + 1
        if snapshot_due(self.recipe.levels, number, passes):  # or a kill between would lose it
            self.run.save_snapshot(state.lattice, state.updates)
        place = number, passes
        save_checkpoint(state, self.run, method, self.generator, self.losses, place)

    def tell(self) -> None:
        """Show on the bar how fine the lattice is and how far the photographs are explained."""
        grid = "×".join(str(n) for n in self.state.lattice.resolution)
        loss = float(self.losses.sum())
        self.bar.set_postfix_str(f"level {grid}, loss {loss:.4g}", refresh=False)
        self.bar.update(0)

    def learn(self, method: Method, targets: Targets, refine: bool) -> None:
        """Solve for colour and light after a pass; if asked, `refine` exposures and cameras."""
        state = self.state
        if isinstance(method, GaussNewton) and method.on_card:
            method.solve_appearance()  # there, and what is found is in the state, too
        else:
            state.appearance.solve()
        if refine:
            refine_exposures(state, targets)
            refine_poses(state, targets, self.recipe.weights, self.config.refine_intrinsics)
            method.targets = corrected(state, targets)

    def leave(self, method: Method, number: int) -> None:
        """End a level: distances again, and bodies that nothing asks for are removed."""
        state = self.state
        state.lattice = method.lattice
        if not isinstance(self.plan.recipe, SdfDiffRecipe):
            seen = corrected(state, self.plan.pyramid[number])
            reach = self.reach
            near = state.lattice.redistance(reach=reach)
            state.lattice, gone = remove_floaters(near, seen, reach=reach)
            state.removed += gone
            if self.plan.is_last(number):
                state.lattice = remove_thin_handles(state.lattice, reach)
                self.finish_colors(method, self.plan.pyramid[number])
        self.before = method
        state.seconds = time.monotonic() - self.began

    def finish_colors(self, method: Method, targets: Targets) -> None:
        """Solve for colour and light on the final shape: they were fitted to the one before."""
        state = self.state
        if not isinstance(method, GaussNewton | DepthSteps):
            return
        if not state.colors or isinstance(method, DepthSteps):
            method = with_look(state, self.config, method, targets)
        method.lattice = state.lattice
        late = state.stereo or not state.colors
        turns = late and state.appearance.model != "radiance"  # of colours and light
        for _ in range(ROUNDS_AFTER if turns else 1):
            method.estimate_appearance(SMOOTHNESS_AFTER)
