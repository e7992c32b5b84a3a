"""Several processes run the tests; each kernel is compiled by one of them, the others load it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from filelock import FileLock
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher

from sdfrender.system import COMPILE_ALONE


def compile_once() -> None:
    """Who compiles a kernel holds its lock, in the folder of numba's cache.

    The lock is the function's, not the signature's: all its signatures share one index file, and of
    two that are written at once one would be lost.
    """
    os.environ[COMPILE_ALONE] = "1"  # the others are the second process
    compile_here = Dispatcher.compile

    def compile_or_wait(self: Any, signature: Any) -> Any:
        if self.stats.cache_path is None:
            return compile_here(self, signature)
        folder, code = Path(self.stats.cache_path), self.py_func.__code__
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.py_func.__module__}.{code.co_qualname}-{code.co_firstlineno}.lock"
        # numba's own lock first: threads that wait for each other's would wait forever.
        with global_compiler_lock, FileLock(folder / name):
            return compile_here(self, signature)

    Dispatcher.compile = compile_or_wait
