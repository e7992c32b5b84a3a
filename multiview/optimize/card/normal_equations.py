"""The energy around one lattice on a card, as the least-squares problem of a Gauss-Newton step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from multiview.algebra.solve import conjugate_gradients
from multiview.optimize.card.band import CardBand
from multiview.optimize.card.recoloring import CardRecoloring
from multiview.optimize.energy import robust, robust_weights
from multiview.optimize.hold import FAR, Hold
from multiview.optimize.normal_equations import LeastSquares
from multiview.optimize.stereo_term import StereoTerm
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from sdfrender import Lattice, Rendering


class CardLeastSquares(LeastSquares):
    """As `LeastSquares`, with all tensors on a card; steps are tensors, too.

    Where photographs are compared with each other, that is done on the host, with copies of
    depths, normals and the lattice.
    """

    def step(self, smoothing: float, damping: float, iterations: int, tolerance: float) -> Tensor:
        """See `LeastSquares.step`."""
        M, laplacian = len(self.band), self.laplacian
        smooth, damped = self.once * (self.smoothness + smoothing), self.once * damping
        maps = {} if self.maps is None else self.maps.weights
        diagonal = self.near.squared_vjp(**self._weights, **maps) * self.band.h**2
        diagonal += self.rows.squares + smooth * laplacian.squares + damped
        gradient = self.gradient
        if self.colors is not None:
            diagonal = torch.cat((diagonal, self.colors.diagonal))
            gradient = torch.cat((gradient, self.colors.gradient))
        scale = 1 / diagonal.sqrt()

        def normal(y: Tensor) -> Tensor:  # of the scaled unknowns y = x / scale
            z = scale * y
            x, colors = z[:M], z[M:]
            pulled, recolored = self.products(x, colors)
            pulled += self.rows.T @ (self.rows @ x) + smooth * (laplacian.T @ (laplacian @ x))
            pulled += damped * x
            out: Tensor = scale * torch.cat((pulled, recolored))
            return out

        y = conjugate_gradients(normal, -scale * gradient, tolerance, iterations)
        step: Tensor = scale[:M] * y[:M]
        return step

    def _band(self, lattice: Lattice, width: float, smooth_width: float) -> CardBand:
        return CardBand(lattice, width, smooth_width)

    def _hold(self, hold: Hold) -> tuple[Any, Tensor, float]:
        band, shape = self.band, hold.shape.to(self.band.ids.device)
        if shape.resolution != band.lattice.resolution:
            shape = shape.resample(band.lattice.resolution)
        r = band.at(band.smooth) - shape.values.flatten()[band.smooth] / band.h
        scale = (hold.weight * robust_weights(r, FAR)).sqrt()
        rows = band.rows(band.smooth[:, None], scale[:, None])
        return rows, scale * r, hold.weight * float(robust(r, FAR).sum())

    def _stereo(
        self, stereo: StereoTerm, targets: Targets, out: Rendering, count: float
    ) -> tuple[Any, Tensor, Tensor]:
        device, band = self.band.ids.device, self.band.on_host()
        seen = Rendering(*(x.detach().cpu() for x in vars(out).values()))
        rows, off, energy = stereo.rows(band, targets.to(torch.device("cpu")), seen, count)
        own = self.band.from_host(band, rows)
        return own, torch.from_numpy(off).to(device), energy.to(device)

    def _recoloring(
        self,
        lattice: Lattice,
        out: Rendering,
        targets: Targets,
        appearance: Appearance,
        pulled: Tensor,
    ) -> CardRecoloring:
        return CardRecoloring(lattice, out, targets, appearance, self.w_color, pulled)
