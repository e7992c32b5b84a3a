"""Work shared among threads: kernels release Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import pairwise
from threading import local
from typing import Any, TypeVar

from sdfrender.system import after_fork

T = TypeVar("T")
R = TypeVar("R")

_here = local()  # `.helping` in threads that are at work for `run_all`


def run_all(work: Callable[[T], R], items: Sequence[T], threads: int) -> list[R]:
    """`[work(item) for item in items]` on up to `threads` threads, this one among them.

    The others wait for the next call: to start a thread takes as long as many a kernel does.
    """
    count = min(threads, len(items))
    if count <= 1 or getattr(_here, "helping", False):
        return [work(item) for item in items]
    results: list[Any] = [None] * len(items)
    left = iter(range(len(items)))  # shared: each number is taken once

    def help_out() -> None:
        _here.helping = True
        try:
            for n in left:
                results[n] = work(items[n])
        finally:
            _here.helping = False

    others = [_helpers(count - 1).submit(help_out) for _ in range(count - 1)]
    try:
        help_out()
    finally:
        for _ in left:  # after an error nobody begins another
            pass
        begun = [other for other in others if not other.cancel()]
        wait(begun)
    for other in begun:
        other.result()
    return results


def slabs(count: int, parts: int) -> list[slice]:
    """`range(count)` in `parts` slices of about one size."""
    ends = [count * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(ends) if b > a]


@lru_cache
def _helpers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="sdfrender")


after_fork(_helpers.cache_clear)  # threads stay behind
