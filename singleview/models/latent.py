"""The code of a shape that DeepSDF has not seen, from samples of its distance (§4, §6.2).

Levenberg-Marquardt (`sdfrender.latent_fit`), and the paper's 800 steps of Adam beside it. Both
minimise the same energy,

    E(z) = mean |clamp(f(z, p), δ) − clamp(s, δ)| + w |z|²,   w = 10⁻⁴.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.latent.field import LatentField
from sdfrender.latent.fit import LatentFit, LatentFitSettings, distance_term, fit_code, norm_term

BALL = 1 / 1.03  # radius of the ball that shapes of published networks touch, as released
CODE_WEIGHT = 1e-4  # w, as in the paper (§4.2: 1/σ² with σ = 100)
ADAM_STEPS, ADAM_RATE = 800, 5e-3  # of the paper's descent
START_POINTS = 128  # that choose the known code to start from
COARSE_PART, COARSE_LEAST = 8, 512  # the first descents see one point in so many, at least so many
NEAREST = 6  # known codes that descents start from, beside the mean
FIRST_ITERATIONS = 6  # of Levenberg-Marquardt, from each start
FOLLOWED = 2  # of the starts go on
COARSE_ITERATIONS = 12  # of these, before all points count


def in_a_ball(field: LatentField) -> bool:
    """Whether a family is a published one: its shapes touch the ball of radius `BALL`.

    The middle of the box is the origin there, too.
    """
    return field.about.get("frame") == "ball"


def need_canonical(field: LatentField, path: Path) -> None:
    """Refuse a published family where shapes have to have our longest side.

    Raises:
        InputError: it is one; names the file.
    """
    if in_a_ball(field):
        raise InputError(
            f"{path}: need a network that singleview trained; shapes of this one touch a ball, "
            "and only predict knows that"
        )


def clamped_error(values: Tensor, truth: Tensor, clamp: float) -> Tensor:
    """Mean `|clamp(values, δ) − clamp(truth, δ)|` of distances `[...]`, canonical units: `[]`."""
    return (values.clamp(-clamp, clamp) - truth.clamp(-clamp, clamp)).abs().mean()


def find_code(
    field: LatentField,
    points: Tensor,
    distances: Tensor,
    clamp: float = 0.1,
    settings: LatentFitSettings | None = None,
) -> LatentFit:
    """The code of a shape, by Levenberg-Marquardt.

    Short descents on few of the points, from the mean of the known codes and from those known codes
    that fit best; the better ones go on longer, and the best with all points. What a family is like
    between its known shapes is not known beforehand, and a descent ends in the nearest valley.

    Args:
        field: the decoder.
        points: `[P, 3]` canonical frame, in no order.
        distances: `[P]` signed, in the units of the points.
        clamp: δ.
        settings: of the last descent.
    """
    some = slice(0, START_POINTS)
    few = slice(0, max(len(points) // COARSE_PART, COARSE_LEAST))
    coarse = [distance_term(field, points[few], distances[few], clamp), norm_term(CODE_WEIGHT)]
    found = [
        fit_code(coarse, start, LatentFitSettings(FIRST_ITERATIONS))
        for start in starts(field, points[some], distances[some], clamp)
    ]
    found.sort(key=lambda one: one.energies[-1])
    tried = [
        fit_code(coarse, one.code, LatentFitSettings(COARSE_ITERATIONS)) for one in found[:FOLLOWED]
    ]
    best = min(tried, key=lambda one: one.energies[-1])
    full = [distance_term(field, points, distances, clamp), norm_term(CODE_WEIGHT)]
    return fit_code(full, best.code, settings)


@torch.no_grad()
def starts(field: LatentField, points: Tensor, distances: Tensor, clamp: float) -> Tensor:
    """`[S, C]`: the mean of the known codes, and the known codes with the least energy.

    Args:
        field: the decoder.
        points: `[P, 3]` canonical frame.
        distances: `[P]` signed, canonical units.
        clamp: δ.
    """
    known = field.codes.detach()
    if not len(known):
        return known.new_zeros(1, field.shape.code)
    error = field(known, points[None]).clamp(-clamp, clamp) - distances.clamp(-clamp, clamp)
    energies = error.abs().mean(1) + CODE_WEIGHT * known.square().sum(1)
    nearest = energies.topk(min(NEAREST, len(known)), largest=False).indices
    return torch.cat((known.mean(0)[None], known[nearest]))


def adam_code(
    field: LatentField,
    points: Tensor,
    distances: Tensor,
    clamp: float = 0.1,
    steps: int | None = None,
    batch: int | None = None,
    seed: int = 0,
) -> tuple[Tensor, list[float]]:
    """The code of a shape as published: Adam at 5e-3, a tenth of that in the second half.

    Args:
        field: the decoder.
        points: `[P, 3]` canonical frame.
        distances: `[P]`.
        clamp: δ.
        steps: of Adam. Default: 800.
        batch: points of a step, drawn anew each time. Default: all.
        seed: of the draws and of the start, N(0, 0.01²).

    Returns:
        The code `[C]`, and the energy before each step on the points it saw.
    """
    steps = steps or ADAM_STEPS
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
    """E of a code `[C]` at `points` `[P, 3]` with `distances` `[P]`, canonical frame and units."""
    error = clamped_error(field(code[None], points[None])[0], distances, clamp)
    return float(error + CODE_WEIGHT * code.square().sum())
