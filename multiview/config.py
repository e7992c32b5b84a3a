"""Settings of a fit: what the user chooses, and the recipes behind the presets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from multiview.optimize.energy import Weights
from sdfrender.errors import InputError

Schedule = Literal["shuffled", "greedy"]
Start = Literal["hull", "sphere"]
Preset = Literal["best", "fast", "sdfdiff"]


@dataclass(frozen=True)
class Level:
    """One level of the pyramid, coarse to fine."""

    resolution: float
    """Samples along the longest side, as a fraction of the final resolution."""
    pixels_per_cell: float
    """Image size: pixels along a cell at the object, never more than the images have."""
    passes: int
    """Passes over the training views."""


@dataclass(frozen=True)
class Recipe:
    """How to optimise."""

    levels: tuple[Level, ...]
    schedule: Schedule = "shuffled"
    batch: int = 4
    """Views per update of the shuffled schedule."""
    learning_rate: float = 0.15
    """Adam's at the start of a level, in cells."""
    final_rate: float = 0.02
    """Its fraction at the end of a level (cosine decay)."""
    weights: Weights = field(default_factory=Weights)

    def rate(self, done: float) -> float:
        """The learning rate when a fraction `done` of a level's passes is behind."""
        decay = 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * decay)


@dataclass(frozen=True)
class SdfDiffLevel(Level):
    """A level of SDFDiff; its passes are a limit, `tolerance` ends most levels before."""

    learning_rate: float = 0.01
    """Adam's, in units of the paper's box (`multiview.optimize.sdfdiff`)."""
    tolerance: float = 0.4
    """A pass that lowers the views' mean energy by less is the last."""


@dataclass(frozen=True)
class SdfDiffRecipe:
    """The method of SDFDiff: `multiview.optimize.sdfdiff`."""

    levels: tuple[SdfDiffLevel, ...]
    updates: int = 5
    """Most updates of a view in a pass."""
    start_radius: float = 0.4
    """Of the sphere to start from, as a fraction of the shortest side of the box."""
    weights: Weights = field(default_factory=lambda: Weights(0, 0, 1, 1, math.inf))
    """Of `eikonal` and `laplacian`, on every vertex; the others have no part in it."""


def sdfdiff_levels(count: int = 8) -> tuple[SdfDiffLevel, ...]:
    """8³, 16³, … 64³ or the same fractions of another resolution, as in the released code."""
    return tuple(
        SdfDiffLevel((n + 1) / count, 4, 12, 0.01 / 1.03**n, 0.4 * 1.05 ** (n + 1))
        for n in range(count)
    )


RECIPES: dict[Preset, Recipe | SdfDiffRecipe] = {
    "best": Recipe(
        levels=(Level(1 / 4, 2, 10), Level(1 / 2, 2, 16), Level(1, 2, 12), Level(1, 4, 6)),
    ),
    "fast": Recipe(levels=(Level(1 / 4, 2, 10), Level(1 / 2, 2, 10), Level(1, 2, 6))),
    "sdfdiff": SdfDiffRecipe(sdfdiff_levels()),
}


SPHERE_PASSES = 3  # times as many passes over the coarsest level from a sphere


@dataclass(frozen=True)
class FitConfig:
    """All settings of a fit; `recipe()` resolves what is left to the preset."""

    scene: Path
    out: Path
    preset: Preset = "best"
    init: Start = "hull"
    resolution: int = 64
    train_views: str | None = None
    light: str = "auto"
    schedule: Schedule | None = None
    bounds: tuple[float, float, float, float, float, float] | None = None
    mask_threshold: float | None = None
    image_size: int = 800
    seed: int = 0
    threads: int = 1
    resume: bool = False

    def __post_init__(self) -> None:
        if self.resolution < 8:
            raise InputError(f"--resolution: need at least 8 samples, got {self.resolution}")
        if self.resolution > 512:
            raise InputError(f"--resolution: need at most 512 samples, got {self.resolution}")
        if self.threads < 1:
            raise InputError(f"--threads: need at least 1, got {self.threads}")
        if self.schedule is not None and self.preset == "sdfdiff":
            raise InputError(f"--schedule: --preset sdfdiff has its own, got {self.schedule}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed: need a number from 0 to 2^63 − 1, got {self.seed}")
        if self.image_size < 16:
            raise InputError(f"--image-size: need at least 16 pixels, got {self.image_size}")

    def recipe(self) -> Recipe | SdfDiffRecipe:
        """The preset's recipe with the choices made here."""
        recipe = RECIPES[self.preset]
        if isinstance(recipe, SdfDiffRecipe):
            return recipe
        if self.schedule is not None:
            recipe = replace(recipe, schedule=self.schedule)
        if self.init == "sphere":  # it has farther to go than the hull
            first, *others = recipe.levels
            first = replace(first, passes=SPHERE_PASSES * first.passes)
            recipe = replace(recipe, levels=(first, *others))
        return recipe
