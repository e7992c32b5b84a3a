"""Take out what no photograph asked for: debris outside the object and bubbles inside it.

Small bodies are debris unless the masks of several views ask for them: objects of several parts are
real. What is taken out is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multiview.photo.targets import Targets
from multiview.surgery.bodies import Bodies
from sdfrender import Lattice, render
from sdfrender.far import Doubles

FRACTION = 0.02  # of the largest body's volume, below which a body needs masks that ask for it
CRUMB = 1e-4  # of the largest body's volume: a vertex on lattices of 64 samples and more
SEVERAL = 2  # views whose masks have to ask for a body
FEWEST = 3  # pixels that only this body can explain, for a view to have a say
PIXELS_PER_CELL = 2.0  # of the views that are asked: a body of one vertex covers a few pixels
PART = 8  # views that are rendered at a time


@dataclass(frozen=True)
class Removed:
    """A body that was taken out.

    Args:
        center: `[3]` world units.
        volume: as a fraction of the largest body's.
        views_for: views in which only this body explains most of the mask where it is seen alone.
        views_against: views in which it is seen alone, and the mask is empty there.
    """

    center: tuple[float, float, float]
    volume: float
    views_for: int
    views_against: int


def remove_floaters(
    lattice: Lattice,
    targets: Targets | None = None,
    fraction: float = FRACTION,
    reach: float = math.inf,
) -> tuple[Lattice, list[Removed]]:
    """Keep large bodies and those that masks ask for, and fill hidden voids.

    A body is a face-connected set of vertices inside the surface. It is kept if it has at least
    `fraction` of the largest one's volume, or if it alone explains what the masks of `SEVERAL`
    views show, and more views speak for it than against it. A void is a set of vertices outside the
    surface from which the faces of the box cannot be reached; no camera outside sees it. Not
    differentiable. The surface of what is kept does not move.

    Args:
        lattice: one lattice.
        targets: the views with their masks. Without them small bodies go.
        fraction: of the largest body's number of vertices.
        reach: of the distances of a lattice that something was taken out of, as in
            `Lattice.redistance`.

    Returns:
        The lattice, the same object if nothing was taken out, and the bodies that were.
    """
    values = lattice.values.detach().cpu()
    bodies = Bodies.of(values.contiguous().numpy())
    largest = bodies.size[bodies.inside].max(initial=0)
    small = np.flatnonzero(bodies.inside & (bodies.size < fraction * largest))
    says = np.zeros((len(small), 2), np.int64)
    if targets is not None and len(small):
        says = _says(lattice, bodies, small, targets)
    kept = (says[:, 0] >= SEVERAL) & (says[:, 0] > says[:, 1])
    gone, said = small[~kept], says[~kept]
    voids = np.flatnonzero(~bodies.inside & ~bodies.on_box)
    if not len(gone) and not len(voids):
        return lattice, []
    cleared = _turned(lattice, bodies, np.concatenate((gone, voids)))
    middles = bodies.centers(gone)
    centers = lattice.bounds[0].cpu().numpy() + middles * lattice.spacing.cpu().numpy()
    removed = [
        Removed((float(x), float(y), float(z)), float(bodies.size[n] / largest), int(a), int(b))
        for (x, y, z), n, (a, b) in zip(centers, gone, said, strict=True)
    ]
    return cleared.redistance(reach=reach, reuse=True), removed


def summary(removed: Sequence[Removed], offset: Doubles) -> dict[str, Any]:
    """What was taken out, as `metrics.json` has it.

    Args:
        removed: the bodies, at least one.
        offset: `[3]` added to their centres.

    Returns:
        `bodies`, how many; `asked_for`, how many of them the mask of a single view asked for; and
        of the largest of these, or of all if there are none, `largest_volume`, as a fraction of the
        largest body's, and `largest_center`.
    """
    asked = [body for body in removed if body.views_for]
    largest = max(asked or removed, key=lambda body: body.volume)
    return {
        "bodies": len(removed),
        "asked_for": len(asked),
        "largest_volume": largest.volume,
        "largest_center": (np.array(largest.center) + offset).tolist(),
    }


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What is doubtful about what `summary` found: bodies that one mask asked for, not several.

    Crumbs of a few vertices, which the noise of a mask asks for, are in the metrics alone.
    """
    if not found["asked_for"] or found["largest_volume"] < CRUMB:
        return []
    where = ", ".join(f"{x:.10g}" for x in found["largest_center"])
    return [
        f"small bodies were taken out that the masks of fewer than {SEVERAL} views ask for, or "
        f"that as many contradict: {found['asked_for']}, the largest with "
        f"{100 * found['largest_volume']:.2g} % of the object's volume at ({where}); if they are "
        "real, look at the masks there, or add views"
    ]


