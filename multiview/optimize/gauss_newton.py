"""Gauss-Newton on the lattice: all views at once, or many in turns; a few dozen linear solves.

Each step linearises the renderings at the lattice (`LeastSquares`), solves for the change of the
vertices near the surface, and redistances. Damping follows the energy: `κ` asks for smooth steps
and `ε` for small ones; both are multiplied by the same factor, which falls while steps succeed and
is raised after one that did not. This is not Levenberg-Marquardt: a step that failed is not taken
back. What it broke is mended by the next, more damped one, and colour, light and the views of other
turns have gone on meanwhile, so that energies before and after a step are not of one problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from multiview.optimize.card.normal_equations import CardLeastSquares
from multiview.optimize.energy import EnergyTerms
from multiview.optimize.hold import Hold
from multiview.optimize.noise import smoothness_under_noise
from multiview.optimize.normal_equations import LeastSquares
from multiview.optimize.stereo_term import StereoTerm
from multiview.photo.appearance import SMOOTHNESS, Appearance
from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.recipes import NewtonLevel, NewtonRecipe
from sdfrender import Lattice, SparseLattice
from sdfrender.geometry.sparse.lattice import AnyLattice

BAND = 3.2  # half width of the band of unknowns, cells
REACH = 4.5  # how far distances are kept up, cells: from the band a step moves up to one
TOLERANCE = 0.02  # of conjugate gradients
SMALL_STEPS = 1e-3  # ε at a damping of 1
RAISE, MOST = 3.0, 100.0  # after one that did not
SETTLED = 0.99  # of the step before: steps of stereo that hardly get smaller end a level
WORSE = 1.3  # a step did not succeed when the data terms grew by more than this

SPARSE_ABOVE = 128  # samples along the longest side; below, dense lattices are small and as fast

CPU = torch.device("cpu")


def kept_up(lattice: AnyLattice) -> float:
    """How far distances are kept up between steps, in units of the smallest spacing."""
    return REACH * float(lattice.spacing.max() / lattice.spacing.min())


class GaussNewton:
    """A lattice being fitted at one level of the pyramid.

    Lattice, targets and appearance are given, and found again, on the CPU. With another device,
    steps are computed on copies there (`optimize.card`). Fine lattices of one colour are kept as
    `SparseLattice` between steps: the same steps to the bit, in less memory.

    Args:
        lattice: where to start.
        targets: all training views at this level.
        appearance: colour and light; every rendering is shown to it.
        recipe: weights of the energy, least damping, most views of a step.
        level: settings of the level, among them the weight of smoothness.
        hold: a likely shape to stay near, if there is one.
        groups: the views of each turn; default: shared out by `take_turns`.
        stereo: how photographs are compared with each other, if they are.
        device: where steps are computed: the CPU, or a card.
    """

    def __init__(
        self,
        lattice: Lattice,
        targets: Targets,
        appearance: Appearance,
        recipe: NewtonRecipe,
        level: NewtonLevel,
        hold: Hold | None = None,
        groups: list[list[int]] | None = None,
        stereo: StereoTerm | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.device, self.hold, self.stereo = device, hold, stereo
        self._copied: tuple[AnyLattice, Lattice] | None = None  # as it is kept, and found again
        self.reach, self.level = kept_up(lattice), level
        self._given = appearance
        self.lattice, self.targets = lattice, targets
        if appearance.albedo.ndim == 4:
            appearance.albedo = appearance.albedo_on(lattice)
        smoothness = level.laplacian * smoothness_under_noise(targets, lattice)
        color = recipe.weights.color if level.colors else 0.0
        self.weights = replace(
            recipe.weights, laplacian=smoothness, color=color, outliers=level.outliers
        )
        self.easing, self.least_damping = level.easing, recipe.least_damping
        self.iterations = recipe.iterations
        middle = lattice.bounds.mean(0)
        self.groups = groups or take_turns(targets.cameras, middle, recipe.views)
        self.damping, self.energies = 1.0, [float("inf")] * len(self.groups)
        self.settled, self.turn, self.shown = False, 0, False
        self.length = float("inf")  # of the last step, mean over the unknowns, cells
        appearance.remembered = len(self.groups) - 1
        self.appearance = appearance.on(device)

    @property
    def on_card(self) -> bool:
        """Whether steps are computed on a card."""
        return self.device.type != "cpu"

    @property
    def lattice(self) -> Lattice:
        """As it stands, on the CPU, dense."""
        kept = self._lattice
        if isinstance(kept, Lattice) and not self.on_card:
            return kept
        if self._copied is None or self._copied[0] is not kept:
            self._copied = None  # which is as large as what takes its place
            self._copied = kept, kept.to(CPU) if isinstance(kept, Lattice) else kept.to_dense()
        return self._copied[1]

    @lattice.setter
    def lattice(self, lattice: Lattice) -> None:
        self._lattice: AnyLattice = lattice.to(self.device) if self.on_card else lattice
        fine = max(lattice.resolution) > SPARSE_ABOVE
        plain = self._given.model == "constant" and self.stereo is None
        if fine and plain and not self.on_card:
            self._lattice = SparseLattice.from_dense(lattice, self.reach)

    @property
    def targets(self) -> Targets:
        """All training views at this level, where steps are computed."""
        return self._all

    @targets.setter
    def targets(self, targets: Targets) -> None:
        self._all = targets.to(self.device) if self.on_card else targets

    def iterate(self, turn: int = 0) -> EnergyTerms:
        """One step on the views whose turn it is; they stand for all. Returns the terms before."""
        targets = self._targets(turn)
        kind = CardLeastSquares if self.on_card else LeastSquares
        problem = kind(
            self._lattice,
            targets,
            self.appearance,
            self.weights,
            BAND,
            self.hold,
            count=len(self.targets.cameras) / len(self.groups[turn]),
            stereo=self.stereo,
        )
        energy = float(problem.terms.data)
        if energy > WORSE * self.energies[turn]:
            self.damping = min(RAISE * self.damping, MOST)
        else:
            self.damping = max(self.easing * self.damping, self.least_damping)
        self.energies[turn] = energy

        step = problem.step(
            self.damping * self.level.smoothing,
            self.damping * SMALL_STEPS,
            self.iterations,
            TOLERANCE,
        )
        step = step.clip(-self.level.largest_step, self.level.largest_step)
        before, self.length = self.length, float(abs(step).mean()) if len(step) else 0.0
        if not self.level.colors:
            self.settled = self.length > SETTLED * before
        band, terms = problem.band, problem.terms
        del problem  # which is larger than the lattice
        moved = self._lattice.with_values(band.moved(step))
        self._lattice = moved.redistance(reach=self.reach, reuse=True)
        return terms.on_host() if self.on_card else terms

    def run_pass(self, index: int) -> Iterator[tuple[list[int], EnergyTerms]]:
        """One step on the views whose turn it is; colour and light remember the others."""
        turn, groups = self.turn, len(self.groups)
        if not self.shown:
            self.appearance.forget()
            for later in range(1, groups):
                self._show((turn + later) % groups)
            self.shown = True
        self.turn = (turn + 1) % groups
        yield self.groups[turn], self.iterate(turn)

    def follow(self, before: GaussNewton) -> None:
        """Go on with the turns, and with what is remembered, of a level with the same images."""
        if before.targets.size == self.targets.size:
            self.turn, self.shown = before.turn, before.shown
            if self.appearance is not self._given:
                self.appearance.remember(before.appearance)

    def compare(self, stereo: StereoTerm) -> None:
        """Compare photographs with each other too from now on: another energy than before."""
        lattice = self.lattice
        self.stereo, self.energies = stereo, [float("inf")] * len(self.groups)
        self.lattice = lattice  # which is kept dense now

    def estimate_appearance(self, smoothness: float = SMOOTHNESS) -> None:
        """Render all views once and solve for colour and light as the shape stands."""
        self.appearance.forget()
        for turn in range(len(self.groups)):
            self._show(turn)
        self.solve_appearance(smoothness)

    def solve_appearance(self, smoothness: float = SMOOTHNESS) -> None:
        """Solve for colour and light from what was seen; those that were given have them, too."""
        self.appearance.solve(smoothness)
        if self.appearance is not self._given:
            self._given.take(self.appearance)

    def _targets(self, turn: int) -> Targets:
        """The views whose turn it is."""
        return self.targets.local(self.groups[turn])

    def _show(self, turn: int) -> None:
        """Let colour and light see the shape as it stands."""
        targets, look = self._targets(turn), self.appearance
        with torch.no_grad():
            out = look.render(self._lattice, targets)
        look.observe(out, targets, self._lattice)

    def state(self) -> dict[str, Tensor]:
        """Tensors that `restore` needs to go on exactly here."""
        numbers = (self.damping, self.length, *self.energies)
        progress = torch.tensor(numbers, dtype=torch.float64)
        values, turn = self.lattice.values, torch.tensor(self.turn)
        return {"values": values, "cell": torch.tensor(1.0), "progress": progress, "turn": turn}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up the state that an earlier run saved."""
        self.lattice = self.lattice.with_values(tensors["values"])
        self.damping, self.length, *self.energies = tensors["progress"].tolist()
        self.turn = int(tensors["turn"])
