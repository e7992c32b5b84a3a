"""The steps after dense stereo: Gauss-Newton on depths alone, at the finest level."""

from __future__ import annotations

from dataclasses import replace

from multiview.recipes import NewtonLevel, NewtonRecipe, StereoSettings

RENDERED = 1.0  # pixels per cell of the renderings: one row of depth for each
COMPARED = 5.0  # and of the photographs
SEARCHED = 1.0  # cells along each ray at first
PASSES = (2, 3)  # with a search and without
SMOOTH = (0.003, 0.001)  # the same


def depths_alone(recipe: NewtonRecipe) -> NewtonRecipe:
    """The same preset where there are no silhouettes: what is coarse has been found already."""
    levels = [
        NewtonLevel(
            1.0,
            RENDERED,
            passes,
            laplacian=smooth,
            largest_step=1.0,
            colors=False,
            stereo=StereoSettings(COMPARED, search),
        )
        for passes, smooth, search in zip(PASSES, SMOOTH, (SEARCHED, 0.0), strict=True)
    ]
    return replace(recipe, levels=tuple(levels), patience=1)
