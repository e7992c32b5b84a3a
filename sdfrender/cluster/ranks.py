"""The processes of a job that `torchrun` started: who this one is, and sums over all of them.

Each of them runs the same program on its own share of the data, and calls the same sums in the same
order. Sums of tensors on the CPU go by gloo, of those on a GPU by NCCL.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

TIMEOUT = timedelta(hours=2)  # the first process writes results while the others wait


class ProcessLost(RuntimeError):
    """Another process of the job has ended, or the job was told to end."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of its job.

    Args:
        rank: number of this process.
        size: processes in the job.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def share(self, count: int) -> list[int]:
        """Which of so many things are this process's, ascending; none if there are too few."""
        return list(range(self.rank, count, self.size))

    def sum(self, x: Tensor) -> Tensor:
        """The sum over the processes of a tensor of one shape in all, in place; equal in all."""
        if self.size > 1:
            dist.all_reduce(x)
        return x

    def sum_array(self, x: NDArray[Any]) -> NDArray[Any]:
        """The same of an array."""
        if self.size > 1:
            dist.all_reduce(torch.from_numpy(x))
        return x

    def any(self, flag: bool) -> bool:
        """Whether it is true in any of them."""
        return bool(self.sum(torch.tensor(int(flag))))

    def all(self, flag: bool) -> bool:
        """Whether it is true in all of them."""
        return not self.any(not flag)

    def scattered(self, own: Tensor, places: list[int], count: int) -> Tensor:
        """Rows of all processes in one tensor `[count, ...]`, equal in all.

        Args:
            own: `[n, ...]` of this process.
            places: `[n]` where they go; no two processes have the same.
            count: rows in all; those of nobody are 0.
        """
        if self.size == 1 and places == list(range(count)):
            return own
        out = torch.zeros(count, *own.shape[1:], dtype=own.dtype)
        out[torch.tensor(places, dtype=torch.int64)] = own
        return self.sum(out)

    def concatenated(self, own: Tensor) -> Tensor:
        """`[n, ...]` of this process after and before those of the others; equal in all."""
        counts = self.scattered(torch.tensor([len(own)]), [self.rank], self.size)
        before = int(counts[: self.rank].sum())
        out = torch.zeros(int(counts.sum()), *own.shape[1:], dtype=own.dtype)
        out[before : before + len(own)] = own
        return self.sum(out)

    def texts(self, own: str) -> list[str]:
        """What each of them has to say, in their order; equal in all."""
        letters = torch.tensor(list(own.encode()), dtype=torch.uint8)
        lengths = self.scattered(torch.tensor([len(letters)]), [self.rank], self.size)
        padded = torch.zeros(1, max(1, int(lengths.max())), dtype=torch.uint8)
        padded[0, : len(letters)] = letters
        rows = self.scattered(padded, [self.rank], self.size)
        return [
            bytes(row[:length].tolist()).decode()
            for row, length in zip(rows, lengths.tolist(), strict=True)
        ]


ALONE = Ranks()


@contextmanager
def joined(gpus: bool = False, going_on: str = "") -> Iterator[Ranks]:
    """Join the job this process belongs to, and leave it at the end; alone without `torchrun`.

    Args:
        gpus: whether tensors on GPUs are summed too.
        going_on: what a message about a lost process ends with.

    Raises:
        ProcessLost: another process has ended, and this one cannot go on.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=TIMEOUT)
    ranks = Ranks(dist.get_rank(), size)
    lost = ProcessLost(
        f"process {ranks.rank} of {size}: another process of the job has ended, or the job was "
        f"told to end{going_on}"
    )

    def told_to_end(*_: Any) -> None:
        raise lost

    with _on_sigterm(told_to_end):  # what torchrun sends those that are left
        try:
            yield ranks
        except RuntimeError as error:
            if not is_lost(error):
                raise
            raise lost from None
        finally:
            with _on_sigterm(signal.SIG_IGN):  # it is ending already
                # A network that is shared out lies in cycles, and would keep the group's threads
                # until Python itself ends: one that asks Python for something then aborts it.
                gc.collect()
                dist.destroy_process_group()


@contextmanager
def _on_sigterm(handler: Callable[..., Any] | signal.Handlers) -> Iterator[None]:
    """Inside, a process that is told to end does this; afterwards what it did before."""
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        # None: the handler was not one of Python's, which cannot put it back
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def is_lost(error: BaseException) -> bool:
    """Whether an error says that a connection to another process broke."""
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL error")
    return isinstance(error, (ProcessLost, dist.DistError)) or any(
        sign in str(error) for sign in signs
    )
