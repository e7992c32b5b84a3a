"""The processes of a job that `torchrun` started; one process when it did not.

Each draws the same random numbers for the whole batch and keeps its shard of it, so that the job
computes what one process would.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sdfrender.errors import InputError

TIMEOUT = timedelta(hours=2)  # the first process validates and saves while the others wait


class ProcessLost(RuntimeError):
    """Another process of the job has ended, or the job was told to end."""


@dataclass(frozen=True)
class Job:
    """This process among those of its job.

    Args:
        rank: number of this process.
        size: processes in the job.
        device: on which this process computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def shard(self, x: Tensor) -> Tensor:
        """This process's part `[B / size, ...]` of a batch `[B, ...]`, B a multiple of `size`."""
        return x.chunk(self.size)[self.rank]

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with its gradients averaged over the processes."""
        if self.size == 1:
            return model
        if (
            self.device.type == "cuda"
        ):  # batch statistics over all processes; CPUs have no such layer
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids)

    def mean(self, x: Tensor) -> Tensor:
        """Mean `[...]` over the processes of a tensor `[...]`, equal in shape in all."""
        if self.size > 1:
            dist.all_reduce(x)
            x = x / self.size
        return x

    def from_first(self, number: float) -> float:
        """The first process's number."""
        if self.size == 1:
            return number
        x = torch.tensor([number], dtype=torch.float64, device=self.device)
        dist.broadcast(x, 0)
        return float(x)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join(device: str, batch: int) -> Iterator[Job]:
    """Join the job this process belongs to, and leave it at the end.

    Args:
        device: auto, cpu or cuda.
        batch: objects per step over all processes.

    Raises:
        InputError: no GPU although asked for, or a batch that cannot be shared out evenly.
        ProcessLost: another process has ended, and this one cannot go on.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device: need a GPU for cuda, torch finds none")
    cuda = device != "cpu" and torch.cuda.is_available()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if batch % size:
        raise InputError(f"--batch: need a multiple of the {size} processes, got {batch}")
    local = int(os.environ.get("LOCAL_RANK", "0")) if cuda else 0
    where = torch.device("cuda", local) if cuda else torch.device("cpu")
    if size == 1:
        yield Job(0, 1, where)
        return
    if cuda:
        torch.cuda.set_device(where)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    job = Job(dist.get_rank(), size, where)
    lost = ProcessLost(
        f"process {job.rank} of {size}: another process of the job has ended, or the job was told "
        "to end (continue with the same command and --resume)"
    )

    def told_to_end(*_: Any) -> None:
        raise lost

    with _on_sigterm(told_to_end):  # what torchrun sends those that are left
        try:
            yield job
        except RuntimeError as error:
            if not _lost(error):
                raise
            raise lost from None
        finally:
            with _on_sigterm(signal.SIG_IGN):  # it is ending already
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


def _lost(error: RuntimeError) -> bool:
    """Whether an error says that a connection to another process broke."""
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL error")
    return isinstance(error, (ProcessLost, dist.DistError)) or any(
        sign in str(error) for sign in signs
    )
