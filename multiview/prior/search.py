"""The shape of a family that explains a scene's views: many starts, coarse to fine.

The middle and the size of the hull's box place the canonical frame. Known shapes are tried in
several headings; the better a start explains the views, the longer it is followed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from multiview.config import Up
from multiview.optimize.normal_equations import LeastSquares
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.prior.fit_code import BAND, CodeFit, Likely
from multiview.prior.placed_shape import PlacedShape, Placement
from multiview.recipes import Weights
from sdfrender import InputError, Lattice
from sdfrender.geometry.grid import UNIT_BOX, samples_per_axis
from sdfrender.hull.visual_hull import visual_hull
from sdfrender.latent.field import LONGEST_SIDE, LatentField

CODES = 24  # known shapes that are tried, at most
HEADINGS = 4  # about up, evenly spaced, that each of them is tried in
CANONICAL = 40  # samples of a known shape's lattice, to try it
WEIGHTS = Weights(silhouette=1.0, carve=0.05)
PRIOR = 0.3  # β: squares of a cell that a standard deviation counts


@dataclass(frozen=True)
class Rung:
    """One size of lattice and images.

    Args:
        samples: of the lattice along the longest side of the box.
        pixels_per_cell: see `recipes.Level`.
        starts: that are followed.
        placing: steps of the placement alone.
        steps: of code and placement.
    """

    samples: int
    pixels_per_cell: float
    starts: int
    placing: int
    steps: int


LADDER = (Rung(24, 1, 8, 4, 4), Rung(28, 2, 4, 0, 6), Rung(32, 2, 2, 0, 8), Rung(48, 3, 1, 0, 15))
LITTLE = 0.005  # of its energy; a step that gains less is the last of its rung


@dataclass(frozen=True)
class SearchResult:
    """What the search found.

    Args:
        shape: code and placement.
        energy: of the views and the prior at the end.
        start: the known shape that it started from, or "mean".
        heading: and its heading, radians about the up axis.
    """

    shape: PlacedShape
    energy: float
    start: str
    heading: float


def search(
    family: LatentField,
    targets: Targets,
    appearance: Appearance,
    bounds: Tensor,
    up: Up = "y",
    weight: float = PRIOR,
    quiet: bool = True,
) -> SearchResult:
    """Fit a code and its placement to posed views. Not differentiable.

    Args:
        family: the decoder.
        targets: N ≥ 1 views.
        appearance: what is known of light and colour; a fresh copy is fitted to each start.
        bounds: `[2, 3]` box of the scene.
        up: axis of the scene along which the family's shapes stand, about.
        weight: β of the prior.
        quiet: no progress bar.

    Raises:
        InputError: no known shape can be seen in the views.
    """
    likely = Likely.of(family)
    starts = rank(family, targets, appearance, bounds, up, quiet)
    total = sum(min(r.starts, len(starts)) * (r.placing + r.steps) for r in LADDER)
    with tqdm(total=total, desc="looking for the shape", disable=quiet) as bar:
        for rung in LADDER:
            grid = samples_per_axis(rung.samples, bounds)
            views = targets.for_lattice(_empty(grid, bounds), rung.pixels_per_cell)
            followed = []
            for shape, _, name, heading in starts[: rung.starts]:
                look = fresh(appearance)
                fit = CodeFit(shape, views, look, grid, bounds, likely, WEIGHTS, weight)
                for _ in range(rung.placing):
                    fit.step(placement_only=True)
                for _ in range(rung.steps):
                    before = fit.energy
                    if not fit.step() or fit.energy > (1 - LITTLE) * before:
                        break
                bar.update(rung.placing + rung.steps)
                followed.append((fit.shape, fit.energy, name, heading))
            starts = sorted(followed, key=lambda found: found[1])
    return SearchResult(*starts[0])


Start = tuple[PlacedShape, float, str, float]


def rank(
    family: LatentField,
    targets: Targets,
    appearance: Appearance,
    bounds: Tensor,
    up: Up,
    quiet: bool = True,
) -> list[Start]:
    """Known shapes in several headings, the one that explains the views best first.

    Arguments as in `search`; `bounds` `[2, 3]` is the box, world units.
    """
    grid = samples_per_axis(LADDER[0].samples, bounds)
    world = _empty(grid, bounds)
    views = targets.for_lattice(world, LADDER[0].pixels_per_cell)
    middle, size = hull_box(views, bounds)
    found: list[Start] = []
    for name, code in tqdm(spread(family), desc="looking at known shapes", disable=quiet):
        known = family.lattice(code, UNIT_BOX, CANONICAL)
        for k in range(HEADINGS):
            heading = 2 * math.pi * k / HEADINGS
            placement = Placement(upright(up, heading), size / LONGEST_SIDE, middle)
            p = placement.to_canonical(world.vertices.reshape(-1, 3))
            values = placement.scale * known.sample(p).reshape(grid)
            if not bool((values < 0).any()):
                continue
            look = fresh(appearance)
            for _ in range(2):  # the colour is known only after a first look
                problem = LeastSquares(world.with_values(values), views, look, WEIGHTS, BAND)
                look.solve()
            energy = float(problem.terms.data)
            found.append((PlacedShape(family, code, placement), energy, name, heading))
    if not found:
        raise InputError("--prior: need weights of shapes that can be seen, no known shape can be")
    return sorted(found, key=lambda start: start[1])


def spread(family: LatentField) -> list[tuple[str, Tensor]]:
    """The mean code, and up to `CODES` known ones that are far from each other."""
    codes = family.codes.detach()
    mean = family.statistics()[0]
    chosen = [("mean", mean)]
    far = (codes - mean).norm(dim=1)
    for _ in range(min(CODES, len(codes))):
        n = int(far.argmax())
        chosen.append((family.names[n], codes[n]))
        far = torch.minimum(far, (codes - codes[n]).norm(dim=1))
    return chosen


def hull_box(targets: Targets, bounds: Tensor) -> tuple[Tensor, Tensor]:
    """Middle `[3]` and longest side `[]` of the box of the visual hull."""
    hull = visual_hull(targets.cameras, targets.silhouettes, targets.silhouette_weights, 48, bounds)
    inside = hull.vertices[hull.values < 0]
    low, high = inside.amin(0), inside.amax(0)
    return (low + high) / 2, (high - low).max()


def upright(up: Up, heading: float) -> Tensor:
    """`[3, 3]` a rotation that takes y to `up`, after a turn about y by `heading`."""
    axis = "xyz".index(up[-1])
    shift = torch.eye(3).roll(axis - 1, 0)  # cyclic, so a rotation: y to the axis
    if up[0] == "-":
        shift = shift @ torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    c, s = math.cos(heading), math.sin(heading)
    turn = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    return shift @ turn


def fresh(appearance: Appearance) -> Appearance:
    """A copy in which nothing is estimated yet."""
    return Appearance(
        appearance.channels,
        appearance.known,
        lens=appearance.lens,
        fixed_to=appearance.light.fixed_to,
        views=appearance.views,
    )


def _empty(grid: tuple[int, int, int], bounds: Tensor) -> Lattice:
    return Lattice(torch.ones(grid), bounds)
