"""Times of several candidates, taken in turns so that a busy machine slows all of them alike."""

from __future__ import annotations

import gc
import statistics
import time
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
from sdfrender.bench.peers import by_name
from sdfrender.bench.workloads import BenchScene
from sdfrender.rendering.render import render

TURN = 0.5  # seconds


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
            forward[n].append(seconds(session.forward))
            both[n].append(seconds(session.forward_backward))
    rows = [
        Row(candidate.name, task, candidate.baseline, forward[n], both[n], agreement)
        for n, (candidate, task, _, agreement) in enumerate(entries)
    ]
    return Measured(rows, unavailable)


def exact_hits(scene: BenchScene) -> Tensor:
    """`[N, H, W]` which rays meet the surface."""
    with torch.no_grad():
        return render(scene.lattice, scene.cameras, coverage=False, engine="reference").hit_mask


def truth(scene: BenchScene, task: Task, cotangents: Cotangents) -> Seen:
    """What the reference engine answers in float64."""
    wide = BenchScene(scene.lattice.to(torch.float64), scene.cameras)
    derivatives = Cotangents(**{name: x.double() for name, x in vars(cotangents).items()})
    return by_name(BASELINE).open(wide, task, derivatives).seen()


def seconds(run: Callable[[], None]) -> float:
    """How long a call takes: the median of as many as fit into half a second, or of one.

    In a loop the first call after something else pays for what that has left behind.
    """
    gc.collect()
    times: list[float] = []
    while sum(times) < TURN:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


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


def fastest_baseline(rows: Sequence[Row], task: Task) -> Row | None:
    """The PyTorch path with the shortest median time for forward and backward."""
    baselines = [row for row in rows if row.baseline and row.task == task]
    return min(baselines, key=lambda row: statistics.median(row.forward_backward), default=None)
