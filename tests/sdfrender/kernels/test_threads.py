"""Work on several threads: in order, each piece once, errors and nesting and forks included."""

from __future__ import annotations

import os
import threading

import pytest

from sdfrender.kernels.threads import run_all


def test_results_are_in_order_and_each_item_is_worked_on_once() -> None:
    seen: list[int] = []

    def work(n: int) -> int:
        seen.append(n)
        return n * n

    for threads in (1, 2, 5, 50):
        for count in (0, 1, 2, 17):
            seen.clear()
            assert run_all(work, range(count), threads) == [n * n for n in range(count)]
            assert sorted(seen) == list(range(count))


def test_several_threads_are_at_work_at_once_and_wait_for_the_next_call() -> None:
    gate = threading.Barrier(3, timeout=30)
    names = []
    for _ in range(2):
        names.append(set(run_all(lambda n: (gate.wait(), threading.get_ident())[1], range(3), 3)))
    assert all(len(each) == 3 and threading.get_ident() in each for each in names)
    assert names[0] == names[1]


@pytest.mark.parametrize("wrong", [0, 3, 7])
def test_an_error_arrives_and_the_next_call_works(wrong: int) -> None:
    def work(n: int) -> int:
        if n == wrong:
            raise ValueError(f"not {n}")
        return n

    with pytest.raises(ValueError, match=f"not {wrong}"):
        run_all(work, range(8), 2)
    assert run_all(lambda n: n, range(8), 2) == list(range(8))


def test_calls_within_calls() -> None:
    def work(n: int) -> int:
        return sum(run_all(lambda m: n * m, range(4), 3))

    assert run_all(work, range(9), 3) == [6 * n for n in range(9)]


def test_calls_from_several_threads() -> None:
    found: dict[int, list[int]] = {}

    def caller(k: int) -> None:
        for _ in range(50):
            found[k] = run_all(lambda n: k * n, range(20), 3)

    callers = [threading.Thread(target=caller, args=(k,)) for k in range(4)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(timeout=60)
    assert found == {k: [k * n for n in range(20)] for k in range(4)}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    assert run_all(lambda n: n, range(4), 2) == [0, 1, 2, 3]
    child = os.fork()
    if child == 0:
        good = run_all(lambda n: n, range(4), 2) == [0, 1, 2, 3]
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
