"""The energy around one lattice, as the least-squares problem of a Gauss-Newton step.

With x the unknowns of the band, in cells: `E(x) ≈ ‖√W (r + J x)‖² + ‖s + S x‖²`. r are the
residuals of the pixels, W their weights, J the renderer's derivative; S stacks the sparse rows of
the carving term, of the regularisers and of what holds the lattice to a likely shape, s what they
are now.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from multiview.appearance import Appearance
from multiview.optimize.band import Band
from multiview.optimize.energy import (
    Terms,
    Weights,
    carve_points,
    pixel_weights,
    pixels_in_cells,
    residuals,
    robust,
    robust_weights,
)
from multiview.optimize.hold import Hold
from multiview.optimize.targets import Targets
from sdfrender import Lattice, linearize

Floats = NDArray[np.float32]


class LeastSquares:
    """The energy of some views, linearised at a lattice.

    Args:
        lattice: where.
        targets: n of the training views at this level.
        appearance: colour, light and lens, held fixed; it observes the rendering.
        weights: of the energy.
        width: half width of the band of unknowns, in cells.
        hold: a likely shape to stay near, if there is one.
        count: how often each of the n views counts: they may stand for others.

    Attributes:
        terms: the energy's terms at the lattice.
        gradient: `[M]`, half the derivative of the energy in the unknowns.
    """

    def __init__(
        self,
        lattice: Lattice,
        targets: Targets,
        appearance: Appearance,
        weights: Weights,
        width: float,
        hold: Hold | None = None,
        count: float = 1.0,
    ) -> None:
        self.band = band = Band(lattice, width, weights.band)
        self.J = linearize(
            lattice, targets.cameras, lighting=appearance.lighting, albedo=appearance.albedo
        )
        self.lens, self.take_turns = appearance.photograph, count > 1
        out = self.J.rendering
        appearance.observe(out, targets, lattice)

        r_color, r_silhouette = residuals(targets, out, appearance)
        w_color, w_silhouette = pixel_weights(lattice, targets, appearance, weights)
        w_color = count * w_color[..., None] / r_color.shape[-1]  # energy(): a mean over channels
        w_silhouette = count * w_silhouette
        color = w_color * robust(r_color, weights.huber)
        silhouette = w_silhouette * robust(r_silhouette, weights.mask_huber)
        self.w_color = (w_color * robust_weights(r_color, weights.huber)).contiguous()
        self.w_silhouette = w_silhouette * robust_weights(r_silhouette, weights.mask_huber)

        self.laplacian, smooth = band.laplacian()
        eikonal, slope = band.eikonal()
        carving, wrong, views = self._carving(lattice, targets, math.sqrt(count))
        per_view = np.bincount(views, wrong**2, minlength=len(targets.cameras))
        rows = [_scaled(weights.eikonal, eikonal), _scaled(weights.carve, carving)]
        residual = [math.sqrt(weights.eikonal) * slope, math.sqrt(weights.carve) * wrong]
        held = 0.0
        if hold is not None:
            holding, off, held = hold.rows(band)
            rows.append(holding)
            residual.append(off)
        self.rows = sparse.vstack(rows, format="csr")
        self.smoothness = weights.laplacian
        self.terms = Terms(
            color=color.sum((1, 2, 3)),
            silhouette=silhouette.sum((1, 2)),
            carve=torch.from_numpy(weights.carve * per_view).float(),
            eikonal=torch.tensor(weights.eikonal * float((slope**2).sum())),
            laplacian=torch.tensor(weights.laplacian * float((smooth**2).sum())),
            hold=torch.tensor(held),
        )
        pixels = self._pull(r_color * self.w_color, r_silhouette * self.w_silhouette)
        self.gradient: Floats = (
            pixels
            + self.rows.T @ np.concatenate(residual).astype(np.float32)
            + np.float32(weights.laplacian) * (self.laplacian.T @ smooth)
        )

    def step(self, smoothing: float, damping: float, iterations: int, tolerance: float) -> Floats:
        """Solve `(JᵀWJ + SᵀS + κ LᵀL + ε) x = −(JᵀW r + Sᵀ s)` for the step x `[M]`, in cells.

        By conjugate gradients with Jacobi's preconditioner; no matrix is formed but the sparse S.

        Args:
            smoothing: κ; steps should be smooth (L is the Laplacian).
            damping: ε; steps should be small.
            iterations: of conjugate gradients, at most.
            tolerance: reduction of the preconditioned residual at which they stop.
        """
        M = len(self.band)
        S = sparse.vstack(
            [self.rows, _scaled(self.smoothness + smoothing, self.laplacian)], format="csr"
        )
        S_T = S.T.tocsr()
        squares = self.band.gather(self.J.squared_vjp(self.w_color, self.w_silhouette), power=2)
        diagonal = squares + S.multiply(S).sum(0).A1 + np.float32(damping)
        scale = (1 / np.sqrt(diagonal)).astype(np.float32)

        def normal(y: Floats) -> Floats:  # of the scaled unknowns y = x / scale
            x = scale * y
            out: Floats = scale * (self.pixels(x) + S_T @ (S @ x) + np.float32(damping) * x)
            return out

        operator = LinearOperator((M, M), normal, dtype=np.float32)
        y, _ = cg(operator, -scale * self.gradient, rtol=tolerance, maxiter=iterations)
        x: Floats = scale * y
        return x

    def pixels(self, x: Floats) -> Floats:
        """`JᵀWJ x` `[M]`: what the images alone have to do with a step x `[M]`.

        Before the lens, unless views take turns: a quarter of the time less, and steps are shorter
        where the lens hides what they do. A view whose turn comes seldom needs the longer ones.
        """
        image, silhouette = self.J.jvp(self.band.scatter(x))
        silhouette = silhouette.mul_(self.w_silhouette)
        if self.take_turns:
            return self._pull(self.lens(image).mul_(self.w_color), silhouette)
        return self.band.gather(self.J.vjp(image.mul_(self.w_color), silhouette))

    def _pull(self, image: Tensor, silhouette: Tensor) -> Floats:
        """`Jᵀ` in the unknowns, after the lens."""
        return self.band.gather(self.J.vjp(self.lens(image), silhouette))

    def _carving(
        self, lattice: Lattice, targets: Targets, weight: float
    ) -> tuple[Any, Floats, Any]:
        """Rows, residuals `(φ(x)/h − 1) p/h` and views of the points that must be empty."""
        points, views = carve_points(targets, self.J.rendering)
        weights = (weight * pixels_in_cells(lattice, targets))[views].numpy()
        rows, phi = self.band.samples(points)
        return sparse.diags(weights) @ rows, (phi - 1) * weights, views.numpy()


def _scaled(weight: float, rows: Any) -> Any:
    """Rows whose squares count `weight`."""
    return rows * np.float32(math.sqrt(weight))
