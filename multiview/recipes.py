"""The recipes behind the presets: which method, on which levels, with which weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

Schedule = Literal["shuffled", "greedy"]


@dataclass(frozen=True)
class Weights:
    """Weights of the energy's terms, most of them against the colour term's 1."""

    color: float = 1.0
    """Of the photographs' colours; 0 while stereo stands in for them."""

    silhouette: float = 0.3
    """Silhouette against colour (w_A)."""
    carve: float = 0.05
    """Erode opaque pixels that must be empty (w_B)."""
    eikonal: float = 0.05
    """Keep |∇φ| near 1 (μ)."""
    laplacian: float = 0.003
    """Smoothness (λ)."""
    band: float = 3.2
    """Half width of the regularisers' band, in cells."""
    huber: float = math.inf
    """Residual of colour beyond which it counts linearly (k)."""
    mask_huber: float = math.inf
    """The same for the silhouette."""
    outliers: float = math.inf
    """In Gauss-Newton: times a view's usual residual, from which on highlights count ever less."""
    stiffness: float = 0.0
    """Keep |∇φ| as it is during a step of Gauss-Newton; no part of the energy."""


@dataclass(frozen=True)
class Level:
    """One level of the pyramid, coarse to fine."""

    resolution: float
    """Samples along the longest side, as a fraction of the final resolution."""
    pixels_per_cell: float
    """Image size: pixels along a cell at the object, never more than the images have."""
    passes: int
    """Passes over the training views; a step of Gauss-Newton is one."""


@dataclass(frozen=True)
class StereoSettings:
    """How photographs are compared with each other at a level (`multiview.stereo`)."""

    pixels_per_cell: float = 5.0
    """Of the photographs compared, whatever the renderings have: a patch is 7 pixels wide."""
    search: float = 0.0
    """How far along each ray other depths are tried before a step, cells."""
    half: int = 3
    """Of a patch beside its middle, pixels."""
    whole: bool = True
    """Whether a patch moves with its middle, or each pixel of a rendering by itself."""


@dataclass(frozen=True)
class NewtonLevel(Level):
    """A level of Gauss-Newton."""

    laplacian: float = 0.005
    """Weight of smoothness in the energy (λ)."""
    smoothing: float = 0.02
    """How smooth a step has to be, at a damping of 1 (κ)."""
    largest_step: float = 1.0
    """In cells; a vertex that wants more is held to this."""
    colors: bool = True
    """Whether renderings are compared with the photographs' colours."""
    stereo: StereoSettings | None = None
    """Whether photographs are compared with each other, and how."""
    outliers: float = math.inf
    """As `Weights.outliers`."""
    easing: float = 0.7
    """Of the damping after a step that succeeded."""


@dataclass(frozen=True)
class NewtonRecipe:
    """Gauss-Newton on all views, or on as many as a step can take, in turns."""

    sphere_passes: ClassVar[int] = 7  # times as many on the coarsest level from a sphere
    levels: tuple[NewtonLevel, ...]
    least_damping: float = 0.03
    """How far damping may fall."""
    views: int = 32
    """Most views of a step; more than that take turns (`multiview.photo.turns`)."""
    weights: Weights = field(default_factory=lambda: Weights(silhouette=1.0, band=2.2))
    """Of the energy; the levels have their own smoothness and outliers."""
    patience: int = 1
    """Up to so many times the passes if there are few views (`for_views`)."""
    iterations: int = 30
    """Of conjugate gradients in a step, at most."""
    many_pixels: float = 8.0
    """Most pixels per cell where views take turns (`for_views`)."""


@dataclass(frozen=True)
class AdamRecipe:
    """Adam, a view or a few at a time."""

    sphere_passes: ClassVar[int] = 3
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

    sphere_passes: ClassVar[int] = 1
    levels: tuple[SdfDiffLevel, ...]
    updates: int = 5
    """Most updates of a view in a pass."""
    start_radius: float = 0.4
    """Of the sphere to start from, as a fraction of the shortest side of the box."""
    weights: Weights = field(
        default_factory=lambda: Weights(
            silhouette=0, carve=0, eikonal=1, laplacian=1, band=math.inf
        )
    )
    """Of `eikonal` and `laplacian`, on every vertex; the others have no part in it."""


