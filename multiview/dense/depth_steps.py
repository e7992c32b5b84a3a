"""Gauss-Newton on depths alone: where photographs agree, and nothing about outlines or colours.

For scenes that no silhouette bounds. With x the unknowns of the band, in cells, a step solves

    (SᵀS + κ LᵀL + ε) x = −Sᵀ s

S stacks the rows of stereo (`stereo_term`) and of the regularisers, s what they are now. Nothing is
carved. Where the solid meets the box its faces are no surface: pixels that show them do not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from multiview.optimize.band import Band, Floats
from multiview.optimize.energy import EnergyTerms
from multiview.optimize.stereo_term import StereoTerm
from multiview.photo.targets import Targets
from multiview.recipes import NewtonLevel, Weights
from sdfrender import Lattice, Lighting, Rendering, render

BAND = 2.7  # half width of the band of unknowns, cells; regularisers act in one a cell narrower
REACH = 6.0  # how far distances are kept up, cells
TOLERANCE = 0.02  # of conjugate gradients
ITERATIONS = 30
SMALL_STEPS = 1e-3  # ε
RIM = 1.0  # cells from the faces of the box where what is seen is no surface


class DepthSteps:
    """A lattice being fitted to depths at one level.

    Args:
        lattice: where to start.
        targets: N views, at the size of the renderings.
        stereo: how photographs are compared.
        weights: of the energy: `eikonal`.
        level: settings of the level.
        groups: the views of each turn; default: all at once.
    """

    def __init__(
        self,
        lattice: Lattice,
        targets: Targets,
        stereo: StereoTerm,
        weights: Weights,
        level: NewtonLevel,
        groups: list[list[int]] | None = None,
    ) -> None:
        self.lattice, self.targets, self.stereo = lattice, targets, stereo
        self.groups = groups or [list(range(len(targets.cameras)))]
        self.weights = replace(weights, laplacian=level.laplacian, band=BAND - 1)
        self.level, self.settled = level, False
        spacing = lattice.spacing
        self.reach = REACH * float(spacing.max() / spacing.min())  # of the smallest spacing

    def estimate_appearance(self) -> None:
        """There is none."""

    def run_pass(self, index: int) -> Iterator[tuple[list[int], EnergyTerms]]:
        """One step on the views whose turn it is; yields the terms before it."""
        views = self.groups[index % len(self.groups)]
        targets = self.targets[views]
        count = len(self.targets.cameras) / len(views)
        band = Band(self.lattice, BAND, self.weights.band)
        out = rendered(self.lattice, targets)
        depths, off, disagreement = self.stereo.rows(band, targets, out, count)
        laplacian, smooth = band.laplacian()
        eikonal, slope = band.eikonal()
        root = np.float32(math.sqrt(self.weights.eikonal))
        bend = np.float32(math.sqrt(self.weights.laplacian))
        S = sparse.vstack([depths, root * eikonal, bend * laplacian], format="csr")
        s = np.concatenate((off, root * slope, bend * smooth)).astype(np.float32)
        step = solve(S, s, laplacian, self.level.smoothing)
        step = step.clip(-self.level.largest_step, self.level.largest_step)
        moved = band.moved(step)
        none = torch.zeros(len(views))
        terms = EnergyTerms(
            color=none,
            silhouette=none,
            carve=none,
            eikonal=torch.tensor(self.weights.eikonal * float((slope**2).sum())),
            laplacian=torch.tensor(self.weights.laplacian * float((smooth**2).sum())),
            stereo=disagreement,
        )
        self.lattice = self.lattice.with_values(moved).redistance(reach=self.reach)
        yield views, terms

    def state(self) -> dict[str, Tensor]:
        """Tensors that `restore` needs to go on exactly here."""
        return {"values": self.lattice.values, "cell": torch.tensor(1.0)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up the state that an earlier run saved."""
        self.lattice = self.lattice.with_values(tensors["values"])


def rendered(lattice: Lattice, targets: Targets) -> Rendering:
    """Depths and normals of the surface; the faces of the box are not hit."""
    flat = Lighting(ambient=1.0, headlight=None)
    with torch.no_grad():
        out = render(lattice, targets.cameras, lighting=flat, coverage=False)
    return replace(out, hit_mask=off_the_faces(lattice, targets, out, RIM))


def off_the_faces(lattice: Lattice, targets: Targets, out: Rendering, cells: float) -> Tensor:
    """`[N, H, W]` pixels that hit the surface at least so many cells from the faces of the box."""
    hit = out.hit_mask.clone()
    points = targets.cameras.unproject(out.depths, hit)
    rim = cells * lattice.spacing
    inner = (points > lattice.bounds[0] + rim) & (points < lattice.bounds[1] - rim)
    hit[out.hit_mask] = inner.all(-1)
    return hit


def solve(S: Any, s: Floats, laplacian: Any, smoothing: float) -> Floats:
    """The x `[M]` of `(SᵀS + κ LᵀL + ε) x = −Sᵀ s`, by conjugate gradients (Jacobi)."""
    A = sparse.vstack([S, np.float32(math.sqrt(smoothing)) * laplacian], format="csr")
    A_T = A.T.tocsr()
    diagonal = A.multiply(A).sum(0).A1 + np.float32(SMALL_STEPS)
    scale = (1 / np.sqrt(diagonal)).astype(np.float32)

    def normal(y: Floats) -> Floats:  # of the scaled unknowns y = x / scale
        x = scale * y
        out: Floats = scale * (A_T @ (A @ x) + np.float32(SMALL_STEPS) * x)
        return out

    M = len(diagonal)
    operator = LinearOperator((M, M), normal, dtype=np.float32)
    y, _ = cg(operator, -scale * (S.T @ s), rtol=TOLERANCE, maxiter=ITERATIONS)
    x: Floats = scale * y
    return x
