"""Settings of a fit: what the user chooses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from multiview.recipes import (
    RECIPES,
    AdamRecipe,
    Recipe,
    Schedule,
    SdfDiffRecipe,
    for_photographs,
    from_prior,
    from_sphere,
)
from sdfrender.errors import InputError
from sdfrender.system import processors

Start = Literal["hull", "sphere"]
Preset = Literal["best", "fast", "adam", "sdfdiff"]
Loss = Literal["l2", "huber"]
Exposure = Literal["same", "per-view"]
Logs = Literal["tensorboard"]
Colors = Literal["auto", "constant", "albedo", "radiance"]
Up = Literal["x", "y", "z", "-x", "-y", "-z"]

HUBER = 0.05  # a residual beyond which --loss huber counts linearly


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
    appearance: Colors = "auto"
    schedule: Schedule | None = None
    loss: Loss = "l2"
    bounds: tuple[float, float, float, float, float, float] | None = None
    mask_threshold: float | None = None
    image_size: int = 800
    seed: int = 0
    threads: int | None = None
    resume: bool = False
    texture: bool = False
    refine_cameras: bool = False
    refine_intrinsics: bool = False
    prior: Path | None = None
    prior_up: Up = "y"
    prior_hold: float = 0.01
    exposure: Exposure = "same"
    logs: Logs | None = None

    def __post_init__(self) -> None:
        if self.resolution < 8:
            raise InputError(f"--resolution: need at least 8 samples, got {self.resolution}")
        if self.resolution > 512:
            raise InputError(f"--resolution: need at most 512 samples, got {self.resolution}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"--threads: need at least 1, got {self.threads}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed: need a number from 0 to 2^63 − 1, got {self.seed}")
        if self.schedule is not None and self.preset != "adam":
            raise InputError(
                f"--schedule: an order of views belongs to --preset adam, got {self.preset} "
                "(Gauss-Newton takes all views at once, sdfdiff has its own)"
            )
        if self.image_size < 16:
            raise InputError(f"--image-size: need at least 16 pixels, got {self.image_size}")
        if self.preset == "sdfdiff" and self.refine_cameras:
            raise InputError("--refine-cameras: --preset sdfdiff takes cameras as they are")
        if self.refine_intrinsics and not self.refine_cameras:
            raise InputError("--refine-intrinsics: needs --refine-cameras as well")
        if self.prior is not None and self.preset not in ("best", "fast"):
            raise InputError(f"--prior: need --preset best or fast, got {self.preset}")
        if self.prior is not None and self.init != "hull":
            raise InputError(f"--prior: a family has its own start, got --init {self.init}")
        if not 0 <= self.prior_hold < math.inf:
            raise InputError(f"--prior-hold: need a number of at least 0, got {self.prior_hold}")
        if self.exposure == "per-view" and self.light == "per-view":
            raise InputError("--exposure: need same with --light per-view, which has them in it")
        if self.preset == "sdfdiff" and self.exposure != "same":
            raise InputError("--exposure: --preset sdfdiff takes photographs as they are")
        if self.preset == "sdfdiff" and self.appearance not in ("auto", "constant"):
            raise InputError(
                f"--appearance: --preset sdfdiff has one colour, got {self.appearance}"
            )

    @property
    def num_threads(self) -> int:
        """Of the renderer: by default all processors at hand, but one for first-order methods.

        Their many short steps in torch are many times slower on two threads than on one when
        another program wants the cores.
        """
        if self.threads is not None:
            return self.threads
        return 1 if self.preset in ("adam", "sdfdiff") else processors()

    def recipe(self, photographs: bool = False) -> Recipe:
        """The preset's recipe with the choices made here.

        Args:
            photographs: the light is not known.
        """
        recipe = RECIPES[self.preset](self.resolution)
        if self.schedule is not None and isinstance(recipe, AdamRecipe):
            recipe = replace(recipe, schedule=self.schedule)
        if isinstance(recipe, SdfDiffRecipe):
            if self.loss != "l2":
                raise InputError(f"--loss: --preset sdfdiff has its own, got {self.loss}")
            return recipe
        if photographs:
            recipe = for_photographs(recipe)
        if self.prior is not None:
            recipe = from_prior(recipe)
        if self.loss == "huber":
            recipe = replace(recipe, weights=replace(recipe.weights, huber=HUBER, mask_huber=HUBER))
        return from_sphere(recipe) if self.init == "sphere" else recipe
