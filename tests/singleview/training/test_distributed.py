"""What a process of a job changes of itself, it puts back when it leaves."""

from __future__ import annotations

import signal
import socket
import weakref
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from singleview.training.distributed import ProcessLost, join


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """This process as one of two, with nobody to talk to; how it is told to end while it leaves."""
    seen: list[Any] = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"WORLD_SIZE": 2, "RANK": 0, "MASTER_ADDR": "localhost",
                        "MASTER_PORT": port}.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    before = signal.getsignal(signal.SIGTERM)
    with (
        patch("torch.distributed.init_process_group"),
        patch("torch.distributed.get_rank", lambda: 0),
        patch(
            "torch.distributed.destroy_process_group",
            lambda: seen.append(signal.getsignal(signal.SIGTERM)),
        ),
    ):
        yield seen
    signal.signal(signal.SIGTERM, before)


class Held:
    """What is shared out, in a cycle."""

    def __init__(self) -> None:
        self.own = self


def test_what_is_shared_out_is_gone_before_the_group_is(
    two_processes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads of a group that live until Python ends may abort it."""
    alive: list[bool] = []
    held: weakref.ref[Held] | None = None

    def leave() -> None:
        assert held is not None
        alive.append(held() is not None)

    monkeypatch.setattr("torch.distributed.destroy_process_group", leave)
    with join("cpu", 4):
        held = weakref.ref(Held())
    assert alive == [False]


def own(*_: Any) -> None:
    """Someone else's handler."""


@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.SIG_IGN, own])
def test_a_process_that_leaves_is_told_to_end_as_before(
    before: Any, two_processes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gc.collect", lambda: 0)  # of all that other tests have left, four times
    signal.signal(signal.SIGTERM, before)
    with join("cpu", 4) as job:
        assert job.size == 2
        assert signal.getsignal(signal.SIGTERM) not in (before, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == before
    for error in (RuntimeError("Connection reset by peer"), KeyboardInterrupt()):
        with pytest.raises((ProcessLost, KeyboardInterrupt)), join("cpu", 4):
            raise error
        assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(ProcessLost, match="told to end"), join("cpu", 4):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
    assert two_processes == [signal.SIG_IGN] * 4  # nothing cut it off while it left
