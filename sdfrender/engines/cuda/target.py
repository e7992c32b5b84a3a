"""How kernels are compiled for a card, and what a card does in its own way.

The shared functions of `kernels` are compiled with the kernel that calls them. A kernel that needs
room for as many numbers as there are channels is made for that many (`cuda.local.array` wants a
constant), see `forward.shade_for`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba import cuda

from sdfrender.engines.cuda.available import installed, simulated
from sdfrender.kernels import bricks, compiled

log = logging.getLogger("sdfrender")

THREADS = 128  # of a block; fewer where they are simulated, one after the other
SIMULATED_THREADS = 32


def part(g: Any, n: int) -> Any:
    """`g[n]`; of `(m,)`, see `compiled.add_at`, the same."""
    return g if isinstance(g, tuple) else g[n]


if installed() and not simulated():
    from numba.cuda import types
    from numba.cuda.core import config as _config
    from numba.cuda.extending import overload

    @overload(compiled.add_at, target="cuda")  # type: ignore[untyped-decorator]
    def _add_at(g: Any, p: Any, a: Any) -> Any:
        def add(g: Any, p: Any, a: Any) -> None:
            cuda.atomic.add(g, p, g.dtype.type(a))

        def keep_largest(g: Any, p: Any, a: Any) -> None:
            size = abs(a)
            if not size <= g[0][0]:  # most are not larger, so that few wait for each other
                cuda.atomic.max(g[0], 0, size if size < math.inf else math.inf)

        return keep_largest if isinstance(g, types.BaseTuple) else add

    @overload(compiled.rounded, target="cuda")  # type: ignore[untyped-decorator]
    def _rounded(g: Any, a: Any) -> Any:
        def of(g: Any, a: Any) -> Any:
            return g.dtype.type(a)

        def same(g: Any, a: Any) -> Any:
            return a

        return same if isinstance(g, types.BaseTuple) else of

    @overload(compiled.floor, target="cuda")  # type: ignore[untyped-decorator]
    def _floor(x: Any) -> Any:
        def of(x: Any) -> Any:
            return math.floor(x)  # a float, on a card

        return of

    @overload(bricks.stored, target="cuda")  # type: ignore[untyped-decorator]
    def _stored(grid: Any, p: Any) -> Any:
        def of(grid: Any, p: Any) -> Any:
            return p, grid.sx, grid.sy

        return of

    # put where it is called: a card cannot return a part of an array
    @overload(part, target="cuda", inline="always")  # type: ignore[untyped-decorator]
    def _part(g: Any, n: Any) -> Any:
        def of(g: Any, n: Any) -> Any:
            return g[n]

        def same(g: Any, n: Any) -> Any:
            return g

        return same if isinstance(g, types.BaseTuple) else of
else:
    from numba import config as _config


def kernel(function: Callable[..., None]) -> Any:
    """Compile a kernel on its first launch, and keep the code on disk where there is a place."""
    if simulated():
        return cuda.jit(function)
    try:
        return cuda.jit(function, cache=True)
    except RuntimeError as error:  # no folder that can be written to
        log.debug("compiled code is not kept: %s", error)
        return cuda.jit(function)


def launch(compiled: Any, count: int, stream: Any, *arguments: Any) -> None:
    """Run a kernel with one thread for each of `count` items, on a stream."""
    if count == 0:
        return
    threads = SIMULATED_THREADS if simulated() else THREADS
    with _small_images_are_fine():
        launched = compiled[-(-count // threads), threads, stream]
    launched(*arguments)


@contextmanager
def _small_images_are_fine() -> Iterator[None]:
    """Without numba-cuda's warning that a card is not busy."""
    name = "CUDA_LOW_OCCUPANCY_WARNINGS"
    before = getattr(_config, name, 0)
    setattr(_config, name, 0)
    try:
        yield
    finally:
        setattr(_config, name, before)
