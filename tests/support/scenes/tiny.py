"""Scenes and fits small enough to run many times: a torus that is neither at the origin nor unit.

8 views of 32×28 pixels, off-centre principal point; the last two are held out. World units are
`SCALE` times the torus's own, and its middle is at `CENTER`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from multiview.config import FitConfig
from multiview.fit import fit
from multiview.levels import coarse_to_fine
from multiview.levels.state import Fit
from multiview.recipes import RECIPES, AdamRecipe, Level, NewtonLevel, NewtonRecipe, Recipe, Weights
from sdfrender import Cameras, Directional, Headlight, Lattice, Lighting, extract_mesh, render
from sdfrender.geometry.primitives import torus
from sdfrender.io.scene_writer import RenderedScene, write_scene

WIDTH, HEIGHT = 32, 28
SCALE = 2.5
CENTER = (10.0, -3.0, 5.0)
BOX = torch.tensor(CENTER) + SCALE * torch.tensor([[-1.0, -0.6, -1.0], [1.0, 0.6, 1.0]])
LIGHT = Lighting(
    ambient=0.1, headlight=Headlight(0.6), directional=[Directional((0.3, 0.9, 0.2), 0.3)]
)
# Stated here, so that no test depends on what the presets are tuned to.
WEIGHTS = Weights(silhouette=1.0, carve=0.05, eikonal=0.05, laplacian=0.005, band=3.2)
# Two levels, so that a fit resamples; three views an update, so that 6 views take 2.
ADAM = AdamRecipe(
    levels=(Level(0.7, 1.5, 2), Level(1, 2, 2)),
    batch=3,
    learning_rate=0.2,
    final_rate=0.05,
    weights=WEIGHTS,
)
COARSE = NewtonLevel(0.7, 1.5, 2, laplacian=0.05, smoothing=0.1, largest_step=0.5)
FINE = NewtonLevel(1, 2, 2, laplacian=0.005, smoothing=0.02, largest_step=1.0)
NEWTON = NewtonRecipe(levels=(COARSE, FINE), weights=replace(WEIGHTS, band=2.2))

# By preset, for what holds whatever the method.
PRESETS = ("adam", "fast")
SHORT: dict[str, Recipe] = {"adam": ADAM, "fast": NEWTON}
LONG: dict[str, Recipe] = {  # gives a good shape
    "adam": replace(ADAM, levels=(Level(0.7, 1.5, 4), Level(1, 2, 6))),
    "fast": replace(NEWTON, levels=(replace(COARSE, passes=6), replace(FINE, passes=6))),
}
QUICK: dict[str, Recipe] = {  # for many updates
    "adam": replace(ADAM, levels=(Level(0.6, 1, 2), Level(0.7, 1, 2))),
    "fast": replace(
        NEWTON,
        levels=tuple(
            replace(level, resolution=size, pixels_per_cell=1)
            for level, size in ((COARSE, 0.6), (FINE, 0.7))
        ),
    ),
}
RESOLUTION = 16


def true_lattice(resolution: int = 24) -> Lattice:
    """The torus, world units."""
    return Lattice.from_function(torus(0.6 * SCALE, 0.28 * SCALE, CENTER), resolution, BOX)


def ring(count: int = 8, width: int = WIDTH, height: int = HEIGHT) -> Cameras:
    """Cameras around the torus from above and below, off-centre."""
    n = torch.arange(count, dtype=torch.float64)
    azimuths = n * (2 * math.pi * 0.382)
    heights = torch.where(n % 2 == 0, 0.75, -0.6)
    around = (1 - heights**2).sqrt()
    directions = torch.stack((around * azimuths.sin(), heights, around * azimuths.cos()), -1)
    eyes = torch.tensor(CENTER) + 3.4 * SCALE * directions
    cameras = Cameras.look_at(eyes, CENTER, width=width, height=height, fov=math.radians(42))
    Ks = cameras.Ks.clone()
    Ks[:, :2, 2] += torch.tensor([1.3, -0.7]) * width / WIDTH
    return Cameras(cameras.c2w, Ks, width, height)


def write_torus(folder: Path, **changes: Any) -> Path:
    """The scene on disk; `changes` go to `RenderedScene`."""
    lattice, cameras = true_lattice(), ring()
    out = render(lattice, cameras, lighting=LIGHT)
    scene = {
        "images": out.images,
        "silhouettes": out.silhouettes,
        "cameras": cameras,
        "lighting": LIGHT,
        "bounds": BOX,
        "mesh": extract_mesh(lattice),
        "held_out": (6, 7),
        **changes,
    }
    write_scene(folder, RenderedScene(**scene), bits=16)
    return folder


def fit_tiny(
    scene: Path, out: Path, recipe: Recipe = ADAM, preset: str | None = None, **settings: Any
) -> dict[str, Any]:
    """`fit` with a recipe of a few passes, behind the preset of its method unless told."""
    own = "adam" if isinstance(recipe, AdamRecipe) else "fast"
    settings = {"preset": preset or own, "resolution": RESOLUTION, "threads": 1, **settings}
    with patch.dict(RECIPES, {own: lambda resolution: recipe}):
        return fit(FitConfig(scene, out, **settings), quiet=True)


def optimize_tiny(scene: Path, out: Path, recipe: Recipe = ADAM, **settings: Any) -> Fit:
    """`fit_tiny` without what follows the optimisation; returns its state at the end."""
    with patch("multiview.fit.save_results") as save_results:
        fit_tiny(scene, out, recipe, **settings)
    state: Fit = save_results.call_args.args[0]
    return state


def read_losses(run: Path, without: str = "seconds") -> list[dict[str, str]]:
    """The rows of `losses.csv`, without a column."""
    with (run / "losses.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != without} for row in csv.DictReader(file)]


@contextmanager
def stopped_after(*position: int) -> Iterator[None]:
    """Fits are interrupted when they have saved the checkpoint of (level, passes)."""
    save = coarse_to_fine.save_checkpoint

    def stop(state, run, method, generator, losses, at):  # type: ignore[no-untyped-def]
        save(state, run, method, generator, losses, at)
        if at == position:
            raise KeyboardInterrupt

    with patch.object(coarse_to_fine, "save_checkpoint", stop):
        yield
