"""Finding a shape's code by Levenberg-Marquardt: the cure that DeepSDF names for slow inference.

Notation: `z` `[C]` is the code. A *term* of the energy maps z to a `Quadratic`, what the term looks
like around z; terms add up. Terms for samples of the distance and for priors are here; others, of
depth images or photographs, need only do the same with their residuals and Jacobians.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sdfrender.latent.field import LatentField

Kernel: TypeAlias = Literal["absolute", "square"]

STIFF = 0.02  # |r| / clamp below which the curvature of an absolute residual grows no more
LEAST_DAMPING, MOST_DAMPING = 1e-6, 1e4  # at the latter no step lowers the energy


@dataclass(frozen=True, eq=False)
class Quadratic:
    """An energy around a code: `E(z + d) ≈ energy + gradient · d + ½ dᵀ hessian d`.

    Args:
        energy: E(z).
        gradient: `[C]` float64.
        hessian: `[C, C]` float64, positive semidefinite: Gauss and Newton's.
    """

    energy: float
    gradient: Tensor
    hessian: Tensor

    def __add__(self, other: Quadratic) -> Quadratic:
        return Quadratic(
            self.energy + other.energy,
            self.gradient + other.gradient,
            self.hessian + other.hessian,
        )


Term: TypeAlias = Callable[[Tensor], Quadratic]


@dataclass(frozen=True)
class LatentFitSettings:
    """How a code is found.

    Args:
        iterations: at most.
        damping: the first λ, in units of the Hessian's mean diagonal.
        ease: λ's factor after a step that lowers the energy.
        raise_: λ's factor after one that does not, and is taken back.
        tolerance: stop when `patience` steps in a row lower the energy by less than this part.
        patience: how many; steps that were taken back are not counted.
    """

    iterations: int = 50
    damping: float = 1.0
    ease: float = 0.3
    raise_: float = 5.0
    tolerance: float = 1e-3
    patience: int = 3


@dataclass(frozen=True, eq=False)
class LatentFit:
    """A code that was found.

    Args:
        code: `[C]`.
        energies: of the start and after each iteration; they never rise.
        quadratic: the energy around `code`; the Hessian's inverse tells how sure the code is.
    """

    code: Tensor
    energies: tuple[float, ...]
    quadratic: Quadratic


def fit_code(
    terms: Sequence[Term], start: Tensor, settings: LatentFitSettings | None = None
) -> LatentFit:
    """Minimise a sum of terms over the code, by Levenberg-Marquardt.

    Each iteration solves `(H + λ (diag H + mean diag H)/2) d = −g`; a step that raises the energy
    is taken back.

    Args:
        terms: of the energy.
        start: `[C]` where to start.
        settings: of the descent.

    Returns:
        What was found, in the precision of `start`.
    """
    settings = settings or LatentFitSettings()
    code, damping, slow = start.detach(), settings.damping, 0
    here = total(terms, code)
    energies = [here.energy]
    for _ in range(settings.iterations):
        diagonal = here.hessian.diagonal()
        damped = here.hessian + torch.diag(damping * 0.5 * (diagonal + diagonal.mean() + 1e-12))
        step = torch.linalg.solve(damped, -here.gradient)
        trial = code + step.to(code)
        there = total(terms, trial)
        gain = 1 - there.energy / max(here.energy, 1e-30)
        if gain > 0:
            slow = slow + 1 if gain < settings.tolerance else 0
            code, here, damping = trial, there, max(damping * settings.ease, LEAST_DAMPING)
        else:
            damping *= settings.raise_
        energies.append(here.energy)
        if slow >= settings.patience or damping > MOST_DAMPING:
            break
    return LatentFit(code, tuple(energies), here)


def total(terms: Sequence[Term], code: Tensor) -> Quadratic:
    """The sum of the terms at a code `[C]`."""
    first, *rest = (term(code) for term in terms)
    for other in rest:
        first = first + other
    return first


# ---------------------------------------------------------------------- terms


def quadratic(
    residuals: Tensor, jacobian: Tensor, weights: Tensor, kernel: Kernel, stiff: float
) -> Quadratic:
    """The energy of residuals, `Σ w |r|` or `Σ w r²`, around a code.

    Args:
        residuals: r `[P]`.
        jacobian: `∂r/∂z` `[P, C]`.
        weights: w `[P]`, or one for all.
        kernel: absolute values or squares. The Hessian of absolute values is that of the squares
            that touch them: `w JᵀJ / |r|`.
        stiff: |r| below which that curvature grows no more; in the units of r.
    """
    size = residuals.abs()
    if kernel == "square":
        energy, slope, curvature = residuals.square(), 2 * residuals, torch.full_like(size, 2.0)
    else:
        energy, slope, curvature = size, residuals.sign(), 1 / size.clamp(min=stiff)
    weighted = jacobian * (weights * curvature)[:, None]
    return Quadratic(
        float((weights * energy).sum()),
        ((weights * slope) @ jacobian).double(),
        (jacobian.T @ weighted).double(),
    )


def distance_term(
    field: LatentField,
    points: Tensor,
    distances: Tensor,
    clamp: float = 0.1,
    weight: float = 1.0,
    kernel: Kernel = "absolute",
) -> Term:
    """DeepSDF's loss: `weight · mean |clamp(f(z, p), δ) − clamp(s, δ)|`.

    Args:
        field: f.
        points: p `[P, 3]`, canonical frame.
        distances: s `[P]`.
        clamp: δ, in the units of the points.
        weight: of the term.
        kernel: absolute values, as published, or squares.
    """
    target = distances.clamp(-clamp, clamp)
    each = torch.full_like(target, weight / len(target))

    def term(code: Tensor) -> Quadratic:
        values, J = field.jacobian(code, points)
        active = values.abs() < clamp
        r = values.clamp(-clamp, clamp) - target
        return quadratic(r[active], J[active], each[active], kernel, STIFF * clamp) + Quadratic(
            weight * float(_size(r[~active], kernel).sum()) / len(target),
            code.new_zeros(len(code), dtype=torch.float64),
            code.new_zeros(len(code), len(code), dtype=torch.float64),
        )

    return term


def outside_term(
    field: LatentField, points: Tensor, least: float = 0.0, weight: float = 1.0
) -> Term:
    """Points that must be empty: `weight · mean max(0, least − f(z, p))`.

    Args:
        field: f.
        points: `[P, 3]`, canonical frame.
        least: distance that is asked for, in the units of the points.
        weight: of the term.
    """

    def term(code: Tensor) -> Quadratic:
        values, J = field.jacobian(code, points)
        wrong = values < least
        r = values[wrong] - least
        each = torch.full_like(r, weight / max(1, len(points)))
        return quadratic(r, J[wrong], each, "absolute", STIFF * 0.1)

    return term


def norm_term(weight: float = 1e-4) -> Term:
    """DeepSDF's prior: `weight · |z|²`."""

    def term(code: Tensor) -> Quadratic:
        z = code.double()
        eye = torch.eye(len(z), dtype=torch.float64)
        return Quadratic(weight * float(z @ z), 2 * weight * z, 2 * weight * eye)

    return term


def gaussian_term(mean: Tensor, covariance: Tensor, weight: float = 1e-4) -> Term:
    """How unlike the known codes: `weight · (z − μ)ᵀ Σ⁻¹ (z − μ) / C`, see `field.statistics`.

    Of their mean μ `[C]` and covariance Σ `[C, C]`.
    """
    precision = torch.linalg.inv(covariance.double()) / len(mean)

    def term(code: Tensor) -> Quadratic:
        away = code.double() - mean.double()
        pull = precision @ away
        return Quadratic(weight * float(away @ pull), 2 * weight * pull, 2 * weight * precision)

    return term


def scaled(term: Term, weight: float) -> Term:
    """A term that counts `weight` times."""

    def more(code: Tensor) -> Quadratic:
        one = term(code)
        return replace(
            one,
            energy=weight * one.energy,
            gradient=weight * one.gradient,
            hessian=weight * one.hessian,
        )

    return more


def _size(residuals: Tensor, kernel: Kernel) -> Tensor:
    return residuals.square() if kernel == "square" else residuals.abs()
