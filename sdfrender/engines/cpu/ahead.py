"""The first image on a machine, and the first gradient, compiled by two processes at once.

numba compiles one function after the other. What one process has compiled another finds in numba's
cache on disk. So while nothing is there yet, a second process compiles the large half of what shows
an image in single precision, and this one the rest; then the second one goes on with what a
gradient needs, if one is wanted. Where that cannot be, everything is compiled when it is first
called, as always.
"""

from __future__ import annotations

import atexit
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numba import typeof

from sdfrender.engines.cpu.backward.backward_view import pull_back
from sdfrender.engines.cpu.forward.forward_view import render_rows, walk
from sdfrender.engines.cpu.forward.raster import draw_hits, draw_marks
from sdfrender.kernels.bricks import BrickGrid
from sdfrender.kernels.lane_steps import (
    find_light,
    find_normals,
    find_places,
    polish,
    read_cell,
)
from sdfrender.kernels.ray_walk import EVENT
from sdfrender.kernels.view import View
from sdfrender.system import worth_a_process

Work = list[tuple[Any, tuple[Any, ...]]]  # functions, and arguments of the right types

# The package without its `__init__`, which imports torch: a second that compiling does not need.
HELPER = """
import gc, sys, types
gc.disable()
package = types.ModuleType("sdfrender")
package.__path__ = sys.argv[1:2]
sys.modules["sdfrender"] = package
from sdfrender.engines.cpu import ahead
ahead.help_out(gradient=sys.argv[2] == "gradient")
"""

_begun = False
_helper: subprocess.Popen[str] | None = None


@contextmanager
def compiled_ahead(gradient: bool) -> Iterator[None]:
    """Have what shows an image compiled on leaving, if it never was; the first time only.

    Args:
        gradient: have what a gradient needs compiled too, by the time that `finish` returns.
    """
    global _begun, _helper
    first, _begun = not _begun, True  # so that the disk is looked at once, not for every image
    if not (first and _wanted()):
        yield
        return
    package, wanted = str(Path(__file__).parents[2]), "gradient" if gradient else "image"
    try:
        _helper = subprocess.Popen(
            [sys.executable, "-P", "-c", HELPER, package, wanted],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except OSError:  # no processes here
        yield
        return
    atexit.register(_stop)
    parts, raster, _ = image()
    collecting = gc.isenabled()
    gc.disable()  # what torch keeps is looked through again and again otherwise: half a second
    try:
        compile_all(parts)
        yield
        compile_all(raster)
        assert _helper.stdout is not None
        _helper.stdout.readline()  # or the end of it, if anything went wrong there
    except BaseException:
        _stop()
        raise
    finally:
        if collecting:
            gc.enable()
    if not gradient:
        finish()


def finish() -> None:
    """Wait for the other process, if there is one."""
    helper = _helper
    if helper is not None:
        helper.wait()
        _stop()


def help_out(gradient: bool) -> None:
    """What the other process does: a line when it has its share of an image, then the gradient."""
    compile_all(image()[2])
    print("image", flush=True)
    if gradient:
        compile_all(adjoint())
    os._exit(0)  # without the half second that Python takes to tidy up


def compile_all(work: Work) -> None:
    """Compile each function for arguments of these types."""
    for function, arguments in work:
        function.compile(tuple(map(typeof, arguments)))


def image() -> tuple[Work, Work, Work]:
    """What shows an image: what this process compiles first and last, and the other one meanwhile.

    Each takes about as long. What is first here is part of what is last there.
    """
    one, two, three, four = (np.zeros((1,) * n, np.float32) for n in (1, 2, 3, 4))
    numbers, lights, events = np.zeros(1), np.zeros((1, 1)), np.zeros(1, EVENT)
    o = (0.0, 0.0, 0.0)
    table = np.zeros((1, 1, 1), np.int32)
    grid = BrickGrid(2, 2, 2, 16, 4, o, o, o, 1.0, table)
    view = View((*o, *o, *o), o, o, 1.0, 1, 1)
    parts: Work = [
        (find_places, (grid, view, numbers, True)),
        (read_cell, (one, 0, 0, 0, one, 0)),
        (find_normals, (grid, numbers, one)),
        (find_light, (lights, numbers, numbers)),
        (polish, (grid, view, numbers, one, True)),
    ]
    raster: Work = [
        (draw_hits, (two, one, 0, 0, 0, two, one)),
        (draw_marks, (two, one, 0.0, 0, 0, 0, two, one, two, one)),
    ]
    place, rows = (one, three, True, numbers, table, numbers), (two, two, True, 0, 0)
    shown = (two, one, one, two, np.zeros(1, np.bool_))
    show: Work = [
        (walk, (one, three, grid, view, 0, 0.0, 0.0, True, 0, events, 0)),
        (render_rows, (*place, *rows, True, 0, lights, four, events, *shown)),
    ]
    return parts, raster, show


def adjoint() -> Work:
    """What the other process compiles for a gradient."""
    one, two, four = (np.zeros((1,) * n, np.float32) for n in (1, 2, 4))
    numbers, table, events = np.zeros(1), np.zeros((1, 1)), np.zeros(1, EVENT)
    bricks = np.zeros((1, 1, 1), np.int32)
    scene, seen = (
        (one, numbers, bricks, numbers, table, four, events, 0, 0, 0),
        (two, one, one, two),
    )
    return [(pull_back, (*scene, *seen, one, table, four, table, 0, True, True))]


def _wanted() -> bool:
    """Whether nothing is compiled yet, and two processes would be faster."""
    return worth_a_process(render_rows)


def _stop() -> None:
    """End the other process; one that is done does not mind."""
    global _helper
    helper, _helper = _helper, None
    if helper is not None:
        helper.kill()
        helper.communicate()
        atexit.unregister(_stop)
