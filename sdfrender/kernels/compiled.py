"""How the kernels are compiled: on first use, cached on disk, without Python's global lock.

The functions stay plain scalar Python on scalars, tuples and arrays, so that another target of
numba can compile the same ones. Only kernels are called from Python, and only they are cached, but
for some parts (`shared`): whatever a kernel calls becomes part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.core.dispatcher import Dispatcher

F = TypeVar("F", bound=Callable[..., Any])

# float64 arithmetic, results as written but for fused multiply-adds
_EXACT = {"contract"}
# Loops over lanes: reordering is harmless, infinities may occur, NaN may not.
_LANES = {"nsz", "arcp", "contract", "afn", "reassoc", "nnan"}


def kernel(function: F) -> F:
    """Compile a kernel."""
    return _compile(function, fastmath=_EXACT, cache=True, nogil=True)


def lane_kernel(function: F) -> F:
    """Compile a kernel whose loops become vector instructions."""
    return _compile(function, fastmath=_LANES, cache=True, nogil=True)


def scalar(function: F) -> F:
    """Compile what a kernel calls."""
    return _part(function, fastmath=_EXACT)


def inlined(function: F) -> F:
    """As `scalar`, and without a call: points and cells stay in registers."""
    return _part(function, fastmath=_EXACT, forceinline=True)


def lanes(function: F) -> F:
    """Compile loops over lanes, which become vector instructions, for a kernel to call."""
    return _part(function, fastmath=_LANES)


def inlined_lanes(function: F) -> F:
    """As `lanes`, and without a call."""
    return _part(function, fastmath=_LANES, forceinline=True)


def shared(compiled: F) -> F:
    """Cache what a kernel calls, so that another process may compile it (`ahead`)."""
    if isinstance(compiled, Dispatcher):  # numba may be told not to compile
        compiled.enable_caching()
    return compiled


def _part(function: F, **options: Any) -> F:
    return _compile(function, no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)


def _compile(function: F, **options: Any) -> F:
    compiled: F = njit(error_model="numpy", **options)(function)
    return compiled
