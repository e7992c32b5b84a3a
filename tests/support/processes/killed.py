"""Work that is killed as by `kill -9`, in a process of its own, at a place that a test chooses."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable


def killed_at_flush(work: Callable[[], object], number: int) -> bool:
    """Do work in a fork that is killed when it flushes a file for the `number`-th time.

    Returns:
        Whether it came to that.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # later Pythons warn of forks beside threads
        child = os.fork()
    if child == 0:
        flush, left = os.fsync, number

        def flush_or_die(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            flush(descriptor)

        os.fsync = flush_or_die
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGKILL
    assert os.WEXITSTATUS(status) == 0, "the work failed by itself"
    return False
