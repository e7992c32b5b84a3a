"""How far views agree about a surface, pixel by pixel, and where along its ray they would agree.

A pixel of a reference view sees the surface at depth z; a patch of the tangent plane there is seen
in up to 6 neighbours. With both patches normalised to a mean of 0 and a variance of 1 (ZNCC), the
residuals of neighbour j are `r = b̂_j − â`. Linear in z they are least at

    z + δ,   δ = −B / G,   G = Σ_j w_j mean(g²),   B = Σ_j w_j mean(g r),   g = ∂b̂_j / ∂z

over the half of the neighbours that agrees best, `w_j` growing from 0 at a ZNCC of `least` to 1.

Means are over a patch that moves as a whole while the surface is far off: so much of it tells a
depth from others. Near the surface they are over the pixel's own part of the patch. A patch bends
with the surface as it stands, so bumps smaller than it move none of it on the whole: what is asked
of patches leaves them, and adds those of its own noise step by step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from multiview.photo.targets import Targets
from multiview.stereo.match_kernel import COUNT, CURVATURE, HERE, SCORE, SHIFT, USED, match_pixels
from multiview.stereo.neighbours import LEAST_ANGLE, MOST_ANGLE, neighbours
from multiview.stereo.pictures import Pictures
from sdfrender import Cameras, Rendering
from sdfrender.kernels.threads import run_all

Doubles = NDArray[np.float64]
SEARCH_STEP = 0.5  # cells
CHUNK = 2048  # pixels for a thread at a time


@dataclass(frozen=True)
class Matching:
    """How pixels are compared.

    Args:
        half: of a patch beside its middle, pixels.
        floor: of a patch's deviation, units of colour: one with less contrast hardly counts.
        least: ZNCC below which a neighbour does not count.
        slack: of the test whether a neighbour sees the point, cells.
        longest: shift of a depth, cells.
        search: how far along the ray depths are tried, cells.
        gain: of the ZNCC for which one of them is taken.
        whole: whether all of a patch moves with its middle, or each pixel by itself.
    """

    half: int = 3
    floor: float = 0.01
    least: float = 0.4
    slack: float = 1.5
    longest: float = 0.5
    search: float = 0.0
    gain: float = 0.05
    whole: bool = True

    @property
    def offsets(self) -> Doubles:
        """Depths to try, cells along z."""
        steps = math.floor(self.search / SEARCH_STEP + 1e-6)
        return SEARCH_STEP * np.arange(-steps, steps + 1, dtype=np.float64)

    def own_half(self, ratio: float) -> int:
        """Half size of the part of a patch whose residuals count.

        Args:
            ratio: pixels of the pictures per pixel of a rendering.
        """
        return self.half if self.whole else min(max(1, round(ratio / 2)), self.half)


@dataclass(frozen=True, eq=False)
class Matches:
    """What came of P pixels, view by view.

    Args:
        pixels: `[P, 3]` view, row and column in the rendering.
        curvature: `[P]` G of a shift by a cell, 0 where nothing is known.
        shift: `[P]` δ, cells along z.
        score: `[P]` mean ZNCC of the believed half, −1 where the pixel cannot be compared.
        here: `[P]` the same before a depth that was searched was taken.
        used: `[P]` neighbours that counted.
        count: `[P]` neighbours that see the point.
    """

    pixels: NDArray[np.int64]
    curvature: Doubles
    shift: Doubles
    score: Doubles
    here: Doubles
    used: Doubles
    count: Doubles


@dataclass(frozen=True, eq=False)
class Seen:
    """Depths of the surface as some views saw it.

    Args:
        cameras: n views.
        depths: `[n, h, w]` z, inf where there is no surface.
        views: `[n]` which of a scene's views they are.
    """

    cameras: Cameras
    depths: torch.Tensor
    views: torch.Tensor

    @classmethod
    def of(cls, targets: Targets, out: Rendering) -> Seen:
        """What a rendering of some views shows."""
        depths = torch.where(out.hit_mask, out.depths, math.inf).detach().float()
        return cls(targets.cameras, depths, targets.views)

    def __add__(self, other: Seen) -> Seen:
        """Both, the other's views after these; of one image size."""
        first, second = self.cameras, other.cameras
        cameras = Cameras(
            torch.cat((first.c2w, second.c2w)),
            torch.cat((first.Ks, second.Ks)),
            first.width,
            first.height,
        )
        depths = torch.cat((self.depths, other.depths))
        return Seen(cameras, depths, torch.cat((self.views, other.views)))

    def but(self, views: torch.Tensor) -> Seen:
        """Those that are none of some views."""
        kept = (~torch.isin(self.views, views)).nonzero()[:, 0]
        return Seen(self.cameras[kept], self.depths[kept], self.views[kept])


def match(
    targets: Targets,
    pictures: Pictures,
    out: Rendering,
    cell: float,
    matching: Matching,
    middle: torch.Tensor,
    references: list[int] | None = None,
    others: Seen | None = None,
) -> Matches:
    """Compare every pixel of some views that shows the surface. Not differentiable.

    Args:
        targets: N views, whose cameras are used.
        pictures: of the same views, of any size; then of the other views.
        out: rendering of the surface from `targets.cameras`: depths and normals.
        cell: the largest spacing, world units.
        matching: how.
        middle: `[3]` of the object, world units.
        references: which of the N views' pixels to compare; by default all.
        others: more views that may be neighbours.
    """
    seen = Seen.of(targets, out) + others if others is not None else Seen.of(targets, out)
    cameras, depths = seen.cameras, seen.depths.contiguous().numpy()  # compiled once
    N, (H, W) = len(targets.cameras), pictures.grey.shape[1:]
    normals = out.normals.detach().float().numpy()
    rotations = cameras.c2w[:, :3, :3].double()
    projections = cameras.resized(W, H).Ks.double() @ rotations.mT
    geometry = (
        cameras.centers.double().contiguous().numpy(),
        projections.contiguous().numpy(),
        torch.linalg.inv(projections).contiguous().numpy(),
    )
    shown = (pictures.grey.float().numpy(), pictures.known.numpy())
    sizes = (W / cameras.width, H / cameras.height, cell)
    settings = np.array(
        (
            matching.half,
            matching.floor,
            matching.least,
            matching.slack,
            math.cos(math.radians(MOST_ANGLE)),
            math.cos(math.radians(LEAST_ANGLE / 2)),
            matching.longest,
            matching.gain,
            matching.own_half(W / cameras.width),
        )
    )
    near = neighbours(cameras, middle)
    work = []
    for view in range(N) if references is None else references:
        pixels = np.argwhere(out.hit_mask[view].numpy()).astype(np.int64)
        work += [(view, pixels[a : a + CHUNK]) for a in range(0, len(pixels), CHUNK)]

    def some(item: tuple[int, NDArray[np.int64]]) -> Doubles:
        view, pixels = item
        found = np.zeros((len(pixels), 6))
        match_pixels(
            view, pixels, depths, normals[view], near[view], shown, geometry, sizes, settings,
            matching.offsets, found,
        )  # fmt: skip
        return found

    results = run_all(some, work, torch.get_num_threads())
    table = np.concatenate(results) if results else np.zeros((0, 6))
    places = [np.insert(pixels, 0, view, axis=1) for view, pixels in work]
    where = np.concatenate(places) if places else np.zeros((0, 3), np.int64)
    columns = (CURVATURE, SHIFT, SCORE, HERE, USED, COUNT)
    return Matches(where, *(table[:, column] for column in columns))
