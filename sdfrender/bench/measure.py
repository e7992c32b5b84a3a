"""Times of several candidates, taken in turns so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sdfrender.bench.candidates import (
    BASELINE,
    Candidate,
    Cotangents,
    Seen,
    Session,
    Task,
    Unavailable,
)
from sdfrender.bench.peers.by_name import by_name
from sdfrender.bench.workloads import BenchScene
from sdfrender.rendering.render import render


@dataclass(frozen=True)
class Agreement:
    """How far a candidate is from the exact hits, and from the derivatives through them.

    Args:
        mask_mismatch: fraction of the rays that are a hit for one and a miss for the other.
        depth_error_median: over the common hits, in units of the spacing.
        depth_error_p99: the 99th percentile.
        gradient_error: `‖g − g_exact‖ / ‖g_exact‖` of the gradients in the lattice's values.
    """

    mask_mismatch: float
    depth_error_median: float
    depth_error_p99: float
    gradient_error: float


@dataclass(frozen=True)
class Row:
    """One candidate at one task. The times are seconds, one for each round."""

    candidate: str
    task: Task
    baseline: bool
    forward: list[float]
    forward_backward: list[float]
    agreement: Agreement
    place: str = "cpu"


@dataclass(frozen=True)
class Measured:
    """All candidates on one scene.

    Args:
        rows: in the order of the candidates.
        unavailable: name of a candidate that could not run, and why.
    """

    rows: list[Row]
    unavailable: dict[str, str]


def measure(
    scene: BenchScene,
    hit_mask: Tensor,
    candidates: Sequence[tuple[Candidate, Task]],
    repeats: int,
    progress: Callable[[str], None],
) -> Measured:
    """Time every candidate: once as a warm-up that does not count, then `repeats` rounds.

    Args:
        scene: what to render.
        hit_mask: `[N, H, W]` from `exact_hits`.
        candidates: what to time, and at what.
        repeats: rounds; in each, every candidate has one turn.
        progress: told the name of what runs next, `(repeats + 1) · len(candidates)` times.
    """
    cotangents = Cotangents.random(hit_mask)
    entries: list[tuple[Candidate, Task, Session, Agreement]] = []
    unavailable = {}
    exact: dict[Task, Seen] = {}
    for candidate, task in candidates:
        progress(f"{candidate.name}, {task}: warm-up")
        try:
            session = candidate.open(scene, task, cotangents)
            session.forward()
            seen = session.seen()
        except Unavailable as error:
            unavailable[candidate.name] = str(error)
            continue
        if task not in exact:
            exact[task] = truth(scene, task, cotangents)
        entries.append((candidate, task, session, compare(seen, exact[task], scene)))
        del session, seen

    forward: list[list[float]] = [[] for _ in entries]
    both: list[list[float]] = [[] for _ in entries]
    for _ in range(repeats):
        for n, (candidate, task, session, _) in enumerate(entries):
            progress(f"{candidate.name}, {task}")
            forward[n].append(candidate.clock(session.forward))
            both[n].append(candidate.clock(session.forward_backward))
    rows = [
        Row(c.name, task, c.baseline, forward[n], both[n], agreement, c.place)
        for n, (c, task, _, agreement) in enumerate(entries)
    ]
    return Measured(rows, unavailable)


def exact_hits(scene: BenchScene) -> Tensor:
    """`[N, H, W]` which rays meet the surface."""
    place = _fast_place()
    lattice = scene.lattice.to(place)
    cameras = scene.cameras.to(lattice.values)
    with torch.no_grad():
        return render(lattice, cameras, coverage=False, engine="reference").hit_mask.cpu()


def truth(scene: BenchScene, task: Task, cotangents: Cotangents) -> Seen:
    """What the reference engine answers in float64."""
    place = _fast_place()
    lattice = scene.lattice.to(torch.float64).to(place)
    wide = BenchScene(lattice, scene.cameras.to(lattice.values))
    derivatives = Cotangents(**{n: x.double().to(place) for n, x in vars(cotangents).items()})
    seen = by_name(BASELINE).open(wide, task, derivatives).seen()
    return Seen(*(x.cpu() for x in vars(seen).values()))


def _fast_place() -> str:
    """Where the reference engine takes the least time."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def compare(seen: Seen, exact: Seen, scene: BenchScene) -> Agreement:
    """How far `seen` is from `exact`."""
    both = seen.hit_mask & exact.hit_mask
    error = (seen.depths[both] - exact.depths[both]).abs() / float(scene.lattice.spacing.min())
    ordered = error.double().sort().values
    median, p99 = (float(ordered[int(q * (len(ordered) - 1))]) for q in (0.5, 0.99))
    gradient, truth = seen.gradient.double(), exact.gradient.double()
    return Agreement(
        mask_mismatch=float((seen.hit_mask != exact.hit_mask).float().mean()),
        depth_error_median=median,
        depth_error_p99=p99,
        gradient_error=float((gradient - truth).norm() / truth.norm()),
    )


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times faster: the median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def fastest_baseline(rows: Sequence[Row], task: Task, place: str = "cpu") -> Row | None:
    """The PyTorch path in a place with the shortest median time for forward and backward."""
    baselines = [r for r in rows if r.baseline and r.task == task and r.place == place]
    return min(baselines, key=lambda row: statistics.median(row.forward_backward), default=None)
