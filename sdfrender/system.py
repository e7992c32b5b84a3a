"""What systems differ in: processors, memory, forks. Where one does not tell, it says so.

Modules and functions that only some systems have are looked for here and nowhere else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

COMPILE_ALONE = "SDFRENDER_COMPILE_ALONE"  # set it, and no second process is started
WORKING_SHARE = 0.25  # of the memory that is free
MOST_WORKING = 2 << 30  # bytes; larger pieces are not faster
LEAST_WORKING = 64 << 20  # bytes; smaller ones are slower
UNKNOWN_WORKING = 512 << 20  # bytes, where the system does not say what is free


def processors() -> int:
    """How many processors this process may use: its affinity mask, where there is one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory() -> int | None:
    """The most memory that this process has held, bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak_memory() -> None:
    """Have `peak_memory` tell the most from now on, where the system can."""
    with suppress(OSError):  # Linux: proc(5), clear_refs
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def free_memory() -> int | None:
    """Memory that can be had without swapping, bytes; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024  # kB mean 1024 bytes there
    return None


def working_memory() -> int:
    """Bytes that one step of a computation may take for what it needs at once.

    Work on many views is done in pieces that fit; the results are the same whatever the size.
    """
    free = free_memory()
    if free is None:
        return UNKNOWN_WORKING
    return max(LEAST_WORKING, min(int(WORKING_SHARE * free), MOST_WORKING))


def pieces(count: int, bytes_each: int) -> list[slice]:
    """`range(count)` in slices, in order, of as many as `working_memory` holds; at least one."""
    size = max(1, working_memory() // max(bytes_each, 1))
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def after_fork(callback: Callable[[], object]) -> None:
    """Have a process that was forked from this one call this first, where processes fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=callback)


def worth_a_process(kernel: Any) -> bool:
    """Whether a kernel is not compiled yet, and another process could do it meanwhile."""
    # a plain function where numba is told not to compile
    if COMPILE_ALONE in os.environ or not sys.executable or not hasattr(kernel, "stats"):
        return False
    if kernel.stats.cache_path is None:  # nowhere to keep it
        return False
    source, cache = Path(kernel.py_func.__code__.co_filename), Path(kernel.stats.cache_path)
    names = cache.glob(f"{source.stem}.{kernel.py_func.__name__}-*.nbi")
    kept = [file.stat().st_mtime for file in names]
    return processors() > 1 and max(kept, default=0.0) < source.stat().st_mtime