Recipe = NewtonRecipe | AdamRecipe | SdfDiffRecipe

MANY_VIEWS = 26  # of which the passes are enough
COARSEST = 40  # a lattice of at most so many samples along the longest side comes first
MIDDLE = 80
BLURRED = 3.5  # pixels per cell
ROUGH = 2.5  # the same, where steps need not be exact
CAREFUL, BOLD = 0.7, 0.3  # how fast damping falls on the coarsest lattice, and on finer ones
SPHERE_SECOND = 2  # times as many passes as from a hull, once the coarsest level is less smooth
PHOTOGRAPHED = 3.0  # the same, for photographs
PHOTOGRAPHED_FINE = 2.5  # and on lattices of more than `MIDDLE` samples, whose images are dearest
MANY_PHOTOGRAPHED = 2.2  # and for so many that they take turns
CAUCHY = 2.385  # deviations, for 95% of the efficiency of least squares where noise is normal


def best(resolution: int) -> NewtonRecipe:
    """Gauss-Newton until nothing more is gained, the last steps on images in full."""
    recipe = _newton(resolution, rough=(6, 6, 4), between=(4, 4), last=(6, 5, 6), pixels=8)
    return replace(recipe, patience=4)


def fast(resolution: int) -> NewtonRecipe:
    """Gauss-Newton with about half the work: small images, fewer steps."""
    return _newton(resolution, rough=(6, 4, 2), between=(4, 2), last=(4, 2, 4), pixels=2)


def adam(resolution: int) -> AdamRecipe:
    """First order on the same energy: shuffled batches of views."""
    return AdamRecipe(
        levels=(Level(1 / 4, 2, 10), Level(1 / 2, 2, 16), Level(1, 2, 12), Level(1, 4, 6)),
    )


def sdfdiff(resolution: int, count: int = 8) -> SdfDiffRecipe:
    """8³, 16³, … 64³ or the same fractions of another resolution, as in the released code."""
    return SdfDiffRecipe(
        tuple(
            SdfDiffLevel((n + 1) / count, 4, 12, 0.01 / 1.03**n, 0.4 * 1.05 ** (n + 1))
            for n in range(count)
        )
    )


RECIPES: dict[str, Callable[[int], Recipe]] = {
    "best": best,
    "fast": fast,
    "adam": adam,
    "sdfdiff": sdfdiff,
}


def from_sphere(recipe: Recipe) -> Recipe:
    """The same from a sphere, which has farther to go than the hull."""
    first, second, *others = recipe.levels
    first = replace(first, passes=recipe.sphere_passes * first.passes)
    if isinstance(recipe, NewtonRecipe) and second.resolution == first.resolution:
        second = replace(second, passes=SPHERE_SECOND * second.passes)  # in which holes open
    return replace(recipe, levels=(first, second, *others))  # type: ignore[arg-type]


def from_prior(recipe: Recipe) -> Recipe:
    """The same from a shape of a learned family, which is past what coarse levels are for."""
    levels = tuple(level for level in recipe.levels if level.resolution == 1)
    recipe = replace(recipe, levels=levels)  # type: ignore[arg-type]
    return replace(recipe, patience=1) if isinstance(recipe, NewtonRecipe) else recipe


def for_views(recipe: Recipe, views: int) -> Recipe:
    """The same for so many views: what few of them save in a step goes into more steps.

    Their energy is a flatter valley, down which a surface is still on its way long after it has
    settled with many views. Of very many, smaller images say enough.
    """
    if not isinstance(recipe, NewtonRecipe):
        return recipe
    times = min(max(MANY_VIEWS / views, 1), recipe.patience)
    most = recipe.many_pixels if views > recipe.views else math.inf
    levels = tuple(
        replace(
            level,
            passes=round(times * level.passes),
            pixels_per_cell=min(level.pixels_per_cell, most),
        )
        for level in recipe.levels
    )
    return replace(recipe, levels=levels)


