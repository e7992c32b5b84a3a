"""Work in a fork of this process, which has imported everything: what it prints, how it ends."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from typing import NamedTuple

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")


class Ended(NamedTuple):
    """A process that is over; its `code` is negative where a signal ended it."""

    code: int
    out: str
    err: str


def in_a_fork(work: Callable[[], object]) -> Ended:
    """Do work; the code is its result, where that is a number, or what `sys.exit` is told."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # later Pythons warn of forks beside threads
            child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.stdout, sys.stderr = out, err
            code = 1
            try:
                result = work()
                code = result if isinstance(result, int) else 0
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                out.flush()
                err.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        told = []
        for file in (out, err):
            file.seek(0)
            told.append(file.read())
        return Ended(os.waitstatus_to_exitcode(status), *told)
