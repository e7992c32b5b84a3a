"""The energy around one lattice, as the least-squares problem of a Gauss-Newton step.

With x the unknowns of the band, in cells: `E(x) ≈ ‖√W (r + J x)‖² + ‖s + S x‖²`. r are the
residuals of the pixels, W their weights, J the renderer's derivative, of depths and normals too
where there are maps of these (`maps_term`); S stacks the sparse rows of the carving term, of the
regularisers, of stereo and of what holds the lattice to a likely shape, s what they are now. Where
the surface has a lattice of colours, these are unknowns of the step too (`recoloring`).

Where the views are one process's part of a set, products, gradient and diagonal are sums over all
processes, which then take the same step; what is of the lattice alone is the first one's.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from multiview.optimize.band import Band
from multiview.optimize.energy import (
    EnergyTerms,
    carve_points,
    cauchy,
    cauchy_weights,
    highlight_levels,
    pixel_weights,
    pixels_in_cells,
    residuals,
    robust,
    robust_weights,
)
from multiview.optimize.hold import Hold
from multiview.optimize.maps.term import MapTerm, map_outputs
from multiview.optimize.recoloring import Recoloring
from multiview.optimize.stereo_term import StereoTerm
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.recipes import Weights
from sdfrender import Rendering, linearize
from sdfrender.geometry.sparse.lattice import AnyLattice
from sdfrender.rendering.linear.normal_products import NormalProducts

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
        stereo: how photographs are compared with each other, if they are.

    Attributes:
        terms: the energy's terms at the lattice.
        gradient: `[M]`, half the derivative of the energy in the unknowns.
    """

    def __init__(
        self,
        lattice: AnyLattice,
        targets: Targets,
        appearance: Appearance,
        weights: Weights,
        width: float,
        hold: Hold | None = None,
        count: float = 1.0,
        stereo: StereoTerm | None = None,
    ) -> None:
        self.band = band = self._band(lattice, width, weights.band)
        self.part = part = targets.part
        self.once = float(part is None or part.ranks.first)  # for what no view has
        shown = ("images",) if weights.color > 0 else ()
        self.J = linearize(
            lattice,
            targets.cameras,
            lighting=appearance.lighting(targets),
            albedo=appearance.albedo,
            outputs=(*shown, "silhouettes", *map_outputs(targets)),
        )
        self.near = self.J.on(band.ids)
        self.lens_twice = appearance.photograph_twice_
        out = self.J.rendering
        appearance.observe(out, targets, lattice)

        color, silhouette, pulls = self._compared(lattice, targets, appearance, weights, count)
        self.laplacian, smooth = band.laplacian()
        eikonal, slope = band.eikonal()
        carving, wrong, views = self._carving(lattice, targets, math.sqrt(count))
        per_view = band.by_view(views, wrong**2, len(targets.cameras))
        stiff = weights.eikonal + weights.stiffness
        rows = [_scaled(self.once * stiff, eikonal), _scaled(weights.carve, carving)]
        slope_residual = weights.eikonal / math.sqrt(stiff) * slope if stiff else slope
        residual = [slope_residual, math.sqrt(weights.carve) * wrong]
        held = 0.0
        if hold is not None:
            holding, off, held = self._hold(hold)
            rows.append(holding * np.float32(self.once))
            residual.append(off)
        disagreement = torch.zeros(())
        if stereo is not None:
            depths, off, disagreement = self._stereo(stereo, targets, out, count)
            rows.append(depths * np.float32(self.once))
            residual.append(off)
        self.rows = band.stack(rows)
        self.smoothness = weights.laplacian
        spread = (lambda x: x) if part is None else part.spread
        self.terms = EnergyTerms(
            color=spread(color),
            silhouette=spread(silhouette),
            carve=spread((weights.carve * per_view).float()),
            eikonal=torch.tensor(weights.eikonal * float((slope**2).sum())),
            laplacian=torch.tensor(weights.laplacian * float((smooth**2).sum())),
            hold=torch.tensor(held),
            stereo=disagreement,
        )
        self.maps = None if targets.maps is None else MapTerm(lattice, targets, out, count)
        if self.maps is not None:
            pulls |= self.maps.pulls
            self.terms = replace(self.terms, maps=self.maps.energy)
        if not shown:
            del pulls["images"]
        pixels = self.near.vjp(**pulls) * band.h
        self.colors = None
        if appearance.albedo.ndim == 4 and weights.color > 0:
            self.colors = self._recoloring(lattice, out, targets, appearance, pulls["images"])
        self.gradient = self._summed(
            pixels
            + self.rows.T @ band.joined(residual)
            + (self.laplacian.T @ smooth) * np.float32(self.once * weights.laplacian)
        )

    def _compared(
        self,
        lattice: AnyLattice,
        targets: Targets,
        appearance: Appearance,
        weights: Weights,
        count: float,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Compare the rendering with the photographs; keeps the weights of the pixels.

        Returns:
            The energies of colour and silhouette of each view, `[n]`, and `W r` by output.
        """
        out, take_turns = self.J.rendering, count > 1
        r_color, r_silhouette = residuals(targets, out, appearance)
        w_color, w_silhouette = pixel_weights(lattice, targets, appearance, weights)
        w_color = count * w_color[..., None] / r_color.shape[-1]  # energy(): a mean over channels
        w_silhouette = count * w_silhouette
        color, self.w_color = self._trusted(r_color, w_color, targets, appearance, weights)
        silhouette = (w_silhouette * robust(r_silhouette, weights.mask_huber)).sum((1, 2))
        self.root = self.w_color.sqrt() if take_turns else None
        self.blurred_between = take_turns and appearance.is_blurred(out.images.shape[2])
        self.w_silhouette = w_silhouette * robust_weights(r_silhouette, weights.mask_huber)
        pulls = {"silhouettes": r_silhouette * self.w_silhouette}
        pulls["images"] = appearance.photograph(r_color * self.w_color)
        return color, silhouette, pulls

    def step(self, smoothing: float, damping: float, iterations: int, tolerance: float) -> Any:
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
            [self.rows, _scaled(self.once * (self.smoothness + smoothing), self.laplacian)],
            format="csr",
        )
        S_T = S.T.tocsr()
        maps = {} if self.maps is None else self.maps.weights
        diagonal = self.near.squared_vjp(**self._weights, **maps) * np.float32(self.band.h**2)
        damped = np.float32(self.once * damping)
        diagonal += S.multiply(S).sum(0).A1 + damped
        diagonal = self._summed(diagonal)
        gradient = self.gradient
        if self.colors is not None:
            diagonal = np.concatenate((diagonal, self.colors.diagonal))
            gradient = np.concatenate((gradient, self.colors.gradient))
        scale = (1 / np.sqrt(diagonal)).astype(np.float32)

        def normal(y: Floats) -> Floats:  # of the scaled unknowns y = x / scale
            z = scale * y
            x, colors = z[:M], z[M:]
            pulled, recolored = self.products(x, colors)
            pulled += S_T @ (S @ x) + damped * x
            out: Floats = scale * self._summed(np.concatenate((pulled, recolored)))
            return out

        N = len(diagonal)
        operator = LinearOperator((N, N), normal, dtype=np.float32)
        y, _ = cg(operator, -scale * gradient, rtol=tolerance, maxiter=iterations)
        x: Floats = scale[:M] * y[:M]
        return x

    def pixels(self, x: Floats) -> Floats:
        """`JᵀWJ x` `[M]`: what the images alone have to do with a step x `[M]`, colours fixed."""
        found: Floats = self.products(x, np.zeros(0, np.float32))[0]
        return found

    def products(self, x: Any, colors: Any) -> tuple[Any, Any]:
        """The same for a step x `[M]` and colours `[K C]` or none, and what holds the colours.

        In one pass where nothing lies between a change of the images and its weight: no lens, no
        colours, no maps (`NormalProducts`).

        Before the lens, unless views take turns: a quarter of the time less, and steps are shorter
        where the lens hides what they do. A view whose turn comes seldom needs the longer ones:
        there `√W B² √W` stands for `B W B`, with B the lens, since W is as good as even within it.
        """
        h = self.band.h
        if self.matrix is not None:
            return h * h * self.matrix(x), colors
        changes = dict(zip(self.J.outputs, self.near.jvp(h * x, out=self._room), strict=True))
        recolored = self.colors if len(colors) else None
        if "images" in changes:
            image = changes["images"]
            if recolored is not None:
                recolored.add(image, colors)
            if self.root is not None:
                image = self.lens_twice(image.mul_(self.root)).mul_(self.root)
            else:
                image = image.mul_(self.w_color)
            changes["images"] = image
        changes["silhouettes"].mul_(self.w_silhouette)
        if self.maps is not None:
            self.maps.weigh_(changes)
        pulled = h * self.near.vjp(**changes)
        if recolored is None:
            return pulled, colors
        return pulled, recolored.pull(changes["images"]) + recolored.hold(colors)

    def _summed(self, x: Any) -> Any:
        """The sum over all processes, where views are shared out over them."""
        return x if self.part is None else self.part.sum(x)

    @cached_property
    def matrix(self) -> NormalProducts | None:
        """`JᵀWJ` in one piece; None where a product needs the images in between."""
        if self.colors is not None or self.maps is not None or self.blurred_between:
            return None
        made: NormalProducts = self.near.normal(**self._weights)
        return made

    @property
    def _weights(self) -> dict[str, Tensor]:
        """Of the images and silhouettes that were linearised."""
        by_output = {"images": self.w_color, "silhouettes": self.w_silhouette}
        return {name: x for name, x in by_output.items() if name in self.J.outputs}

    @cached_property
    def _room(self) -> tuple[Tensor, ...]:
        """Outputs that products write to: new ones would cost as much as a blur."""
        return tuple(torch.zeros_like(getattr(self.J.rendering, x)) for x in self.J.outputs)

    def _trusted(
        self, r: Tensor, w: Tensor, targets: Targets, appearance: Appearance, weights: Weights
    ) -> tuple[Tensor, Tensor]:
        """Energy `[n]` of the colours' residuals `[n, H, W, C]`, and what their squares count.

        Highlights, which no light explains that is even over many directions, count less. Each
        view has a measure of its own: views of other processes have no part in it.
        """
        rho, trusted = robust(r, weights.huber), robust_weights(r, weights.huber)
        if math.isfinite(weights.outliers) and weights.color > 0 and math.isinf(weights.huber):
            inside = appearance.certain(self.J.rendering, targets)
            k = highlight_levels(r, inside, weights.outliers)[:, None, None, None]
            rho = torch.where(r < 0, cauchy(r, k), rho)
            trusted = torch.where(r < 0, cauchy_weights(r, k), trusted)
        return (w * rho).sum((1, 2, 3)), (w * trusted).contiguous()

    def _carving(
        self, lattice: AnyLattice, targets: Targets, weight: float
    ) -> tuple[Any, Any, Any]:
        """Rows, residuals `(φ(x)/h − 1) p/h` and views of the points that must be empty."""
        points, views = carve_points(targets, self.J.rendering)
        weights = self.band.own((weight * pixels_in_cells(lattice, targets))[views])
        rows, phi = self.band.samples(points)
        return self.band.weighted(rows, weights), (phi - 1) * weights, self.band.own(views)

    def _band(self, lattice: Any, width: float, smooth_width: float) -> Any:
        """The unknowns."""
        return Band(lattice, width, smooth_width)

    def _hold(self, hold: Hold) -> tuple[Any, Any, float]:
        """What `Hold.rows` returns."""
        return hold.rows(self.band)

    def _stereo(
        self, stereo: StereoTerm, targets: Targets, out: Rendering, count: float
    ) -> tuple[Any, Any, Tensor]:
        """What `StereoTerm.rows` returns."""
        return stereo.rows(self.band, *targets.together(out), count)

    def _recoloring(
        self,
        lattice: Any,
        out: Rendering,
        targets: Targets,
        appearance: Appearance,
        pulled: Tensor,
    ) -> Any:
        """The colours as unknowns beside the lattice."""
        return Recoloring(lattice, out, targets, appearance, self.w_color, pulled)


def _scaled(weight: float, rows: Any) -> Any:
    """Rows whose squares count `weight`."""
    return rows * np.float32(math.sqrt(weight))
