"""The colours of the surface as unknowns of a Gauss-Newton step, beside the lattice.

Colours are fitted to the surface where it was. Held fixed during a step they hold the surface too:
what moves it away from them costs as much as a wrong image. A step that may recolour the surface
asks only what no colours explain, which is where views disagree. Its colours are thrown away:
`Appearance.solve` finds better ones for all views.

Notation: P pixels show the surface, K vertices of the albedo are next to it, C channels. A pixel
is `s a(x)`: `s` the light that falls on the point and the pixel's coverage, `a(x) = T a` trilinear.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from multiview.photo.albedo import PULL, differences
from multiview.photo.appearance import Appearance
from multiview.photo.parts import Part
from multiview.photo.targets import Targets
from sdfrender import Lattice, Rendering
from sdfrender.geometry.trilinear import corner_offsets
from sdfrender.kernels.arrays import Ints, Singles
from sdfrender.kernels.compiled import kernel
from sdfrender.kernels.threads import run_all, slabs
from sdfrender.kernels.trilinear_cell import lane_weights

SMOOTHNESS = 0.02  # ρ of the albedo: less than what is taken up then has, so that it holds less


class Recoloring:
    """The derivative of images in a lattice of albedo, and what holds the albedo smooth.

    The energy in the colours is that of `multiview.photo.albedo`, in the units of the images'
    weights.

    Args:
        lattice: the shape.
        out: its rendering.
        targets: the views rendered.
        appearance: with a lattice of albedo.
        weights: `[n, H, W, C]` of the images' squares.
        pulled: `[n, H, W, C]` half the derivative of the energy in the sharp images.

    Attributes:
        ids: `[K]` flat indices of the vertices.
        gradient: `[K C]` half the derivative of the energy in the colours.
        diagonal: `[K C]` of its curvature.
    """

    def __init__(
        self,
        lattice: Lattice,
        out: Rendering,
        targets: Targets,
        appearance: Appearance,
        weights: Tensor,
        pulled: Tensor,
    ) -> None:
        albedo = appearance.albedo
        X, Y, Z, self.channels = albedo.shape
        inside = out.hit_mask & (weights.amax(-1) > 0)
        self.pixels = inside.flatten().nonzero()[:, 0].numpy()
        points, light = appearance.irradiance(out, targets, inside)
        self.s = (light * out.silhouettes.detach()[inside][:, None]).contiguous().numpy()

        last = torch.tensor((X, Y, Z)) - 1
        index = (points - lattice.bounds[0]) / (lattice.bounds[1] - lattice.bounds[0]) * last
        cell = torch.minimum(index.floor().clamp(min=0), last - 1.0)
        self.f = (index - cell).clamp(0, 1).numpy()
        first = (cell.int() * torch.tensor((Y * Z, Z, 1), dtype=torch.int32)).sum(-1).numpy()
        part = targets.part
        cells, self.cells = _numbered(first, X * Y * Z)
        vertices = cells[:, None] + corner_offsets(Y, Z, points.device).numpy()
        self.ids, corners = _numbered(vertices.ravel(), X * Y * Z, part)
        self.corners, self.K = corners.reshape(-1, 8), len(self.ids)
        unknown = np.full(X * Y * Z, -1, np.int32)
        unknown[self.ids] = np.arange(self.K, dtype=np.int32)

        weight = weights[inside]
        unit = np.float32(weight.mean() if len(weight) else 1)
        if part is not None:
            unit = part.mean(weight)
        rough = SMOOTHNESS * differences(unknown.reshape(X, Y, Z), self.K)
        rest = PULL * sparse.eye_array(self.K, dtype=np.float32, format="csr")
        self.smooth = (unit * (rough + rest)).tocsr()
        near = albedo.reshape(-1, self.channels)[torch.from_numpy(self.ids)]
        off = (near - appearance.rest).numpy()
        self.gradient = self.pull(pulled) + (self.smooth @ off).ravel()
        squares = self.pull(weights, squared=True)
        self.diagonal = squares + self.smooth.diagonal().repeat(self.channels)
        if part is not None:
            self.gradient, self.diagonal = part.sum(self.gradient), part.sum(self.diagonal)

    def add(self, images: Tensor, colors: Singles) -> None:
        """Add what a change of the colours `[K C]` does to images `[n, H, W, C]`, in place."""
        flat, x = images.reshape(-1, self.channels).numpy(), colors.reshape(self.K, self.channels)

        def part(p: slice) -> None:
            add_colors(self.pixels[p], self.cells[p], self.f[p], self.s[p], self.corners, x, flat)

        threads = torch.get_num_threads()
        run_all(part, slabs(len(self.pixels), threads), threads)

    def pull(self, images: Tensor, squared: bool = False) -> Singles:
        """The transpose of `add`: `[K C]`; with the squares of its entries for a diagonal."""
        flat = images.reshape(-1, self.channels).numpy()

        def part(p: slice) -> Singles:
            out = np.zeros((self.K, self.channels), np.float32)
            pull_colors(
                self.pixels[p], self.cells[p], self.f[p], self.s[p], self.corners, flat, squared,
                out,
            )  # fmt: skip
            return out

        threads = torch.get_num_threads()
        total, *others = run_all(part, slabs(max(len(self.pixels), 1), threads), threads)
        for each in others:
            total += each
        return total.ravel()

    def hold(self, colors: Singles) -> Singles:
        """Curvature of what holds the albedo smooth, times a change `[K C]`."""
        held: Singles = self.smooth @ colors.reshape(self.K, self.channels)
        return held.ravel()


def _numbered(which: Ints, size: int, part: Part | None = None) -> tuple[Ints, Ints]:
    """The different numbers below `size` in a list, ascending, and where in them each one is.

    They are those of the lists of all processes, if it is of one's `part`.
    """
    seen = np.zeros(size, np.uint8)
    seen[which] = 1
    if part is not None:
        seen = part.ranks.sum_array(seen)
    found = np.flatnonzero(seen).astype(np.int32)
    place = np.zeros(size, np.int32)
    place[found] = np.arange(len(found), dtype=np.int32)
    return found, place[which]


@kernel
def add_colors(
    pixels: Ints,
    cells: Ints,
    f: Singles,
    s: Singles,
    corners: Ints,
    colors: Singles,
    images: Singles,
) -> None:
    """Add `s T colors` to images `[n H W, C]`, see `Recoloring`."""
    one = np.float32(1)
    for p in range(len(pixels)):
        w = lane_weights(one, f[p, 0], f[p, 1], f[p, 2])
        at = corners[cells[p]]
        for c in range(colors.shape[1]):
            a = np.float32(0)
            for n in range(8):
                a += w[n] * colors[at[n], c]
            images[pixels[p], c] += s[p, c] * a


@kernel
def pull_colors(
    pixels: Ints,
    cells: Ints,
    f: Singles,
    s: Singles,
    corners: Ints,
    images: Singles,
    squared: bool,
    out: Singles,
) -> None:
    """Add `Tᵀ (s images)` to `out` `[K, C]`, see `Recoloring`."""
    one = np.float32(1)
    for p in range(len(pixels)):
        w = lane_weights(one, f[p, 0], f[p, 1], f[p, 2])
        at = corners[cells[p]]
        for c in range(out.shape[1]):
            v = s[p, c] * images[pixels[p], c]
            if squared:
                v *= s[p, c]
            for n in range(8):
                out[at[n], c] += w[n] * (w[n] if squared else one) * v
