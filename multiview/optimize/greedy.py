"""Adam on the lattice, a view or a few at a time: the paper's greedy schedule and a shuffled one.

Both call `Optimizer.update(views)`, which renders, steps and redistances once. The unknowns are the
lattice's values in units of the spacing.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from multiview.optimize.energy import EnergyTerms, energy
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.recipes import AdamRecipe, Weights
from sdfrender import Lattice

UPDATES_ABOVE = 20  # SDFDiff §5: most updates of a view that is worse than average
UPDATES_BELOW = 5  # and of any other view
LARGEST_STEP = 0.5  # cells


class Optimizer:
    """A lattice being fitted at one level of the pyramid.

    Args:
        lattice: where to start.
        targets: all N training views at this level.
        weights: of the energy.
        appearance: colour and light; every rendering is shown to it.
    """

    def __init__(
        self,
        lattice: Lattice,
        targets: Targets,
        weights: Weights,
        appearance: Appearance,
    ) -> None:
        self.targets, self.weights, self.appearance = targets, weights, appearance
        self.bounds = lattice.bounds
        self.cell = float(lattice.spacing.max())
        self.values = (lattice.values / self.cell).clone().requires_grad_()
        self.adam = torch.optim.Adam([self.values], betas=(0.9, 0.99))

    @property
    def settled(self) -> bool:
        """Whether the level is done before its passes are."""
        return False

    @property
    def lattice(self) -> Lattice:
        """The lattice as it stands, world units, detached."""
        return Lattice(self.values.detach() * self.cell, self.bounds)

    def set_rate(self, learning_rate: float) -> None:
        """Change Adam's learning rate, in cells."""
        self.adam.param_groups[0]["lr"] = learning_rate

    def estimate_appearance(self) -> None:
        """Render all views once and solve for colour and light, before the first step."""
        with torch.no_grad():
            for view in range(len(self.targets.cameras)):
                self.terms([view])
        self.appearance.solve()

    def state(self) -> dict[str, Tensor]:
        """Tensors that `restore` needs to go on exactly here."""
        adam = self.adam.state[self.values]
        moments = {k: adam[k] for k in ("step", "exp_avg", "exp_avg_sq")}
        return {"values": self.values.detach(), "cell": torch.tensor(self.cell), **moments}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up the state that an earlier run saved."""
        self.values.data.copy_(tensors["values"])
        self.adam.state[self.values] = {
            k: tensors[k].clone() for k in ("step", "exp_avg", "exp_avg_sq")
        }

    def terms(self, views: list[int]) -> EnergyTerms:
        """The energy's terms of some views; shows the rendering to the appearance."""
        chosen = self.targets[views]
        share = len(views) / len(self.targets.cameras)
        lattice = Lattice(self.values * self.cell, self.bounds)
        terms, out = energy(lattice, chosen, self.appearance, self.weights, share)
        self.appearance.observe(out, chosen, lattice)
        return terms

    def update(self, views: list[int]) -> EnergyTerms:
        """One step of Adam on some views. Returns the terms before the step, detached."""
        self.adam.zero_grad()
        terms = self.terms(views)
        terms.total.backward()  # type: ignore[no-untyped-call]
        before = self.values.detach().clone()
        self.adam.step()
        with torch.no_grad():
            step = (self.values - before).clamp(-LARGEST_STEP, LARGEST_STEP)
            self.values.copy_(before + step)
            self.values.copy_(self.lattice.redistance().values / self.cell)
        return EnergyTerms(**{k: v.detach() for k, v in vars(terms).items()})


class AdamPasses(Optimizer):
    """The passes of a level, in the recipe's order.

    Args:
        lattice: where to start.
        targets: all N training views at this level.
        appearance: colour and light; every rendering is shown to it.
        recipe: order of the views, learning rate, weights.
        passes: of this level.
        losses: `[N]` loss of each view in the last pass (infinity before the first); overwritten.
        generator: of the shuffled order.
    """

    def __init__(
        self,
        lattice: Lattice,
        targets: Targets,
        appearance: Appearance,
        recipe: AdamRecipe,
        passes: int,
        losses: Tensor,
        generator: torch.Generator,
    ) -> None:
        super().__init__(lattice, targets, recipe.weights, appearance)
        self.recipe, self.passes = recipe, passes
        self.losses, self.generator = losses, generator

    def run_pass(self, index: int) -> Iterator[tuple[list[int], EnergyTerms]]:
        """Pass `index` over the views; yields each update."""
        self.set_rate(self.recipe.rate(index / self.passes))
        if self.recipe.schedule == "greedy":
            return greedy_pass(self, self.losses)
        return shuffled_pass(self, self.losses, self.recipe.batch, self.generator)


def greedy_pass(optimizer: Optimizer, losses: Tensor) -> Iterator[tuple[list[int], EnergyTerms]]:
    """One pass over the views as in SDFDiff §5; yields each update.

    A view whose loss was above the average of the last pass is updated until it is below, at most
    `UPDATES_ABOVE` times; any other `UPDATES_BELOW` times. An update that raised the view's loss
    ends its turn.

    Args:
        optimizer: what to update.
        losses: `[N]` loss of each view in the last pass (infinity before the first); overwritten.
    """
    average = float(losses.mean())
    for view in range(len(losses)):
        above = float(losses[view]) > average
        previous = float("inf")
        for _ in range(UPDATES_ABOVE if above else UPDATES_BELOW):
            terms = optimizer.update([view])
            loss = float(terms.per_view[0])
            losses[view] = loss
            yield [view], terms
            if loss > previous or (above and loss < average):
                break
            previous = loss


def shuffled_pass(
    optimizer: Optimizer, losses: Tensor, batch: int, generator: torch.Generator
) -> Iterator[tuple[list[int], EnergyTerms]]:
    """One pass over the views in random order, `batch` views to an update; yields each update.

    `losses` `[N]`, of each view, are brought up to date on the way.
    """
    order = torch.randperm(len(losses), generator=generator)
    for part in torch.split(order, batch):
        views = sorted(part.tolist())
        terms = optimizer.update(views)
        losses[views] = terms.per_view
        yield views, terms
