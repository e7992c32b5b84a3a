"""Speed and memory of the compiled engine, as ratios within one run.

Not collected by a plain `pytest`: run `pytest tests/benchmarks`. All cores are used, and candidates
take turns, so that a busy machine slows them alike.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sdfrender.bench.candidates import engines
from sdfrender.bench.measure import (
    Measured,
    Row,
    exact_hits,
    fastest_baseline,
    measure,
    ratio,
)
from sdfrender.bench.peers.by_name import by_name
from sdfrender.bench.processes import measure_memory, measure_start
from sdfrender.bench.workloads import WORKLOADS, creature, fit_into_box, make_scene
from sdfrender.rendering.render import ENGINES
from sdfrender.system import processors

ENGINE = "cpu"
REPEATS = 5
pytestmark = [
    pytest.mark.skipif(ENGINE not in ENGINES, reason=f"there is no engine {ENGINE!r} yet"),
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module", autouse=True)
def all_cores() -> Iterator[int]:
    before, cores = torch.get_num_threads(), processors()
    torch.set_num_threads(cores)
    yield cores
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def w1(all_cores: int) -> Measured:
    """Hits-only of every engine, and coverage of the one under test, in turns."""
    scene = make_scene(WORKLOADS["W1"], fit_into_box(creature()))
    entries = [(c, t) for c in engines() for t in c.tasks if t == "hits" or c.name == ENGINE]
    return measure(scene, exact_hits(scene), entries, REPEATS, lambda _: None)


def row(measured: Measured, name: str, task: str) -> Row:
    return next(r for r in measured.rows if (r.candidate, r.task) == (name, task))


def test_ten_times_as_fast_as_pytorch(w1: Measured) -> None:
    """14 times is usual; loops that have lost their vector instructions fall below 8."""
    baseline = fastest_baseline(w1.rows, "hits")
    assert baseline is not None
    ours = row(w1, ENGINE, "hits")
    assert ratio(baseline.forward_backward, ours.forward_backward) >= 10, baseline.candidate


def test_coverage_costs_at_most_as_much_again(w1: Measured) -> None:
    hits, coverage = row(w1, ENGINE, "hits"), row(w1, ENGINE, "coverage")
    assert ratio(coverage.forward_backward, hits.forward_backward) <= 2


def test_the_same_answer(w1: Measured) -> None:
    for task in ("hits", "coverage"):
        agreement = row(w1, ENGINE, task).agreement
        assert agreement.mask_mismatch <= 1e-6
        assert agreement.depth_error_p99 <= 1e-4  # voxels
        assert agreement.gradient_error <= 1e-4


def test_a_gigabyte_is_enough_for_w3(all_cores: int) -> None:
    scene = make_scene(WORKLOADS["W3"], fit_into_box(creature()))
    memory = measure_memory(scene, exact_hits(scene), by_name(ENGINE), "hits", all_cores)
    assert memory.peak_mb - memory.inputs_mb <= 1000


def test_compiled_code_is_kept(all_cores: int) -> None:
    starts = measure_start(ENGINE, all_cores)
    empty, filled = (start.first_image_s + start.first_gradient_s for start in starts)
    assert filled <= 0.5 * empty
    assert filled <= 5  # seconds
