"""The processes of a job that `torchrun` started; one process when it did not.

Each draws the same random numbers for the whole batch and keeps its shard of it, so that the job
computes what one process would.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sdfrender.cluster.ranks import ProcessLost, joined
from sdfrender.errors import InputError

__all__ = ["Job", "ProcessLost", "join"]


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
    with joined(cuda, " (continue with the same command and --resume)") as ranks:
        yield Job(ranks.rank, ranks.size, where)
