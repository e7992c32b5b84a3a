"""The steps after dense stereo: Gauss-Newton on depths alone, at the finest level."""

from __future__ import annotations

from dataclasses import replace

from multiview.recipes import NewtonLevel, NewtonRecipe, StereoSettings

RENDERED = 1.0  # pixels per cell of the renderings: one row of depth for each
COMPARED = 5.0  # and of the photographs
STEPS = (  # passes, cells searched along each ray, half of a patch in pixels, smoothness
    (2, 1.0, 3, 0.003),
    (2, 0.0, 3, 0.001),
    (1, 2.0, 2, 0.001),
    (7, 0.0, 2, 0.001),
)


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
            stereo=StereoSettings(COMPARED, search, half),
        )
        for passes, search, half, smooth in STEPS
    ]
    return replace(recipe, levels=tuple(levels), patience=1)
