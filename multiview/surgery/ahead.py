"""What concavities alone need, compiled by another process while a first fit goes on.

They are looked for in the middle of a fit. Where nothing is compiled yet, as on a new machine, the
fit would stand still there; so another process begins when the fit does, and leaves what it has
compiled in numba's cache. Where that cannot be, it is compiled when it is first called, as always.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numba import typeof

from multiview.surgery.photo_consistency import fill_consistency
from sdfrender.system import worth_a_process

HELPER = """
import sys
sys.path.insert(0, sys.argv[1])
from multiview.surgery import ahead
ahead.help_out()
"""

_helper: subprocess.Popen[bytes] | None = None


def begin() -> None:
    """Start the other process, if there is something to compile and none was started before."""
    global _helper
    if _helper is not None or not worth_a_process(fill_consistency):
        return
    try:
        _helper = subprocess.Popen(
            [sys.executable, "-P", "-c", HELPER, str(Path(__file__).parents[2])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:  # no processes here
        return
    atexit.register(_stop)


def finish() -> None:
    """Wait for it: what it has begun is done sooner by it than by another."""
    if _helper is not None:
        _helper.wait()


def help_out() -> None:
    """What the other process does."""
    for function, arguments in work():
        function.compile(tuple(map(typeof, arguments)))
    os._exit(0)  # without the time that Python takes to tidy up


def work() -> list[tuple[Any, tuple[Any, ...]]]:
    """The kernel, for photographs in single precision."""
    one, two, three, four = (np.zeros((1,) * n) for n in (1, 2, 3, 4))
    pictures = (four.astype(np.float32), four.astype(np.float32), three.astype(np.float32))
    looks = (three, two, one, True)
    out = two.astype(np.float32)
    return [(fill_consistency, (three, two, one, (two, three, three), pictures, looks, out))]


def _stop() -> None:
    """End it; one that is done does not mind."""
    if _helper is not None:
        _helper.kill()
        _helper.wait()
