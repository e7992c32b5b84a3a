"""A lattice for every training object from its own images: where image-only augmentation starts.

No network and no 3D data. The visual hull of the silhouettes, then Adam on the lattice's values
through the renderer, coarse to fine. Silhouettes do not see into a cup, and shading alone does not
dig it out of a solid hull: gradients are local. So the fit starts from several solids, the hull and
the hull hollowed from above and from below, and goes on with the one whose pictures fit best.

    E = Σ_pixels (p/h)² (r_A² + w r_C²) + (n/V) (μ Σ eikonal + λ Σ laplacian)

with p a pixel's width at the object, h the spacing, and n of the V views at hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import grid_sample

from sdfrender import Cameras, Lattice, Lighting, render
from sdfrender.geometry import energies
from sdfrender.geometry.grid import grid_points
from singleview.data.dataset import ObjectViews


@dataclass(frozen=True)
class FitLevel:
    """One level of the pyramid."""

    resolution: int
    passes: int
    """Over all views."""
    shading: float
    """Weight of the colour residual against the silhouette's 1."""


@dataclass(frozen=True)
class FitRecipe:
    """How a training object's lattice is fitted."""

    trial: FitLevel = FitLevel(24, 2, 0.3)
    """What every start goes through; the best goes on."""
    levels: tuple[FitLevel, ...] = (FitLevel(32, 6, 0.3), FitLevel(64, 10, 1.0))
    """Coarse to fine."""
    walls: tuple[float, ...] = (0.05, 0.1, 0.15)
    """Thickness of the walls of hollowed starts, world units."""
    margin: float = 0.9
    """A hollowed start is preferred if its residual is less than this part of the hull's."""
    batch: int = 6
    """Views per update."""
    learning_rate: float = 0.15
    """Adam's at the start of a level, in cells; falls to a tenth (cosine)."""
    eikonal: float = 0.03
    laplacian: float = 0.0015
    band: float = 3.2
    """Half width of the regularisers' band, in cells."""


def fit_lattice(
    views: ObjectViews,
    lighting: Lighting | None,
    bounds: Tensor,
    recipe: FitRecipe,
    generator: torch.Generator,
) -> Tensor:
    """Fit one object; without a known light by its silhouettes alone.

    Args:
        views: what the object shows.
        lighting: of its pictures, or None where it is not known.
        bounds: `[2, 3]` the box, world units.
        recipe: levels and weights.
        generator: of the choice of views.

    Returns:
        `[R, R, R]` signed distances over the box, world units.
    """
    hull = silhouette_hull(views, bounds, recipe.trial.resolution)
    starts = [hull]
    if lighting is not None:  # silhouettes alone could not tell which is better
        starts += [hollow(hull, wall, up) for wall in recipe.walls for up in (True, False)]
    tried = [fit_level(x, views, lighting, recipe.trial, recipe, generator) for x in starts]
    residuals = [residual(x, views, lighting) for x in tried]
    best = min(range(len(tried)), key=residuals.__getitem__)
    lattice = tried[best if residuals[best] < recipe.margin * residuals[0] else 0]
    for level in recipe.levels:
        lattice = lattice.resample((level.resolution,) * 3).redistance()
        lattice = fit_level(lattice, views, lighting, level, recipe, generator)
    return lattice.redistance().values


def fit_level(
    lattice: Lattice,
    views: ObjectViews,
    lighting: Lighting | None,
    level: FitLevel,
    recipe: FitRecipe,
    generator: torch.Generator,
) -> Lattice:
    """Adam on values `[R, R, R]`, world units, of a lattice, `level.passes` times over views."""
    V, cell = len(views.cameras), float(lattice.spacing.max())
    pixels = pixel_width(views.cameras) / cell  # per cell
    x = (lattice.values / cell).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=recipe.learning_rate, betas=(0.9, 0.98))
    for done in range(level.passes):
        decay = 0.5 * (1 + math.cos(math.pi * done / level.passes))
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * (0.1 + 0.9 * decay)
        order = torch.randperm(V, generator=generator)
        for ids in torch.split(order, recipe.batch):
            current = lattice.with_values(x * cell)
            out = render(current, views.cameras[ids], lighting=lighting)
            loss = ((out.silhouettes - views.silhouettes[ids]) ** 2).sum()
            if level.shading and lighting is not None:
                color = ((out.images - views.images[ids]) ** 2).mean(-1)
                loss = loss + level.shading * color.sum()
            eikonal, laplacian = energies.regularizers(current, recipe.band)
            smooth = recipe.eikonal * eikonal + recipe.laplacian * laplacian
            optimizer.zero_grad()
            total = pixels**2 * loss + len(ids) / V * smooth
            total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return lattice.with_values((x * cell).detach())


def silhouette_hull(views: ObjectViews, bounds: Tensor, resolution: int) -> Lattice:
    """The visual hull as distances: `max` over views of the distance to the silhouette's contour.

    A point's distance in a view is that of its pixel to the contour, times a pixel's width at the
    point's depth. `bounds` `[2, 3]` is the box, world units. Not differentiable.
    """
    box = bounds.to(torch.float32)
    points = grid_points((resolution,) * 3, box).reshape(-1, 3)
    uv, depths = views.cameras.project(points)  # (V, P, 2), (V, P)
    size = torch.tensor([views.cameras.width, views.cameras.height])
    where = (uv / size * 2 - 1)[:, :, None]  # (V, P, 1, 2)
    contour = torch.stack([_contour_distance(s) for s in views.silhouettes])[:, None]
    pixels = grid_sample(contour, where, padding_mode="border", align_corners=False)[:, 0, :, 0]
    distances = pixels * depths / views.cameras.Ks[:, 0, 0, None]
    return Lattice(distances.amax(0).reshape((resolution,) * 3), box)


def hollow(hull: Lattice, wall: float, up: bool) -> Lattice:
    """A solid with its inside taken out through the top, or through the bottom.

    What lies deeper than `wall` is taken out, and all that is above it (below it).
    """
    phi = hull.values if up else hull.values.flip(1)
    below = torch.cummin(phi, 1).values + wall  # negative in what is taken out
    shell = torch.maximum(phi, -below)
    return hull.with_values(shell if up else shell.flip(1))


@torch.no_grad()
def residual(lattice: Lattice, views: ObjectViews, lighting: Lighting | None) -> float:
    """Mean squared difference of the pictures of a lattice from those taken, in their frame."""
    out = render(lattice, views.cameras, lighting=lighting)
    coverage = (out.silhouettes - views.silhouettes) ** 2
    if lighting is None:
        return float(coverage.mean())
    return float(coverage.mean() + ((out.images - views.images) ** 2).mean())


def _contour_distance(silhouette: Tensor) -> Tensor:
    """`[H, W]` signed distance to the contour in pixels, negative inside."""
    inside = silhouette.numpy() > 0.5
    if not inside.any():
        return torch.full_like(silhouette, float(max(silhouette.shape)))
    far = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    return torch.from_numpy((far - np.sign(far) * 0.5).astype(np.float32))


def pixel_width(cameras: Cameras) -> float:
    """Mean width of a pixel at the origin, world units."""
    return float((cameras.centers.norm(dim=1) / cameras.Ks[:, 0, 0]).mean())