def for_photographs(recipe: Recipe) -> Recipe:
    """The same under a light that is not known, as in photographs.

    Their masks are less certain than their colours, their pixels are not as sharp as they are
    small, and a shape that takes bold steps, or many, runs away from the colours fitted to it.
    Highlights are no part of the light that is estimated: at the end they count less, or the shape
    would follow them.
    """
    if not isinstance(recipe, NewtonRecipe):
        return recipe
    levels = []
    for number, level in enumerate(recipe.levels):
        fine = number >= 4
        many = level.resolution == 1 and fine
        passes = math.ceil(2 / 3 * level.passes) if many else level.passes
        pixels = min(level.pixels_per_cell, PHOTOGRAPHED_FINE if fine else PHOTOGRAPHED)
        outliers = CAUCHY if level is recipe.levels[-1] else math.inf
        levels.append(replace(level, pixels_per_cell=pixels, passes=passes, outliers=outliers))
    weights = replace(recipe.weights, silhouette=0.2, mask_huber=0.2)
    recipe = replace(recipe, weights=weights, levels=tuple(levels))
    return replace(recipe, least_damping=0.2, patience=1, many_pixels=MANY_PHOTOGRAPHED)


def from_maps(recipe: NewtonRecipe) -> NewtonRecipe:
    """The same with no look at colours: outlines, depths and normals alone."""
    levels = tuple(replace(level, colors=False) for level in recipe.levels)
    return replace(recipe, levels=levels)


def for_colors(recipe: Recipe) -> Recipe:
    """The same where the surface has colours of its own, which are unknowns too.

    Images then say less of the surface: what a smooth distance field would cost at every edge and
    crease, and smoothness, move it off where it is seen. The steps keep slopes as they are instead.
    """
    if not isinstance(recipe, NewtonRecipe):
        return recipe
    eikonal = recipe.weights.eikonal
    weights = replace(recipe.weights, eikonal=0.1 * eikonal, stiffness=0.9 * eikonal)
    levels = tuple(replace(level, laplacian=0.2 * level.laplacian) for level in recipe.levels)
    return replace(recipe, weights=weights, levels=levels, iterations=20)


def _newton(
    resolution: int,
    rough: tuple[int, int, int],
    between: tuple[int, int],
    last: tuple[int, int, int],
    pixels: float,
) -> NewtonRecipe:
    """Resolution doubles from level to level; smoothness is let go as detail comes in.

    What comes before the last steps has to be near only: small images do. The coarsest lattice
    is an exception, as what it leaves filled is hard to open later.

    Args:
        resolution: samples along the longest side at the end.
        rough: passes with more smoothness, on the coarsest lattice, on others of up to `MIDDLE`
            samples, and on finer ones.
        between: passes with less smoothness, on the coarsest lattice and on each after it but the
            finest.
        last: the same on the finest, by its samples as `rough`.
        pixels: see `Level.pixels_per_cell`, of the last passes of the coarsest and the finest.
    """
    rungs = [1.0]
    while resolution * rungs[0] > COARSEST:
        rungs.insert(0, rungs[0] / 2)
    levels = []
    smooth = (
        ((0.1, 0.1), (0.01, 0.1)),
        ((0.03, 0.1), (0.003, 0.02)),
        ((0.01, 0.1), (0.0014, 0.02)),
    )
    for rung in rungs:
        first, final = rung == rungs[0], rung == 1
        kind = 0 if first else 1 if resolution * rung <= MIDDLE else 2
        largest = (0.3, 0.5) if first else (0.5, 1.0)
        # Blurred at the very start: a surface that is far off finds its way.
        small = min(pixels, BLURRED if first else ROUGH)
        sharp = pixels if first or final else small
        passes = last[kind] if final else between[0 if first else 1]
        # Where the surface is far off, bold steps go wrong, and small differences grow.
        easing = CAREFUL if first else BOLD
        levels.append(
            NewtonLevel(rung, small, rough[kind], *smooth[kind][0], largest[0], easing=easing)
        )
        levels.append(NewtonLevel(rung, sharp, passes, *smooth[kind][1], largest[1], easing=easing))
    return NewtonRecipe(tuple(levels))
