"""The method of SDFDiff (Jiang, Ji, Han and Zwicker, CVPR 2020, §5), in its own units.

`E = Σ_pixels |r_C| + μ Σ_vertices (1 − |∇φ|²)² + λ Σ_vertices (6-neighbour Laplacian of φ)²`, one
view at a time. Hits only: a silhouette is there or not, and pulls on nothing. Distances are in the
paper's box, whose longest side is 4; pixels count as in an image of 256², of a white object. φ is
kept near a distance by μ alone, never redistanced.

Where the released code differs from the paper it is followed, with one exception. It takes L1 of
the colour, at most 5 updates of a view, and a tolerance; but it weighs every vertex with 1 at every
resolution. There are 512 times as many at 64³ as at 8³, for the same images: the term of |∇φ| ends
ten times as large as that of the images, and pulls the surface off them. Here it counts by area,
`μ (h / h₃₂)²`, which is the code's weight at 32³, and is squared as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from multiview.optimize.energy import EnergyTerms
from multiview.optimize.greedy import Optimizer
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.recipes import SdfDiffLevel, SdfDiffRecipe
from sdfrender import Lattice, Rendering, render
from sdfrender.geometry import energies

BOX_SIDE = 4.0  # of the paper's box
IMAGE_PIXELS = 256**2  # of its images
SPACING = BOX_SIDE / 31  # at which a vertex counts 1 in the eikonal term
ADAM_EPS = 1e-2  # large: a vertex that hardly matters hardly moves


class SdfDiff(Optimizer):
    """A lattice being fitted at one level. Its unknowns are values in units of the paper's box.

    Args:
        lattice: where to start.
        targets: all N training views at this level.
        appearance: colour and light.
        recipe: weights and limits.
        level: learning rate and tolerance.
    """

    def __init__(
        self,
        lattice: Lattice,
        targets: Targets,
        appearance: Appearance,
        recipe: SdfDiffRecipe,
        level: SdfDiffLevel,
    ) -> None:
        super().__init__(lattice, targets, recipe.weights, appearance)
        self.cell = box_unit(lattice)
        self.values = (lattice.values / self.cell).clone().requires_grad_()
        self.adam = torch.optim.Adam([self.values], lr=level.learning_rate, eps=ADAM_EPS)
        self.recipe, self.level = recipe, level
        self.views = [targets[[n]] for n in range(len(targets.cameras))]
        self.observed: set[int] = set()  # views that the appearance has seen in this pass
        self.sums = torch.full((2,), math.inf)  # over the views, of the last two passes

    @property
    def settled(self) -> bool:
        """Whether the last pass gained too little to go on."""
        before, now = self.sums.tolist()
        return math.isfinite(now) and now >= before - self.level.tolerance

    def terms(self, views: list[int]) -> EnergyTerms:
        """The energy's terms of one view; shows its first rendering to the appearance."""
        (view,) = views
        lattice = Lattice(self.values * self.cell, self.bounds)
        terms, out = energy(lattice, self.views[view], self.appearance, self.recipe)
        if view not in self.observed:
            self.appearance.observe(out, self.views[view], lattice)
            self.observed.add(view)
        return terms

    def update(self, views: list[int]) -> EnergyTerms:
        """One step of Adam on one view. Returns the terms before the step, detached."""
        self.adam.zero_grad()
        terms = self.terms(views)
        terms.total.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        return EnergyTerms(**{k: v.detach() for k, v in vars(terms).items()})

    def run_pass(self, index: int) -> Iterator[tuple[list[int], EnergyTerms]]:
        """One pass over the views, whichever it is; yields each update.

        A view is updated until that raises its energy, `recipe.updates` times at most.
        """
        total = 0.0
        self.observed.clear()
        for view in range(len(self.views)):
            previous = math.inf
            for _ in range(self.recipe.updates):
                terms = self.update([view])
                yield [view], terms
                if float(terms.total) >= previous:
                    break
                previous = float(terms.total)
            total += float(terms.per_view[0] + terms.eikonal) / len(self.views)
        self.sums = torch.tensor([float(self.sums[1]), total])

    def state(self) -> dict[str, Tensor]:
        """Tensors that `restore` needs to go on exactly here."""
        return {**super().state(), "sums": self.sums}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up the state that an earlier run saved."""
        super().restore(tensors)
        self.sums = tensors["sums"]


def energy(
    lattice: Lattice, targets: Targets, appearance: Appearance, recipe: SdfDiffRecipe
) -> tuple[EnergyTerms, Rendering]:
    """Render the targets' views and compare.

    Args:
        lattice: one lattice, world units.
        targets: n views.
        appearance: colour and light, held fixed.
        recipe: weights of the terms.
    """
    out = render(
        lattice,
        targets.cameras,
        lighting=appearance.lighting(targets),
        albedo=appearance.albedo,
        coverage=False,
        reattach="one_step",
    )
    white = float(appearance.albedo.mean())
    count = IMAGE_PIXELS / (targets.cameras.width * targets.cameras.height * white)
    r = (out.images - targets.images).abs().mean(-1)  # (n, H, W)
    h = float(lattice.spacing.max()) / box_unit(lattice)
    weights = recipe.weights
    eikonal, laplacian = energies.regularizers(lattice, weights.band)
    none = torch.zeros(len(targets.cameras))
    return EnergyTerms(
        color=count * (appearance.trust(targets) * r).sum((1, 2)),
        silhouette=none,
        carve=none,
        # `energies` halves 1 − |∇φ|², and divides the Laplacian by h
        eikonal=weights.eikonal * 4 * (h / SPACING) ** 2 * eikonal,
        laplacian=weights.laplacian * h**2 * laplacian,
    ), out


def box_unit(lattice: Lattice) -> float:
    """A unit of the paper's box, world units."""
    return float((lattice.bounds[1] - lattice.bounds[0]).max()) / BOX_SIDE
