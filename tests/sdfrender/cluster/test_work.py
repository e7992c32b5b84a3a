"""Tasks on Dask: what comes back, what is told of those that fail, and how they are stopped."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdfrender import InputError
from sdfrender.cluster.connect import connected, tell_workers
from sdfrender.cluster.settings import ClusterSettings
from sdfrender.cluster.work import Patience, Stop, Stopped, outcomes

distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")


@pytest.fixture
def threads() -> Iterator[Any]:
    """A client of two workers that are threads of this process."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0",
            resources={"GPU": 1},
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        yield client


def double(number: int, stop: Stop) -> int:
    if number < 0:
        raise InputError(f"number: need at least 0,\ngot {number}")
    return 2 * number


def until_stopped(file: Path, stop: Stop) -> None:
    (file / "began").write_text("")
    ended = Patience(stop.asked, 0.05)
    for _ in range(1000):
        if ended():
            (file / "stopped").write_text("")
            raise Stopped
        time.sleep(0.02)


def test_results_and_errors_come_as_tasks_end(threads: Any) -> None:
    seen: set[str] = set()
    tasks = {name: (number,) for name, number in (("a", 1), ("b", -1), ("c", 3))}
    found = {x.name: x for x in outcomes(threads, double, tasks, {"GPU": 1.0}, seen.update)}
    assert (found["a"].result, found["c"].result) == (2, 6)
    assert found["b"].result is None
    assert found["b"].error == r"number: need at least 0,\ngot -1"
    assert seen <= set(tasks)


def test_tasks_stop_where_nobody_waits_for_them(threads: Any, tmp_path: Path) -> None:
    def look(running: set[str]) -> None:
        if (tmp_path / "began").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(outcomes(threads, until_stopped, {"a": (tmp_path,)}, {}, look))
    deadline = time.monotonic() + 10
    while not (tmp_path / "stopped").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "stopped").exists()


def test_workers_that_do_several_tasks_at_once_are_refused(
    threads: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ClusterSettings(scheduler="tcp://host:1", gpus=2, memory="1GB")
    with caplog.at_level(logging.WARNING):
        tell_workers(threads, settings)
    assert "no worker announces GPU=2" in caplog.text
    assert "no worker announces MEMORY=1e+09" in caplog.text
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=3, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        pytest.raises(InputError, match="--nthreads 1"),
    ):
        tell_workers(client, settings)


def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdfrender.cluster.connect.TIMEOUT", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with (
        pytest.raises(InputError, match=f"need a Dask scheduler that answers, {address} does not"),
        connected(ClusterSettings(scheduler=address), 1),
    ):
        pass


def test_questions_are_asked_seldom() -> None:
    asked: list[int] = []
    patience = Patience(lambda: not asked.append(1), seconds=60)
    assert patience()
    assert not patience()
    assert len(asked) == 1
