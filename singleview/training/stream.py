"""Batches of drawn objects: made here, or by workers ahead of the training.

Each object of a batch is drawn with random numbers of its own, which follow from the seed and from
its place in the order. So batches are the same with any number of workers, for a process and for
several that share its batch, and after an interruption.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from multiprocessing import get_all_start_methods
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sdfrender.errors import InputError
from singleview.data.order import Order
from singleview.training.distributed import Job

Drawing: TypeAlias = Callable[[int, torch.Generator], tuple[Tensor, ...]]
AHEAD = 4  # batches that each worker has ready


class Stream:
    """Endless batches, in order.

    Args:
        draw: an object's part of a batch, tensors `[…]`, from its number and a generator.
        order: of the objects.
        batch: B, objects of a batch, over all processes.
        seed: of what is drawn.
        workers: processes that draw ahead; 0 draws when it is needed.

    Raises:
        InputError: workers on a system that cannot fork.
    """

    def __init__(self, draw: Drawing, order: Order, batch: int, seed: int, workers: int) -> None:
        if workers and "fork" not in get_all_start_methods():
            raise InputError(f"--workers: need 0 on this system, it cannot fork, got {workers}")
        self.objects = Drawn(draw, order, seed)
        self.batch, self.workers = batch, workers
        self._batches: Iterator[list[Tensor]] | None = None
        self._next = -1

    def take(self, position: int, job: Job) -> list[Tensor]:
        """This process's shard of the batch at a position of the order: tensors `[B / size, …]`."""
        if self._batches is None or position != self._next:
            self._batches = iter(self._loader(position, job))
        self._next = position + self.batch
        return next(self._batches)

    def _loader(self, position: int, job: Job) -> DataLoader[tuple[Tensor, ...]]:
        options = {
            "prefetch_factor": AHEAD,
            "worker_init_fn": _leave_interrupts,
            "multiprocessing_context": "fork",  # they share what is in memory
        }
        return DataLoader(
            self.objects,
            batch_sampler=Places(position, self.batch, job),
            num_workers=self.workers,
            collate_fn=_stacked,
            generator=torch.Generator(),  # it would draw from that of the training
            **(options if self.workers else {}),  # type: ignore[arg-type]
        )


class Drawn(Dataset[tuple[Tensor, ...]]):
    """The object at each place of an order, drawn with random numbers of its own."""

    def __init__(self, draw: Drawing, order: Order, seed: int) -> None:
        self.draw, self.order, self.seed = draw, order, seed

    def __getitem__(self, place: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + place) % 2**63)
        return self.draw(self.order[place], generator)


class Places:
    """Batches of places in an order, from a position on; this process's shard of each."""

    def __init__(self, position: int, batch: int, job: Job) -> None:
        self.position, self.batch, self.job = position, batch, job

    def __iter__(self) -> Iterator[list[int]]:
        position = self.position
        while True:
            places = torch.arange(position, position + self.batch)
            yield self.job.shard(places).tolist()
            position += self.batch


def _stacked(drawn: list[tuple[Tensor, ...]]) -> list[Tensor]:
    """The tensors `[…]` of each object as columns `[B, …]`."""
    return [torch.stack(column) for column in zip(*drawn, strict=True)]


def _leave_interrupts(_: int) -> None:
    """Ctrl-C is for the training, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
