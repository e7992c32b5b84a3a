"""The colours of the surface as unknowns of a Gauss-Newton step, beside the lattice.

Colours are fitted to the surface where it was. Held fixed during a step they hold the surface too:
what moves it away from them costs as much as a wrong image. A step that may recolour the surface
asks only what no colours explain, which is where views disagree. Its colours are thrown away:
`Appearance.solve` finds better ones for all views.

Notation: P pixels show the surface, K vertices of the albedo are next to it, C channels. A pixel
is `s a(x)`: `s` the light that falls on the point and the pixel's coverage, `a(x) = T a` trilinear.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from multiview.albedo import PULL, differences
from multiview.appearance import SMOOTHNESS, Appearance
from multiview.optimize.targets import Targets
from sdfrender import Lattice, Rendering
from sdfrender.engines.compiled import kernel
from sdfrender.engines.padding import slabs
from sdfrender.engines.threads import run_all
from sdfrender.trilinear import corner_offsets, corner_weights

Floats = NDArray[np.float32]


class Recoloring:
    """The derivative of images in a lattice of albedo, and what holds the albedo smooth.

    The energy in the colours is that of `multiview.albedo`, in the units of the images' weights.

    Args:
        lattice: the shape.
        out: its rendering.
        targets: the views rendered.
        appearance: with a lattice of albedo.
        weights: `[n, H, W, C]` of the images' squares.
        pulled: `[n, H, W, C]` half the derivative of the energy in the sharp images.

    Attributes:
        size: K C.
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
        self.pixels = inside.flatten().nonzero()[:, 0]
        points, light = appearance.irradiance(out, targets, inside)
        self.s = (light * out.silhouettes.detach()[inside][:, None]).contiguous().numpy()

        last = torch.tensor((X, Y, Z)) - 1
        index = (points - lattice.bounds[0]) / (lattice.bounds[1] - lattice.bounds[0]) * last
        cell = torch.minimum(index.floor().clamp(min=0), last - 1.0)
        first = (cell.int() * torch.tensor((Y * Z, Z, 1), dtype=torch.int32)).sum(-1)
        vertices = (first[:, None] + corner_offsets(Y, Z, points.device)).numpy()
        touched = np.zeros(X * Y * Z, np.bool_)
        touched[vertices.ravel()] = True
        ids = np.flatnonzero(touched)
        unknown = np.full(X * Y * Z, -1, np.int32)
        unknown[ids] = np.arange(len(ids), dtype=np.int32)
        rows = corner_weights((index - cell).clamp(0, 1)).numpy().ravel()
        ends = np.arange(0, len(rows) + 1, 8, dtype=np.int32)
        shape = (len(points), len(ids))
        self.T = sparse.csr_array((rows, unknown[vertices.ravel()], ends), shape=shape)
        self.T_T = self.T.T.tocsr()

        weight = weights.reshape(-1, self.channels)[self.pixels].numpy()
        unit = np.float32(weight.mean()) if len(weight) else np.float32(1)
        rough = SMOOTHNESS * differences(unknown.reshape(X, Y, Z), len(ids))
        rest = PULL * sparse.eye_array(len(ids), dtype=np.float32, format="csr")
        self.smooth = (unit * (rough + rest)).tocsr()
        off = (albedo - appearance.rest).reshape(-1, self.channels)[torch.from_numpy(ids)].numpy()
        self.size = off.size
        self.gradient = self.pull(pulled) + _dot(self.smooth, off).ravel()
        squares = self.T_T.power(2) @ (weight * self.s**2)
        self.diagonal = (squares + self.smooth.diagonal()[:, None]).ravel()

    def add(self, images: Tensor, colors: Floats) -> None:
        """Add what a change of the colours `[K C]` does to images `[n, H, W, C]`, in place."""
        change = _dot(self.T, colors.reshape(-1, self.channels))
        change *= self.s
        images.view(-1, self.channels).index_add_(0, self.pixels, torch.from_numpy(change))

    def pull(self, images: Tensor) -> Floats:
        """The transpose of `add`: `[K C]`."""
        taken = images.reshape(-1, self.channels)[self.pixels].numpy()
        return _dot(self.T_T, taken * self.s).ravel()

    def hold(self, colors: Floats) -> Floats:
        """Curvature of what holds the albedo smooth, times a change `[K C]`."""
        return _dot(self.smooth, colors.reshape(-1, self.channels)).ravel()


def _dot(matrix: Any, x: Floats) -> Floats:
    """A sparse matrix `[R, N]` times `[N, C]`, on all threads."""
    out = np.zeros((matrix.shape[0], x.shape[1]), np.float32)
    threads = torch.get_num_threads()

    def rows(part: slice) -> None:
        multiply(matrix.indptr, matrix.indices, matrix.data, x, out, part.start, part.stop)

    run_all(rows, slabs(len(out), 4 * threads), threads)
    return out


@kernel
def multiply(ends: Any, columns: Any, data: Any, x: Any, out: Any, begin: int, end: int) -> None:
    """Rows `begin … end` of a sparse matrix times `[N, C]`, added to `out`."""
    for row in range(begin, end):
        for n in range(ends[row], ends[row + 1]):
            for c in range(x.shape[1]):
                out[row, c] += data[n] * x[columns[n], c]
