"""What a process of a job changes of itself, it puts back when it leaves."""

from __future__ import annotations

import signal
import socket
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


def own(*_: Any) -> None:
    """Someone else's handler."""


@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.SIG_IGN, own])
def test_a_process_that_leaves_is_told_to_end_as_before(
    before: Any, two_processes: list[Any]
) -> None:
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
