"""How the kernels are compiled: on first use, cached on disk, without Python's global lock.

The functions stay plain scalar Python on scalars, tuples and arrays, so that another target of
numba compiles the same ones (`engines.cuda`). What each target does in its own way is `add_at`,
`rounded` and `floor`; uncompiled, as in the simulator of CUDA, they are the Python functions. Only
kernels are called from Python, and only they are cached, but for some parts (`shared`): whatever a
kernel calls becomes part of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from numba.extending import overload

log = logging.getLogger("sdfrender")

F = TypeVar("F", bound=Callable[..., Any])

# float64 arithmetic, results as written but for fused multiply-adds
EXACT = {"contract"}
# Loops over lanes: reordering is harmless, infinities may occur, NaN may not.
_LANES = {"nsz", "arcp", "contract", "afn", "reassoc", "nnan"}

_one_at_a_time = Lock()


def add_at(g: Any, p: Any, a: Any) -> None:
    """`g[p] += a`, whole even where several threads of a device add to one place.

    A device also takes `(m,)` for g, and keeps the largest `|a|` of all in `m[0]`; infinity if one
    is not a number.
    """
    with _one_at_a_time:
        if isinstance(g, tuple):
            size = abs(a)
            g[0][0] = max(g[0][0], size if size < np.inf else np.inf)
        else:
            g[p] += g.dtype.type(a)


def rounded(g: Any, a: Any) -> Any:
    """`a` in the precision of the numbers in g."""
    return a if isinstance(g, tuple) else g.dtype.type(a)


def floor(x: Any) -> Any:
    """The largest whole number that is not larger than `x`, of the type of `x`."""
    return np.floor(x)


@overload(add_at, jit_options={"fastmath": EXACT, "forceinline": True, "error_model": "numpy"})
def _add_at(g: Any, p: Any, a: Any) -> Any:
    def add(g: Any, p: Any, a: Any) -> None:  # of a kernel's own memory, on the CPU
        g[p] += a

    return add


@overload(rounded, jit_options={"fastmath": EXACT, "forceinline": True})
def _rounded(g: Any, a: Any) -> Any:
    def of(g: Any, a: Any) -> Any:
        return g.dtype.type(a)

    return of


@overload(floor, jit_options={"fastmath": EXACT, "forceinline": True})
def _floor(x: Any) -> Any:
    def of(x: Any) -> Any:
        return np.floor(x)

    return of


def kernel(function: F) -> F:
    """Compile a kernel."""
    return kept(_compile(function, fastmath=EXACT, nogil=True))


def lane_kernel(function: F) -> F:
    """Compile a kernel whose loops become vector instructions."""
    return kept(_compile(function, fastmath=_LANES, nogil=True))


def scalar(function: F) -> F:
    """Compile what a kernel calls."""
    return _part(function, fastmath=EXACT)


def inlined(function: F) -> F:
    """As `scalar`, and without a call: points and cells stay in registers."""
    return _part(function, fastmath=EXACT, forceinline=True)


def lanes(function: F) -> F:
    """Compile loops over lanes, which become vector instructions, for a kernel to call."""
    return _part(function, fastmath=_LANES)


def inlined_lanes(function: F) -> F:
    """As `lanes`, and without a call."""
    return _part(function, fastmath=_LANES, forceinline=True)


def shared(compiled: F) -> F:
    """Cache what a kernel calls, so that another process may compile it (`ahead`)."""
    return kept(compiled)


def kept(compiled: F) -> F:
    """Cache compiled code on disk, where there is a place for it."""
    function: Any = compiled
    if isinstance(function, Dispatcher):  # numba may be told not to compile
        try:
            function._cache = _KEPT(function.py_func)  # type: ignore[attr-defined]  # no other door
        except RuntimeError as error:  # no folder that can be written to
            log.debug("compiled code is not kept: %s", error)
    return compiled


class KeptCode(FunctionCache):
    """numba's cache of a function; one that is damaged, or has no room, is done without.

    What can go wrong there is not the caller's: the disk is full, a file was cut off.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Compiled code, or None where there is none that can be used."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception as error:  # a damaged pickle raises anything
            log.warning(
                "%s: the compiled code kept there is damaged (%s): it is compiled again. If that "
                "does not end, delete the folder",
                self.cache_path,
                type(error).__name__,
            )
            self._forget()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code, if that can be."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except Exception as error:
            _tell_once(
                f"{self.cache_path}: compiled code cannot be kept there ({error}): it is compiled "
                "again in each process"
            )
            self._forget()

    def _forget(self) -> None:
        try:
            self.flush()  # type: ignore[no-untyped-call]
        except OSError:
            self.disable()  # type: ignore[no-untyped-call]


_KEPT: Any = KeptCode  # which has no types


@lru_cache
def _tell_once(message: str) -> None:
    log.warning("%s", message)


def _part(function: F, **options: Any) -> F:
    return _compile(function, no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)


def _compile(function: F, **options: Any) -> F:
    compiled: F = njit(error_model="numpy", **options)(function)
    return compiled
