"""How long a call takes, here or on a card."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable

import torch

TURN = 0.5  # seconds
CACHE = 1 << 28  # bytes, more than a card's L2 cache holds


def seconds(run: Callable[[], None]) -> float:
    """How long a call takes: the median of as many as fit into half a second, or of one.

    In a loop the first call after something else pays for what that has left behind.
    """
    gc.collect()
    times: list[float] = []
    while sum(times) < TURN:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def card_seconds(run: Callable[[], None]) -> float:
    """As `seconds`, between two events on the card, with nothing of the call in its cache."""
    gc.collect()
    cache = torch.zeros(CACHE, dtype=torch.uint8, device="cuda")
    times: list[float] = []
    began = time.perf_counter()
    while not times or time.perf_counter() - began < TURN:
        cache.zero_()
        before, after = _event(), _event()
        before.record()
        run()
        after.record()
        after.synchronize()
        times.append(before.elapsed_time(after) / 1e3)
    return statistics.median(times)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
