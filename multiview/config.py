"""Settings of a fit: what the user chooses, and the recipes behind the presets."""

from __future__ import annotations

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
    learning_rate: float = 0.2
    """Adam's at the start of a level, in cells."""
    final_rate: float = 0.05
    """Its fraction at the end of a level (cosine decay)."""
    weights: Weights = field(default_factory=Weights)
    redistance: bool = True
    """Make the lattice a distance field again after every update."""
    coverage: bool = True
    """Anti-aliased silhouettes, which pull on the surface."""
    tracer: Literal["exact", "sphere"] = "exact"
    reattach: Literal["implicit", "one_step"] = "implicit"


RECIPES: dict[Preset, Recipe] = {
    "best": Recipe(
        levels=(Level(1 / 4, 2, 20), Level(1 / 2, 3, 20), Level(1, 2, 12), Level(1, 4, 8)),
    ),
    "fast": Recipe(levels=(Level(1 / 4, 2, 12), Level(1 / 2, 2, 10), Level(1, 2, 8))),
    # The paper's method: image loss only, greedy views, its tracer and re-attachment.
    "sdfdiff": Recipe(
        levels=tuple(Level(n / 64, 2, 6) for n in (8, 16, 24, 32, 40, 48, 56, 64)),
        schedule="greedy",
        learning_rate=0.1,
        weights=Weights(silhouette=0.0, carve=0.0, eikonal=1.0, laplacian=1.0, band=float("inf")),
        redistance=False,
        coverage=False,
        tracer="sphere",
        reattach="one_step",
    ),
}


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
    resume: bool = False

    def __post_init__(self) -> None:
        if self.resolution < 8:
            raise InputError(f"--resolution: need at least 8 samples, got {self.resolution}")
        if self.resolution > 512:
            raise InputError(f"--resolution: need at most 512 samples, got {self.resolution}")
        if self.image_size < 16:
            raise InputError(f"--image-size: need at least 16 pixels, got {self.image_size}")

    def recipe(self) -> Recipe:
        """The preset's recipe with the choices made here."""
        recipe = RECIPES[self.preset]
        return replace(recipe, schedule=self.schedule) if self.schedule else recipe
