"""The colours of the surface as unknowns of a step on a card; the twin of `optimize.recoloring`."""

from __future__ import annotations

import torch
from torch import Tensor

from multiview.algebra.rows import SparseRows, edges
from multiview.optimize.recoloring import SMOOTHNESS
from multiview.photo.albedo import PULL
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from sdfrender import Lattice, Rendering
from sdfrender.geometry.trilinear import corner_offsets, corner_weights


class CardRecoloring:
    """As `Recoloring`, with tensors; arguments and attributes are the same.

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
        self.pixels = inside.flatten().nonzero()[:, 0]
        points, light = appearance.irradiance(out, targets, inside)
        self.s = light * out.silhouettes[inside][:, None]

        last = torch.tensor((X, Y, Z), device=points.device) - 1
        index = (points - lattice.bounds[0]) / (lattice.bounds[1] - lattice.bounds[0]) * last
        cell = torch.minimum(index.floor().clamp(min=0), last - 1.0)
        i, j, k = cell.long().unbind(-1)
        vertices = ((i * Y + j) * Z + k)[:, None] + corner_offsets(Y, Z, points.device)
        self.ids, columns = torch.unique(vertices, return_inverse=True)
        self.K = len(self.ids)
        self.T = SparseRows(columns, corner_weights((index - cell).clamp(0, 1)), self.K)
        unknown = torch.full((X * Y * Z,), -1, dtype=torch.int64, device=points.device)
        unknown[self.ids] = torch.arange(self.K, device=points.device)

        weight = weights[inside]
        self.unit = float(weight.mean()) if len(weight) else 1.0
        self.edges = edges(unknown.reshape(X, Y, Z), self.K, albedo.dtype)
        off = (albedo.reshape(-1, self.channels)[self.ids] - appearance.rest).reshape(-1)
        self.gradient = self.pull(pulled) + self.hold(off)
        held = self.unit * (SMOOTHNESS * self.edges.squares + PULL)
        squares = self.pull(weights, squared=True)
        self.diagonal = squares + held.repeat_interleave(self.channels)

    def add(self, images: Tensor, colors: Tensor) -> None:
        """Add what a change of the colours `[K C]` does to images `[n, H, W, C]`, in place."""
        change = self.s * (self.T @ colors.reshape(self.K, self.channels))
        images.view(-1, self.channels).index_add_(0, self.pixels, change)

    def pull(self, images: Tensor, squared: bool = False) -> Tensor:
        """The transpose of `add`: `[K C]`; with the squares of its entries for a diagonal."""
        seen = images.reshape(-1, self.channels)[self.pixels]
        T, s = self.T, self.s
        if squared:
            T, s = SparseRows(T.columns, T.weights**2, T.width), s**2
        return (T.T @ (s * seen)).reshape(-1)

    def hold(self, colors: Tensor) -> Tensor:
        """Curvature of what holds the albedo smooth, times a change `[K C]`."""
        x = colors.reshape(self.K, self.channels)
        rough = self.edges.T @ (self.edges @ x)
        return self.unit * (SMOOTHNESS * rough + PULL * x).reshape(-1)
