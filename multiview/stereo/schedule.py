"""Stereo in a fit: first the shape that photographs agree on, then colours at the finest level.

Colours fitted to a hull under a light that they do not follow are carved into it; fitted to a
surface that the photographs agree on they add what shading tells.
"""

from __future__ import annotations

from dataclasses import replace

from multiview.recipes import CAREFUL, NewtonRecipe, StereoSettings

OUTLINES = 2.2  # pixels per cell of the renderings while colours do not count
COARSE, FINE = 3.5, 5.0  # and of the photographs compared, while far off and when near
SEARCHES = ((4.0, 1.5), (2.0, 0.0), (1.0, 0.0))  # cells, by resolution from the coarsest
PASSES = ((10, 3), (3, 6), (1, 5))
LAST = 6  # more passes where nothing finer follows, which cost little on lattices of up to
MIDDLE = 80  # samples a side
COLORED = 3  # passes with colours at the end
SMOOTHER = 2.5  # than colours alone are, which are what crinkles
EXPLAINED = 0.05  # residuals of colours beyond it count linearly: the edges of shadows that move
BESIDE = StereoSettings(FINE, whole=False)  # how photographs are compared beside their colours


def with_stereo(recipe: NewtonRecipe, resolution: int) -> NewtonRecipe:
    """The same levels with stereo in the place of colours, and colours at the end.

    Args:
        recipe: its levels in pairs of one resolution, with more and with less smoothness.
        resolution: samples along the longest side at the end.
    """
    more = LAST if resolution <= MIDDLE else 0
    rungs = sorted({level.resolution for level in recipe.levels})
    levels = []
    for number, level in enumerate(recipe.levels):
        rung = min(rungs.index(level.resolution), 2)
        second = number > 0 and recipe.levels[number - 1].resolution == level.resolution
        search = SEARCHES[rung][second]
        pixels = COARSE if rung == 0 and not second else FINE
        passes = PASSES[rung][second] + (more if level is recipe.levels[-1] else 0)
        levels.append(
            replace(
                level,
                pixels_per_cell=OUTLINES,
                passes=passes,
                colors=False,
                stereo=StereoSettings(pixels, search, whole=search > 0),
                easing=CAREFUL,
            )
        )
    last = recipe.levels[-1]
    colored = replace(
        last,
        passes=COLORED + more // 2,
        laplacian=SMOOTHER * last.laplacian,
        stereo=BESIDE,
        easing=CAREFUL,
        largest_step=0.5,
    )
    weights = replace(recipe.weights, huber=min(recipe.weights.huber, EXPLAINED))
    return replace(recipe, weights=weights, levels=(*levels, colored))