def _turned(lattice: Lattice, bodies: Bodies, some: NDArray[np.int64]) -> Lattice:
    """The lattice with some bodies on the other side, a cell from the surface or more."""
    flat, which = bodies.vertices(some)
    values = lattice.values.detach().cpu().contiguous().clone()
    at, side = values.view(-1)[flat], np.where(bodies.inside[some], 1, -1)[which]
    cell = float(lattice.spacing.max())
    values.view(-1)[flat] = at.abs().clamp(min=cell) * torch.from_numpy(side)
    return lattice.with_values(values.to(lattice.values.device))


def _says(
    lattice: Lattice, bodies: Bodies, small: NDArray[np.int64], targets: Targets
) -> NDArray[np.int64]:
    """How many views speak for each of the small bodies, and against it: `[S, 2]`.

    A view speaks of a body where it sees it and none of the large ones, and its mask is known: for
    it if the mask is full in most of these pixels, else against it.
    """
    views = targets.for_lattice(lattice, PIXELS_PER_CELL)
    large = _turned(lattice, bodies, small)
    flat, which = bodies.vertices(small)
    labels = torch.zeros(lattice.resolution, dtype=torch.int32)
    says = np.zeros((len(small), 2), np.int64)
    labels.view(-1)[flat] = 1 + torch.from_numpy(which).int()
    for start in range(0, len(views.cameras), PART):
        some = views[range(start, min(start + PART, len(views.cameras)))]
        with torch.no_grad():
            seen, others = render(lattice, some.cameras), render(large, some.cameras).silhouettes
        alone = seen.hit_mask & (others < 0.5) & (some.silhouette_weights > 0.5)
        body = _deepest_label(lattice, labels, some.cameras.unproject(seen.depths, alone)).long()
        view = alone.nonzero()[:, 0]
        full = some.silhouettes[alone] > 0.5
        shape = (len(some.cameras), len(small) + 1)
        shown, asked = (
            np.bincount((view * shape[1] + body)[chosen].numpy(), minlength=shape[0] * shape[1])
            .reshape(shape)[:, 1:]  # those of no small body are at 0
            for chosen in (torch.ones_like(full), full)
        )  # fmt: skip
        speaks = shown >= FEWEST
        says[:, 0] += (speaks & (2 * asked >= shown)).sum(0)
        says[:, 1] += (speaks & (2 * asked < shown)).sum(0)
    return says


def _deepest_label(lattice: Lattice, labels: Tensor, points: Tensor) -> Tensor:
    """The label `[P]` of the deepest vertex of the cell that each of `points` `[P, 3]` is in."""
    last = torch.tensor(lattice.resolution) - 2
    cell = ((points - lattice.bounds[0]) / lattice.spacing).floor().long()
    cell = torch.minimum(cell.clamp(min=0), last)
    corners = torch.cartesian_prod(*[torch.arange(2)] * 3)  # (8, 3)
    X, Y, Z = (cell[:, None] + corners).unbind(-1)  # (P, 8)
    deepest = lattice.values.detach()[X, Y, Z].argmin(1, keepdim=True)
    return labels[X, Y, Z].gather(1, deepest)[:, 0]
