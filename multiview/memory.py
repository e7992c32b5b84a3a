"""How much memory a fit takes, told before it begins.

Measured on fits of 26 views of 256² at 64³ and 128³, of 26 views of 1024² at 512³ and 1024³, and
of photographs of .3 megapixels at 128³; a fit that takes what is said here or a third less is
right, one that takes more is a bug.
"""

from __future__ import annotations

import logging

from torch import Tensor

from multiview.config import FitConfig
from multiview.photo.targets import Targets
from multiview.recipes import AdamRecipe, NewtonRecipe, Recipe, for_views
from sdfrender import InputError
from sdfrender.geometry.grid import samples_per_axis
from sdfrender.system import free_memory

log = logging.getLogger("multiview")

PROCESS = 700e6  # bytes: Python, torch, compiled code, a report
COLORS = 600e6  # more for the choice of colours and what depends on the view
VERTEX = 12  # bytes for each vertex of the finest lattice, which steps keep near its surface
VERTEX_OF_ADAM = 20  # and where steps move all of it
VERTEX_OF_COLORS = 150  # and where it has a colour, too
PIXEL = 100  # bytes for each pixel of the views of a step
CHANNEL = 40  # and for each of its channels
STEP = 8  # of resolutions that are proposed


def check_memory(config: FitConfig, targets: Targets, box: Tensor, colors: bool) -> None:
    """Refuse a fit that memory is too small for, before work starts.

    Args:
        config: the settings.
        targets: all training views, as they were loaded.
        box: `[2, 3]` of the lattice.
        colors: whether the surface may get colours of its own.

    Raises:
        InputError: names the largest resolution that would fit.
    """
    free, recipe = free_memory(), for_views(config.recipe(colors), len(targets.cameras))
    if free is None:
        return

    def needed(resolution: int) -> float:
        return expected_memory(resolution, recipe, targets, box, colors)

    wanted = needed(config.resolution)
    log.debug("memory: about %.1f GB of %.1f GB that are free", wanted / 1e9, free / 1e9)
    if wanted <= free:
        return
    lower = range(config.resolution // STEP * STEP, STEP - 1, -STEP)
    fitting = next((n for n in lower if needed(n) <= free), None)
    what = (
        f"--resolution: {config.resolution} needs about {wanted / 1e9:.1f} GB of "
        f"memory for this scene, and {free / 1e9:.1f} GB are free"
    )
    if fitting is None:
        raise InputError(f"{what}: need fewer views (--train-views) or smaller ones (--image-size)")
    raise InputError(
        f"{what}: the largest that fits is {fitting}, or more with smaller views (--image-size)"
    )


def expected_memory(
    resolution: int, recipe: Recipe, targets: Targets, box: Tensor, colors: bool
) -> float:
    """Bytes that a fit takes at most; see `check_memory`."""
    X, Y, Z = samples_per_axis(resolution, box)
    cell = float((box[1] - box[0]).max()) / (resolution - 1)
    width, height = targets.size_for(box.mean(0), cell, recipe.levels[-1].pixels_per_cell)
    pixels = width * height * views_of_a_step(recipe, len(targets.cameras))
    loaded = targets.images.numel() + 3 * targets.silhouettes.numel()
    own = VERTEX if isinstance(recipe, NewtonRecipe) else VERTEX_OF_ADAM
    vertex = own + VERTEX_OF_COLORS * colors
    channels = targets.images.shape[-1]
    lattices, views = vertex * X * Y * Z, (PIXEL + CHANNEL * channels) * pixels + 4.0 * loaded
    return PROCESS + COLORS * colors + lattices + views


def views_of_a_step(recipe: Recipe, views: int) -> int:
    """How many views one update renders."""
    if isinstance(recipe, NewtonRecipe):
        return min(views, recipe.views)
    return min(views, recipe.batch) if isinstance(recipe, AdamRecipe) else 1
