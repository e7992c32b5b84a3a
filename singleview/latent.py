"""The code of a shape that DeepSDF has not seen, from samples of its distance (§4, §6.2).

Levenberg-Marquardt (`sdfrender.latent_fit`), and the paper's 800 steps of Adam beside it. Both
minimise the same energy,

    E(z) = mean |clamp(f(z, p), δ) − clamp(s, δ)| + w |z|²,   w = 10⁻⁴.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdfrender.latent_field import LatentField
from sdfrender.latent_fit import (
    LatentFit,
    LatentFitSettings,
    best_start,
    distance_term,
    fit_code,
    norm_term,
)

CODE_WEIGHT = 1e-4
ADAM_STEPS, ADAM_RATE = 800, 5e-3
COARSE = 8  # the first iterations see one point in so many
COARSE_ITERATIONS = 12
START_POINTS = 500  # that choose the known code to start from


def clamped_error(values: Tensor, truth: Tensor, clamp: float) -> Tensor:
    """Mean `|clamp(values, δ) − clamp(truth, δ)|`: `[]`."""
    return (values.clamp(-clamp, clamp) - truth.clamp(-clamp, clamp)).abs().mean()


def find_code(
    field: LatentField,
    points: Tensor,
    distances: Tensor,
    clamp: float = 0.1,
    settings: LatentFitSettings | None = None,
) -> LatentFit:
    """The code of a shape, by Levenberg-Marquardt.

    It starts from the mean of the known codes or from the known code that fits best, first on few
    of the points and then on all.

    Args:
        field: the decoder.
        points: `[P, 3]` canonical frame, in no order.
        distances: `[P]` signed, in the units of the points.
        clamp: δ.
        settings: of the last descent.
    """
    some = slice(0, START_POINTS)
    known = field.codes.detach()
    start = known.new_zeros(1, field.shape.code)
    if len(known):
        starts = torch.cat((known.mean(0, keepdim=True), known))
        few = distance_term(field, points[some], distances[some], clamp)
        start = best_start([few, norm_term(CODE_WEIGHT)], starts)[None]
    coarse = points[: len(points) // COARSE], distances[: len(points) // COARSE]
    if len(coarse[0]) >= 4 * field.shape.code:
        terms = [distance_term(field, *coarse, clamp), norm_term(CODE_WEIGHT)]
        start = fit_code(terms, start[0], LatentFitSettings(COARSE_ITERATIONS)).code[None]
    terms = [distance_term(field, points, distances, clamp), norm_term(CODE_WEIGHT)]
    return fit_code(terms, start[0], settings)


def adam_code(
    field: LatentField,
    points: Tensor,
    distances: Tensor,
    clamp: float = 0.1,
    steps: int = ADAM_STEPS,
    batch: int | None = None,
    seed: int = 0,
) -> tuple[Tensor, list[float]]:
    """The code of a shape as published: Adam at 5e-3, a tenth of that in the second half.

    Args:
        field: the decoder.
        points: `[P, 3]` canonical frame.
        distances: `[P]`.
        clamp: δ.
        steps: of Adam.
        batch: points of a step, drawn anew each time. Default: all.
        seed: of the draws and of the start, N(0, 0.01²).

    Returns:
        The code `[C]`, and the energy before each step on the points it saw.
    """
    generator = torch.Generator().manual_seed(seed)
    code = 0.01 * torch.randn(field.shape.code, generator=generator)
    code = code.to(field.codes).requires_grad_()
    optimizer = torch.optim.Adam([code], lr=ADAM_RATE)
    energies = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = ADAM_RATE * (0.1 if step >= steps // 2 else 1.0)
        p, s = points, distances
        if batch is not None:
            ids = torch.randint(len(points), (batch,), generator=generator)
            p, s = points[ids], distances[ids]
        error = clamped_error(field(code[None], p[None])[0], s, clamp)
        energy = error + CODE_WEIGHT * code.square().sum()
        optimizer.zero_grad()
        energy.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        energies.append(float(energy.detach()))
    return code.detach(), energies


@torch.no_grad()
def energy_of(
    field: LatentField, code: Tensor, points: Tensor, distances: Tensor, clamp: float = 0.1
) -> float:
    """E of a code."""
    error = clamped_error(field(code[None], points[None])[0], distances, clamp)
    return float(error + CODE_WEIGHT * code.square().sum())
