"""In which order the objects of a set are visited: the same for the same seed, from any place on.

Objects that lie beside each other on disk are read near each other in time: groups of them come by
lot, and go through a buffer from which the next object is drawn. Only numbers are shuffled; a
training that goes on in the middle of an epoch reads nothing again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from singleview.data.shards import PER_SHARD


@dataclass
class Order:
    """An endless order of N objects, each once an epoch.

    Args:
        objects: N.
        buffer: objects from which the next is drawn.
        seed: of the order.
    """

    objects: int
    buffer: int
    seed: int
    _epochs: dict[int, list[int]] = field(default_factory=dict, repr=False)

    def __getitem__(self, position: int) -> int:
        """The object at a position of the order, from 0 on."""
        epoch, place = divmod(position, self.objects)
        if epoch not in self._epochs:
            self._epochs = {epoch: self.epoch(epoch)}
        return self._epochs[epoch][place]

    def epoch(self, number: int) -> list[int]:
        """The objects in the order of an epoch."""
        lot = random.Random(self.seed * 1_000_003 + number)
        N, each = self.objects, PER_SHARD
        groups = [range(i, min(i + each, N)) for i in range(0, N, each)]
        lot.shuffle(groups)
        order: list[int] = []
        waiting: list[int] = []
        for i in (i for group in groups for i in group):
            waiting.append(i)
            if len(waiting) > self.buffer:
                order.append(_drawn(waiting, lot))
        while waiting:
            order.append(_drawn(waiting, lot))
        return order


def _drawn(waiting: list[int], lot: random.Random) -> int:
    """One of those that wait, by lot; it waits no longer."""
    n = lot.randrange(len(waiting))
    waiting[n], waiting[-1] = waiting[-1], waiting[n]
    return waiting.pop()
