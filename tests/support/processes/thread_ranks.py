"""Threads of this process in the place of the processes of a job: sums meet at a barrier."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from sdfrender.cluster.ranks import Ranks

T = TypeVar("T")
PATIENCE = 60  # seconds until one that did not come is taken for lost


@dataclass
class Meeting:
    """Where all of a job add up what they have."""

    size: int
    parts: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size, timeout=PATIENCE)

    def sum(self, rank: int, x: Tensor) -> Tensor:
        self.parts[rank] = x.clone()
        self.barrier.wait()
        shapes = {(tuple(part.shape), part.dtype) for part in self.parts.values()}
        assert len(shapes) == 1, f"different things are summed: {shapes}"
        total = sum(self.parts[n] for n in range(self.size))
        self.barrier.wait()
        return x.copy_(torch.as_tensor(total))


@dataclass(frozen=True)
class ThreadRanks(Ranks):
    """One of them."""

    meeting: Meeting = field(default_factory=lambda: Meeting(1))

    def sum(self, x: Tensor) -> Tensor:
        return self.meeting.sum(self.rank, x)

    def sum_array(self, x: NDArray[Any]) -> NDArray[Any]:
        self.sum(torch.from_numpy(x))
        return x


def run_on(size: int, work: Callable[[Ranks], T]) -> list[T]:
    """What `work` returns in each of `size` threads; the error of the first that fails."""
    meeting = Meeting(size)

    def one(rank: int) -> T:
        try:
            return work(ThreadRanks(rank, size, meeting))
        except threading.BrokenBarrierError:
            raise
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(one, rank) for rank in range(size)]
    errors = [future.exception() for future in futures]
    real = [e for e in errors if e and not isinstance(e, threading.BrokenBarrierError)]
    for error in (*real, *filter(None, errors)):
        raise error
    return [future.result() for future in futures]
